/** What the native engine finds on this machine, for `outerloop doctor`. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OuterloopError } from '../../contracts';
import type { NativeDescription } from '../shared/options';
import { cacheFolder, findCompiler, type Compiler } from './compile';
import { loadKoffi } from './runtime';
import { threadsOf } from './threads';

/** Compiles nothing; what is missing is listed, not thrown. */
export async function describeNative(environment: NodeJS.ProcessEnv = process.env): Promise<NativeDescription> {
  const missing: string[] = [];
  const tried = async <T>(find: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await find();
    } catch (error) {
      if (!(error instanceof OuterloopError)) throw error;
      missing.push(error.message);
      return undefined;
    }
  };
  const compiler = await tried(() => findCompiler(environment));
  await tried(() => loadKoffi());
  const threads = (await tried(() => threadsOf({}, environment))) ?? 1;
  return {
    ...(compiler === undefined ? {} : { compiler: { path: compiler.program, version: compiler.version } }),
    isa: compiler === undefined ? 'unknown' : isaName(compiler),
    threads,
    cache: await cacheSize(cacheFolder(environment)),
    missing,
  };
}

function isaName({ target: { lanes }, isaFlags }: Compiler): string {
  if (lanes === 16) return 'avx512';
  if (lanes === 8) return 'avx2';
  if (process.arch === 'arm64') return 'neon';
  return isaFlags.length > 0 ? 'sse' : 'portable';
}

async function cacheSize(folder: string): Promise<NativeDescription['cache']> {
  let [files, bytes] = [0, 0];
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith('.so')) continue;
    files += 1;
    bytes += await stat(join(folder, name)).then(
      ({ size }) => size,
      () => 0,
    );
  }
  return { folder, files, bytes };
}
