/** Source texts to a library on disk, by the cache or the compiler. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from '../../../contracts';
import type { Compiler } from './compiler';
import { sha256, type LibraryCache } from './cache';
import { NativeCompileError } from './errors';
import { runProgram, type Finished } from './process';

export interface BuildOptions {
  /** For messages: the problem or `runtime`. */
  readonly name: string;
  /** Pass and ops that emitted a line (from 1) of a source (from 0). */
  readonly originOfLine?: (line: number, unit: number) => string | undefined;
  /** Without the flags of the instruction set: code that must run before it is known what the processor has. */
  readonly baseline?: boolean;
  readonly extraFlags?: readonly string[];
  readonly milliseconds?: number;
}

export interface Built {
  readonly key: string;
  /** Of the library, whose checksum was right. */
  readonly path: string;
  readonly fromCache: boolean;
}

/** Changes whenever code compiled before must not be used any more. */
const FORMAT = '2';
/** For a compiler that hangs: wall time, of which a machine with other work gives it a part. */
const MILLISECONDS = 900_000;

/**
 * Sums and products are never merged behind our back: where a product is fused, the source says so. A function that there
 * is not is an error here, with its line, not when the library is loaded.
 */
const FLAGS = [
  '-std=gnu11',
  '-O2',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fPIC',
  '-Werror=implicit-function-declaration',
];

/**
 * Lets the source include parts of the compiler's headers (render/prelude.ts). No manual promises that these stand alone: a
 * compiler that fails gets the same source without it, whose code is the same.
 */
const FEW_HEADERS = '-DOL_FEW_HEADERS';

interface Flags {
  readonly compile: readonly string[];
  /** Besides those of compiling. */
  readonly link: readonly string[];
}

function flagsOf(compiler: Compiler, options: BuildOptions): Flags {
  const baseline = options.baseline === true;
  return {
    compile: [
      ...compiler.args,
      ...FLAGS,
      ...(baseline ? ['-pthread'] : compiler.isaFlags),
      ...(options.extraFlags ?? []),
      ...compiler.moreFlags,
    ],
    // The runtime's threads sleep in it even after the last handle is closed.
    link: ['-shared', ...(baseline && process.platform !== 'darwin' ? ['-Wl,-z,nodelete'] : [])],
  };
}

/**
 * @param source one translation unit, or several, which are compiled side by side.
 * @throws NativeCompileError if the compiler fails, with its first error and who emitted the line.
 * @throws EngineError if the cache cannot be written (a full disk).
 */
export async function build(
  compiler: Compiler,
  cache: LibraryCache,
  source: string | readonly string[],
  options: BuildOptions,
): Promise<Built> {
  const units = typeof source === 'string' ? [source] : source;
  const flags = flagsOf(compiler, options);
  const texts = [FORMAT, String(units.length), ...units];
  const key = sha256(...texts, flags.compile.join('\0'), flags.link.join('\0'), compiler.program, compiler.fingerprint);
  const found = await cache.find(key);
  if (found !== undefined) return { key, path: found, fromCache: true };

  try {
    return await compile(compiler, cache, units, options, flags, key);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new EngineError(
      `compiled code could not be written to ${cache.folder} (${code}). Make room, or name another folder in OUTERLOOP_CACHE.`,
      { cause: error },
    );
  }
}

async function compile(
  compiler: Compiler,
  cache: LibraryCache,
  units: readonly string[],
  options: BuildOptions,
  flags: Flags,
  key: string,
): Promise<Built> {
  const folder = await cache.workFolder();
  const attempt = (args: readonly string[]): Promise<Finished> =>
    runProgram(
      compiler.program,
      [...flags.compile, ...args],
      // The compiler's own temporary files lie in the private folder, too.
      { cwd: folder, env: { TMPDIR: folder }, milliseconds: options.milliseconds ?? MILLISECONDS },
    );
  const run = async (args: readonly string[]): Promise<void> => {
    const finished = await attempt([FEW_HEADERS, ...args]);
    if (finished.code === 0) return;
    const again = finished.timedOut || finished.code === null ? finished : await attempt(args);
    if (again.code !== 0) throw compileError(compiler, options, units, again);
  };
  try {
    const files = units.map((_, unit) => `unit${unit}.c`);
    for (const [unit, file] of files.entries()) await writeFile(join(folder, file), units[unit], { mode: 0o600 });
    const link = [...flags.link, '-o', 'program.so'];
    if (files.length === 1) await run([...link, ...files, '-lm']);
    else {
      // All of them end before the folder goes; of several errors the first unit's is shown.
      const compiled = await Promise.allSettled(files.map((file) => run(['-c', file])));
      for (const each of compiled) if (each.status === 'rejected') throw each.reason;
      await run([...link, ...files.map((file) => file.replace(/c$/, 'o')), '-lm']);
    }
    return { key, path: await cache.store(key, join(folder, 'program.so')), fromCache: false };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function compileError(
  compiler: Compiler,
  options: BuildOptions,
  units: readonly string[],
  finished: Finished,
): NativeCompileError {
  const lines = finished.stderr.split('\n');
  const diagnostic = lines.find((line) => /\b(fatal )?error:/.test(line)) ?? lines.find((line) => line !== '') ?? '';
  const at = /^unit(\d+)\.c:(\d+)(?::\d+)?: (?:fatal )?error: (.*)$/.exec(diagnostic);
  const [unit, line] = at === null ? [0, undefined] : [Number(at[1]), Number(at[2])];
  const origin = line === undefined ? undefined : options.originOfLine?.(line, unit);
  const why = finished.timedOut
    ? `took longer than ${(options.milliseconds ?? MILLISECONDS) / 1000} s`
    : (finished.failure?.message ??
      (diagnostic === ''
        ? `ended with ${finished.signal ?? `code ${finished.code ?? '?'}`}`
        : (at?.[3] ?? diagnostic)));
  const where =
    line === undefined ? '' : ` in line ${line}: ${(units[unit].split('\n')[line - 1] ?? '').trim().slice(0, 160)}`;
  return new NativeCompileError(
    `${compiler.version} could not compile "${options.name}": ${why}${where}` +
      `${origin === undefined ? '' : ` (emitted by ${origin})`}. ` +
      'This is a defect of Outerloop or of the compiler; try another one by CC, or choose another engine.',
    diagnostic,
    origin,
  );
}
