// Run by test/native/cache.test.ts: `node cache-race.js <folder> <seed>` stores and reads libraries of a few keys for a
// second. Libraries of a key differ between processes, as if compilers were not deterministic; the limit is so low that
// they evict one another's. Prints how many it found, and how many of these were no library of their key.
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { transformSync } = require('@swc/core');

require.extensions['.ts'] = (module, file) => {
  const jsc = { parser: { syntax: 'typescript' }, target: 'es2022' };
  module._compile(transformSync(readFileSync(file, 'utf8'), { jsc, module: { type: 'commonjs' } }).code, file);
};
const { LibraryCache } = require('../../src/engines/native/compile/cache.ts');

async function main(folder, seed) {
  const cache = await LibraryCache.open(folder, { maxBytes: 6000 });
  const keys = [0, 1, 2, 3].map((i) => String(i).repeat(64));
  const contents = (key) => `${key} by ${seed} `.repeat(20);
  const counts = { found: 0, wrong: 0 };
  const end = Date.now() + 1000;
  for (let round = 0; Date.now() < end; round++) {
    const key = keys[(round * seed) % keys.length];
    const path = await cache.find(key);
    if (path === undefined) {
      const file = join(await cache.workFolder(), 'program.so');
      writeFileSync(file, contents(key));
      await cache.store(key, file);
      continue;
    }
    try {
      // Another process may have evicted it since: that is an error of the open, never another content.
      const text = readFileSync(path, 'utf8');
      const by = Number(text.split(' ')[2]);
      counts.found += 1;
      if (text !== `${key} by ${by} `.repeat(20)) counts.wrong += 1;
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
  console.log(JSON.stringify(counts));
}

main(process.argv[2], Number(process.argv[3])).catch((error) => {
  console.log(error.stack);
  process.exitCode = 1;
});
