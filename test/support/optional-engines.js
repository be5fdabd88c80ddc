// Engines that not every machine has, and whether this one has what they need. Plain JavaScript: the reporter reads it too.
const { accessSync, constants } = require('node:fs');
const { delimiter, isAbsolute, join } = require('node:path');

function installed(packageName) {
  try {
    require.resolve(packageName);
    return true;
  } catch {
    return false;
  }
}

function runs(program) {
  const candidates = isAbsolute(program)
    ? [program]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, program));
  return candidates.some((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const compilers = () => (process.env.CC ? [process.env.CC.trim().split(/\s+/)[0]] : ['cc', 'gcc', 'clang']);

/** Name of the engine → whether it can be tested here. */
const OPTIONAL_ENGINES = {
  native: () => compilers().some(runs),
  'tfjs:node': () => installed('@tensorflow/tfjs-node'),
  'tfjs:node-gpu': () => installed('@tensorflow/tfjs-node-gpu'),
};

const required = () => (process.env.OUTERLOOP_REQUIRE ?? '').split(',').filter((name) => name !== '');

/** Engines that are missing and not required, by name. */
function skippedEngines() {
  return Object.keys(OPTIONAL_ENGINES).filter((name) => !OPTIONAL_ENGINES[name]() && !required().includes(name));
}

module.exports = { OPTIONAL_ENGINES, required, skippedEngines };
