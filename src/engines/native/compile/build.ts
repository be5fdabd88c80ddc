/** Source text to a library on disk, by the cache or the compiler. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from '../../../contracts';
import type { Compiler } from './compiler';
import { sha256, type LibraryCache } from './cache';
import { NativeCompileError } from './errors';
import { runProgram } from './process';

export interface BuildOptions {
  /** For messages: the problem or `runtime`. */
  readonly name: string;
  /** Pass and ops that emitted a line (from 1) of the source. */
  readonly originOfLine?: (line: number) => string | undefined;
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
const FORMAT = '1';
const MILLISECONDS = 300_000;

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
  '-shared',
  '-Werror=implicit-function-declaration',
];

function flagsOf(compiler: Compiler, options: BuildOptions): string[] {
  const isa = options.baseline === true ? [] : [...compiler.isaFlags];
  // The runtime's threads sleep in it even after the last handle is closed.
  const linker = process.platform === 'darwin' ? [] : ['-Wl,-z,nodelete'];
  return [
    ...compiler.args,
    ...FLAGS,
    ...isa,
    ...(options.extraFlags ?? []),
    ...(options.baseline === true ? ['-pthread', ...linker] : []),
  ];
}

/**
 * @throws NativeCompileError if the compiler fails, with its first error and who emitted the line.
 * @throws EngineError if the cache cannot be written (a full disk).
 */
export async function build(
  compiler: Compiler,
  cache: LibraryCache,
  source: string,
  options: BuildOptions,
): Promise<Built> {
  const flags = flagsOf(compiler, options);
  const key = sha256(FORMAT, source, flags.join('\0'), compiler.program, compiler.fingerprint);
  const found = await cache.find(key);
  if (found !== undefined) return { key, path: found, fromCache: true };

  try {
    return await compile(compiler, cache, source, options, flags, key);
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
  source: string,
  options: BuildOptions,
  flags: readonly string[],
  key: string,
): Promise<Built> {
  const folder = await cache.workFolder();
  try {
    await writeFile(join(folder, 'program.c'), source, { mode: 0o600 });
    const finished = await runProgram(
      compiler.program,
      [...flags, '-o', 'program.so', 'program.c', '-lm'],
      // The compiler's own temporary files lie in the private folder, too.
      { cwd: folder, env: { TMPDIR: folder }, milliseconds: options.milliseconds ?? MILLISECONDS },
    );
    if (finished.code !== 0) throw compileError(compiler, options, source, finished);
    return { key, path: await cache.store(key, join(folder, 'program.so')), fromCache: false };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function compileError(
  compiler: Compiler,
  options: BuildOptions,
  source: string,
  finished: Awaited<ReturnType<typeof runProgram>>,
): NativeCompileError {
  const lines = finished.stderr.split('\n');
  const diagnostic = lines.find((line) => /\b(fatal )?error:/.test(line)) ?? lines.find((line) => line !== '') ?? '';
  const at = /^program\.c:(\d+)(?::\d+)?: (?:fatal )?error: (.*)$/.exec(diagnostic);
  const line = at === null ? undefined : Number(at[1]);
  const origin = line === undefined ? undefined : options.originOfLine?.(line);
  const why = finished.timedOut
    ? `took longer than ${(options.milliseconds ?? MILLISECONDS) / 1000} s`
    : (finished.failure?.message ??
      (diagnostic === ''
        ? `ended with ${finished.signal ?? `code ${finished.code ?? '?'}`}`
        : (at?.[2] ?? diagnostic)));
  const where =
    line === undefined ? '' : ` in line ${line}: ${(source.split('\n')[line - 1] ?? '').trim().slice(0, 160)}`;
  return new NativeCompileError(
    `${compiler.version} could not compile "${options.name}": ${why}${where}` +
      `${origin === undefined ? '' : ` (emitted by ${origin})`}. ` +
      'This is a defect of Outerloop or of the compiler; try another one by CC, or choose another engine.',
    diagnostic,
    origin,
  );
}
