/** From cache lookup to loaded function: what a second process of the same problem pays the compiler's work with. */
import { readdirSync } from 'node:fs';
import { cacheFolder, LibraryCache } from '../src/engines/native/compile';
import { loadKoffi } from '../src/engines/native/runtime/koffi';

/**
 * Seconds to find and load the libraries that the native engine has kept; their checksums are verified on the way.
 * @throws Error if it has kept none
 */
export async function loadKept(): Promise<number> {
  const folder = cacheFolder();
  const keys = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length));
  if (keys.length === 0) throw new Error(`no compiled program in ${folder}`);
  const koffi = await loadKoffi();
  const start = performance.now();
  for (const key of keys) {
    const cache = await LibraryCache.open(folder);
    const library = await cache.find(key);
    if (library === undefined) throw new Error(`${key}.json names no whole library`);
    koffi.load(library).unload();
    await cache.close();
  }
  return (performance.now() - start) / 1000 / keys.length;
}
