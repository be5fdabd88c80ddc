// Data sets that have to be fetched, and whether they are here. Plain JavaScript: the reporter reads it too.
const { spawnSync } = require('node:child_process');

const FETCHED_SETS = ['fashion-mnist', 'cifar-10'];
/** For all of them together; some 200 MB, kept in the user's folder of data sets from then on. */
const SECONDS = 60;

/**
 * Fetches those that are not here, in a process of its own, since Jest has to know before it runs a test which to skip.
 * Returns a Map from the names of those that cannot be had to the reason.
 */
function fetchSets() {
  const end = Date.now() + 1000 * SECONDS;
  const missing = new Map();
  for (const name of FETCHED_SETS) {
    const timeout = Math.max(1, end - Date.now());
    const { status, stderr } = spawnSync(process.execPath, [__filename, name], { encoding: 'utf8', timeout });
    if (status !== 0) missing.set(name, status === null ? `not here after ${SECONDS} s` : stderr.trim().split('\n')[0]);
  }
  return missing;
}

module.exports = { FETCHED_SETS, fetchSets };

if (require.main === module) {
  const { readFileSync } = require('node:fs');
  const { transformSync } = require('@swc/core');
  require.extensions['.ts'] = (module, file) => {
    const jsc = { parser: { syntax: 'typescript' }, target: 'es2022' };
    module._compile(transformSync(readFileSync(file, 'utf8'), { jsc, module: { type: 'commonjs' } }).code, file);
  };
  const { filesOf } = require('../../datasets/files/image-store.ts');
  const { FASHION_MNIST } = require('../../datasets/files/fashion-mnist.ts');
  const { CIFAR_10 } = require('../../datasets/files/cifar-10.ts');
  const set = [FASHION_MNIST, CIFAR_10].find(({ dataset }) => dataset === process.argv[2]);
  filesOf(set)
    .fetch()
    .catch((error) => {
      console.error(error.message);
      process.exitCode = 1;
    });
}
