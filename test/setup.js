// TensorFlow.js greets each test file with a paragraph on its native backend, which would bury the results.
const warn = console.warn;
console.warn = (...args) => {
  if (!String(args[0]).includes('you are running TensorFlow.js in Node.js')) warn(...args);
};
