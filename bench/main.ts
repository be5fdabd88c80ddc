/**
 * npm run bench -- [case …] [--json] [--engines a,b] [--peers a,b] [--rounds n] [--seconds s] [--save name]
 * docs/performance.md says what is measured.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Command, InvalidArgumentError } from 'commander';
import { ENGINE_NAMES, probeEngines } from '../src/engines';
import { CASE_NAMES, WINDOW_CASES } from './cases';
import { GRADIENT_CASES } from './cases/gradient';
import { jaxMissing } from './candidates/jax';
import { C_COMPILER, output } from './candidates/native-tools';
import { Peak } from './candidates/peak';
import { ReferenceC } from './candidates/reference-c';
import { timeGradients } from './gradients';
import { timeThreads, timeWindows, type HarnessOptions } from './harness';
import { timeCompile, timeCurves, timeFit, timeOuter, timeOverhead, timeProductForms } from './others';
import { tablesOf } from './tables';
import { verdicts } from './targets';
import type { SavedResults, Timing } from './timings';

interface Options {
  readonly json?: true;
  readonly engines?: readonly string[];
  readonly peers?: readonly Peer[];
  readonly referenceC?: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly save?: string;
}

const PEERS = ['jax', 'jax-gpu', 'reference-c', 'peak', 'none'] as const;
type Peer = (typeof PEERS)[number];

const CHOOSERS = ['auto', 'tfjs'];
const KNOWN_ENGINES = ENGINE_NAMES.filter((name) => !CHOOSERS.includes(name));

function oneOf<T extends string>(known: readonly T[], what: string): (value: string) => T {
  return (value) => {
    const found = known.find((name) => name === value);
    if (found === undefined) throw new InvalidArgumentError(`Unknown ${what} "${value}". Known: ${known.join(', ')}.`);
    return found;
  };
}

function positive(value: string): number {
  const number = Number(value);
  if (!(number > 0)) throw new InvalidArgumentError('Expected a positive number.');
  return number;
}

function positiveInteger(value: string): number {
  const number = positive(value);
  if (!Number.isInteger(number)) throw new InvalidArgumentError('Expected a positive integer.');
  return number;
}

/** What runs here, the reference aside: it is what the others are held against. */
async function availableEngines(): Promise<string[]> {
  const probes = await probeEngines();
  return probes.filter(({ available, name }) => available && name !== 'reference').map(({ name }) => name);
}

/** Those that were asked for, or all that are here; an absent one that was asked for is an error. */
async function findPeers(options: Options, log: (line: string) => void): Promise<HarnessOptions['peers']> {
  const asked = options.peers;
  const wants = (peer: Peer): boolean => asked?.includes(peer) ?? true;
  const missing = (peer: Peer, reason: string): void => {
    if (asked?.includes(peer) === true) throw new Error(`${peer}: ${reason}`);
    log(`${peer}: left out, ${reason}`);
  };
  const noJax = jaxMissing();
  if (wants('jax') && noJax !== undefined) missing('jax', noJax);
  // Only where it is asked for: whether JAX finds a card shows when it starts.
  const jaxGpu = asked?.includes('jax-gpu') === true;
  if (jaxGpu && noJax !== undefined) missing('jax-gpu', noJax);
  const folder = options.referenceC ?? process.env.OUTERLOOP_REFERENCE_C ?? '';
  if (wants('reference-c') && folder === '') missing('reference-c', 'no --reference-c and no OUTERLOOP_REFERENCE_C');
  const peak = wants('peak') ? await Peak.build(log) : undefined;
  return {
    jax: wants('jax') && noJax === undefined,
    jaxGpu,
    ...(wants('reference-c') && folder !== '' ? { reference: new ReferenceC(folder) } : {}),
    ...(peak === undefined ? {} : { peak }),
  };
}

/** Rows of a case as they come, a problem and a size at a time. */
async function* timings(name: string, options: HarnessOptions): AsyncGenerator<readonly Timing[]> {
  const whole: Readonly<Record<string, (options: HarnessOptions) => Promise<readonly Timing[]>>> = {
    compile: timeCompile,
    threads: timeThreads,
    curves: timeCurves,
    fit: timeFit,
    'tfjs-overhead': timeOverhead,
    'tfjs-forms': timeProductForms,
  };
  if (name === 'outer') yield* timeOuter(options);
  else if (name in whole) yield await whole[name](options);
  else {
    for (const [index, benchCase] of WINDOW_CASES.entries()) {
      if (benchCase.name === name) yield await timeWindows(index, options);
    }
    for (const [index, gradientCase] of GRADIENT_CASES.entries()) {
      if (gradientCase.name === name) yield await timeGradients(index, options);
    }
  }
}

