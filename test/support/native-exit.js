// Run by test/native/runtime.test.ts: `node native-exit.js <C source> <statement>` runs the statement while threads are
// busy with jobs that write to JavaScript's memory.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, file) => {
  const jsc = { parser: { syntax: 'typescript' }, target: 'es2022' };
  module._compile(transformSync(readFileSync(file, 'utf8'), { jsc, module: { type: 'commonjs' } }).code, file);
};
const native = join(__dirname, '../../src/engines/native');
const { cacheFolder, findCompiler, LibraryCache } = require(join(native, 'compile/index.ts'));
const { loadKoffi, loadLibrary, Runtime } = require(join(native, 'runtime/index.ts'));

async function main(source, statement) {
  const koffi = await loadKoffi();
  const compiler = await findCompiler();
  const cache = await LibraryCache.open(cacheFolder());
  const library = await loadLibrary(koffi, compiler, cache, source, { name: 'jobs', baseline: true });
  const runtime = await Runtime.open(koffi, compiler, cache, 2);
  const counts = new Int32Array(1000);
  const context = koffi.address(counts);
  const arrays = [counts];
  const task = { job: library.symbol('nap'), context, arrays, jobs: 20_000, scratch: 4096, threads: 2, flush: true };
  void runtime.run(task);
  setTimeout(() => new Function(statement)(), 50);
}

main(process.argv[2], process.argv[3]);
