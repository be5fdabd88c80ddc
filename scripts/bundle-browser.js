// Bundles src/browser.ts for pages: `outerloop.mjs` for bundlers, with TensorFlow.js left to the page's own copy, and
// `outerloop.min.js` for a script tag after that of TensorFlow.js, as the global `outerloop`.
const { mkdirSync } = require('node:fs');
const { join, resolve } = require('node:path');
const esbuild = require('esbuild');

const root = resolve(__dirname, '..');

// Zod brings its messages in fifty languages, a third of the bundle; ours are written by ourselves.
const noLocales = {
  name: 'no-locales',
  setup(build) {
    build.onResolve({ filter: /locales\/index\.js$/ }, ({ path }) => ({ path, namespace: 'no-locales' }));
    build.onLoad({ filter: /.*/, namespace: 'no-locales' }, () => ({ contents: 'export {};' }));
  },
};
const globalTensorFlow = {
  name: 'global-tensorflow',
  setup(build) {
    build.onResolve({ filter: /^@tensorflow\/tfjs$/ }, ({ path }) => ({ path, namespace: 'global-tensorflow' }));
    build.onLoad({ filter: /.*/, namespace: 'global-tensorflow' }, () => ({
      contents: 'module.exports = globalThis.tf;',
    }));
  },
};

async function bundle(folder) {
  mkdirSync(folder, { recursive: true });
  const shared = {
    absWorkingDir: root,
    entryPoints: ['src/browser.ts'],
    bundle: true,
    platform: 'browser',
    target: 'es2022',
    minify: true,
    // Errors are told apart by their names.
    keepNames: true,
    legalComments: 'eof',
    logLevel: 'warning',
  };
  await esbuild.build({
    ...shared,
    format: 'esm',
    external: ['@tensorflow/tfjs'],
    plugins: [noLocales],
    outfile: join(folder, 'outerloop.mjs'),
  });
  await esbuild.build({
    ...shared,
    format: 'iife',
    globalName: 'outerloop',
    plugins: [noLocales, globalTensorFlow],
    outfile: join(folder, 'outerloop.min.js'),
  });
}

module.exports = { bundle };

if (require.main === module) {
  bundle(resolve(process.argv[2] ?? join(root, 'dist', 'browser'))).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