/** Of the processor, by what Linux says of it. */
function vectors(): { readonly vectors?: string } {
  try {
    const info = readFileSync('/proc/cpuinfo', 'utf8');
    if (info.includes(' avx512f ')) return { vectors: 'AVX-512' };
    return info.includes(' avx2 ') ? { vectors: 'AVX2' } : {};
  } catch {
    return {};
  }
}

/** By what NVIDIA's driver says of the first one. */
async function gpu(): Promise<{ readonly gpu?: string }> {
  try {
    const found = await output('nvidia-smi', ['--query-gpu=name,driver_version', '--format=csv,noheader']);
    return { gpu: found.trim().split('\n')[0].replace(', ', ', driver ') };
  } catch {
    return {};
  }
}

async function compiler(): Promise<{ readonly compiler?: string }> {
  try {
    return { compiler: (await output(C_COMPILER, ['--version'])).split('\n')[0] };
  } catch {
    return {};
  }
}

/** Cases that a file of the same name has already, and that were not timed now, stay. */
async function save(name: string, loadBefore: number, results: readonly Timing[]): Promise<void> {
  const folder = join(__dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.json`);
  const now = new Set(results.map((row) => row.case));
  const before = earlier(file);
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`;
  const saved: SavedResults = {
    machine: {
      cpu: cpus()[0].model.trim(),
      cores: cpus().length,
      ...vectors(),
      memoryBytes: totalmem(),
      node: process.version,
      ...(await compiler()),
      ...(await gpu()),
      loadAverage: [loadBefore, loadavg()[1]],
      platform: `${process.platform} ${process.arch}`,
    },
    commands: [...before.commands.filter((line) => line !== command), command],
    results: [...before.results.filter((row) => !now.has(row.case)), ...results],
  };
  writeFileSync(file, `${JSON.stringify(saved, undefined, 2)}\n`);
}

function earlier(file: string): Pick<SavedResults, 'commands' | 'results'> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as SavedResults;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { commands: [], results: [] };
    throw error;
  }
}

function print(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const table = new Table({ head: [...head], style: { head: [], border: [] } });
  table.push(...rows.map((row) => [...row]));
  console.log(`\n${title}\n${table.toString()}`);
}

async function main(cases: readonly string[], options: Options): Promise<void> {
  const log = (line: string): void => {
    process.stderr.write(`${line}\n`);
  };
  const harness: HarnessOptions = {
    engines: options.engines ?? (await availableEngines()),
    peers: await findPeers(options, log),
    rounds: options.rounds,
    secondsPerCandidate: options.seconds,
    log,
  };
  const all: Timing[] = [];
  const loadBefore = loadavg()[1];
  for (const name of cases.length > 0 ? cases : CASE_NAMES) {
    for await (const rows of timings(name, harness)) {
      all.push(...rows);
      // At once: an interrupted bench keeps what it has.
      if (options.save !== undefined) await save(options.save, loadBefore, all);
      if (options.json) rows.forEach((timing) => console.log(JSON.stringify(timing)));
      else {
        const { cases: own, tfjs } = tablesOf(rows);
        for (const { title, head, rows: lines } of [...own, ...tfjs]) print(title, head, lines);
      }
    }
  }
  const judged = verdicts(all).filter(({ met }) => met !== undefined);
  if (options.json || judged.length === 0) return;
  print(
    'targets',
    ['case', 'target', 'measured', 'met'],
    judged.map(({ row, target, measured, met }) => [row, target, measured, met === true ? 'yes' : 'no']),
  );
}

const program = new Command('npm run bench --')
  .description('Times windows of each engine and of its peers, after holding them against float64.')
  .argument(
    '[case...]',
    `of ${CASE_NAMES.join(', ')}; all by default`,
    (value: string, before: string[] | undefined) => [...(before ?? []), oneOf(CASE_NAMES, 'case')(value)],
  )
  .option('--json', 'one line of JSON a row')
  .option('--engines <names>', 'comma-separated; all that run here by default', (value) =>
    value.split(',').map(oneOf(KNOWN_ENGINES, 'engine')),
  )
  .option(
    '--peers <names>',
    `of ${PEERS.join(', ')}, comma-separated; all that are here by default, but for jax-gpu`,
    (value) => value.split(',').map(oneOf(PEERS, 'peer')),
  )
  .option('--reference-c <folder>', 'sources of the hand-written C; by default OUTERLOOP_REFERENCE_C')
  .option('--rounds <n>', 'rounds, of which the median counts', positiveInteger, 5)
  .option('--seconds <s>', 'timed seconds after which a candidate gets no further round of a case', positive, 30)
  .option('--save <name>', 'also write bench/results/<name>.json')
  .action((cases: string[], options: Options) => main(cases, options));

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
