// Run by test/native/determinism.test.ts: `node fresh-bits.js <problem>…` prints the bits of each, as JSON.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, file) => {
  const jsc = { parser: { syntax: 'typescript' }, target: 'es2022' };
  module._compile(transformSync(readFileSync(file, 'utf8'), { jsc, module: { type: 'commonjs' } }).code, file);
};
const { NativeEngine } = require(join(__dirname, '../../src/engines/native/engine.ts'));
const { traceProblem } = require(join(__dirname, '../../src/graph/trace/index.ts'));
const { bitsOf, run, SIZE } = require('./native-bits.ts');
const { SMALL_PROBLEMS, spreadThetas } = require('./registered-problems.ts');

async function main(names) {
  const engine = await NativeEngine.open({ threads: 2 });
  const bits = [];
  for (const name of names) {
    const traced = traceProblem(await SMALL_PROBLEMS.find((row) => row.name === name).problem());
    const program = await engine.compileTraced(traced, { mode: 'particle-major' });
    bits.push(bitsOf(await run(program, spreadThetas(traced, SIZE, 0.05))));
    await program.dispose();
  }
  await engine.dispose();
  console.log(JSON.stringify(bits));
}

main(process.argv.slice(2));
