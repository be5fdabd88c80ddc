/** Source text to a loaded library. */
import { EngineError } from '../../../contracts';
import { build, type BuildOptions, type Compiler, type LibraryCache } from '../compile';
import type { Koffi, NativeLibrary } from './koffi';

/**
 * Compiles (or finds) and loads. A library that was found but does not load (another process evicted it just now) is made
 * anew, once.
 * @throws NativeCompileError if the compiler fails.
 * @throws EngineError if the library does not load.
 */
export async function loadLibrary(
  koffi: Koffi,
  compiler: Compiler,
  cache: LibraryCache,
  sources: string | readonly string[],
  options: BuildOptions,
): Promise<NativeLibrary> {
  for (;;) {
    const { key, path, fromCache } = await build(compiler, cache, sources, options);
    try {
      return koffi.load(path);
    } catch (error) {
      await cache.remove(key);
      if (fromCache) continue;
      throw new EngineError(
        `the library compiled for "${options.name}" does not load (${error instanceof Error ? error.message : String(error)}). ` +
          `If the file system of ${cache.folder} does not allow code to be run, name another folder in OUTERLOOP_CACHE.`,
        { cause: error },
      );
    }
  }
}
