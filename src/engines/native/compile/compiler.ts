/** The machine's C compiler. */
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { EngineUnavailableError } from '../../../contracts';
import type { Target } from '../nest/ir';
import { isaFlags, isaOf, targetOf, type Isa } from './isa';
import { runProgram } from './process';

export interface Compiler {
  /** Absolute path. */
  readonly program: string;
  /** Arguments that CC has besides the program. */
  readonly args: readonly string[];
  /** For people: `gcc 12.2.0`. */
  readonly version: string;
  readonly isa: Isa;
  readonly target: Target;
  /** Flags of the instruction set. */
  readonly isaFlags: readonly string[];
  /** OUTERLOOP_NATIVE_FLAGS: what comes after all other flags. */
  readonly moreFlags: readonly string[];
  /** Everything that the code depends on besides its source and flags: all predefined macros, the CPU's name. */
  readonly fingerprint: string;
}

const ADVICE = 'Install a C compiler (GCC 10 or Clang 13 and newer), name one in CC, or choose another engine.';
const NAMES = ['cc', 'gcc', 'clang'];
const PROBE_MILLISECONDS = 20_000;

/**
 * CC, or else the first of cc, gcc and clang on PATH.
 * @throws EngineUnavailableError if there is none or it does not run.
 */
export async function findCompiler(
  environment: NodeJS.ProcessEnv = process.env,
  milliseconds = PROBE_MILLISECONDS,
): Promise<Compiler> {
  const isa = isaOf(environment);
  const given = words(environment.CC);
  const more = words(environment.OUTERLOOP_NATIVE_FLAGS);
  if (given.length > 0) {
    const program = onPath(given[0], environment);
    if (program === undefined) {
      throw new EngineUnavailableError('native', `CC names "${given[0]}", which is not there`, ADVICE);
    }
    return probe(program, given.slice(1), more, isa, milliseconds);
  }
  for (const name of NAMES) {
    const program = onPath(name, environment);
    if (program !== undefined) return probe(program, [], more, isa, milliseconds);
  }
  throw new EngineUnavailableError('native', `there is no C compiler (${NAMES.join(', ')}) on PATH`, ADVICE);
}

function words(text = ''): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

async function probe(
  program: string,
  args: readonly string[],
  moreFlags: readonly string[],
  isa: Isa,
  milliseconds: number,
): Promise<Compiler> {
  const flags = isaFlags(isa, process.arch);
  // One call gives the version, what -march=native means here, and whether the compiler runs at all.
  const { code, stdout, stderr, timedOut, failure } = await runProgram(
    program,
    [...args, ...flags, ...moreFlags, '-dM', '-E', '-x', 'c', '/dev/null'],
    { milliseconds },
  );
  const macros = macrosOf(stdout);
  const version = macros.get('__VERSION__')?.replaceAll('"', '');
  if (code !== 0 || version === undefined) {
    const why = timedOut
      ? 'it does not answer'
      : (failure?.message ?? (firstLine(stderr) || `exit code ${code ?? '?'}`));
    throw new EngineUnavailableError('native', `the compiler ${program} does not work (${why})`, ADVICE);
  }
  const vendor = macros.has('__clang__') ? 'clang' : 'gcc';
  return {
    program,
    args,
    version: version.toLowerCase().includes('clang') ? version : `${vendor} ${version}`,
    isa,
    target: targetOf(macros),
    isaFlags: flags,
    moreFlags,
    fingerprint: [...macros].map((entry) => entry.join(' ')).join('\n') + cpuName(),
  };
}

function macrosOf(text: string): Map<string, string> {
  const macros = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^#define (\w+) ?(.*)$/.exec(line);
    if (match !== null) macros.set(match[1], match[2]);
  }
  return macros;
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0];
}

/** The processor and all that it says it can do. */
function cpuName(): string {
  try {
    const lines = readFileSync('/proc/cpuinfo', 'utf8').split('\n');
    const kept = ['vendor_id', 'cpu family', 'model', 'model name', 'flags', 'CPU part', 'Features'];
    return kept.map((key) => lines.find((line) => line.split(':')[0].trim() === key) ?? '').join('\n');
  } catch {
    const all = cpus();
    return all.length === 0 ? process.arch : all[0].model;
  }
}

function onPath(name: string, environment: NodeJS.ProcessEnv): string | undefined {
  if (name.includes('/')) return isExecutable(name) ? name : undefined;
  // Relative folders on PATH would make the compiler depend on where the run was started.
  const folders = (environment.PATH ?? '').split(':').filter((folder) => isAbsolute(folder));
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
