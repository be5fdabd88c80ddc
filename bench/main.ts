/**
 * npm run bench -- [case …] [--json] [--engines a,b] [--rounds n] [--seconds s] [--save name]
 * docs/performance.md says what is measured.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Command, InvalidArgumentError } from 'commander';
import { ENGINE_NAMES, probeEngines } from '../src/engines';
import { CASE_NAMES, WINDOW_CASES, type CaseName } from './cases';
import { timeOverhead, timeProductForms, timeWindows, type HarnessOptions, type Timing } from './harness';

interface Options {
  readonly json?: true;
  readonly engines?: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly save?: string;
}

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

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function row(timing: Timing): string[] {
  if (timing.case === 'tfjs-forms') {
    const { engine, form, shape, gflops } = timing as Extract<Timing, { form: string }>;
    return [engine, shape, form, `${gflops.toFixed(1)} GFLOPS`];
  }
  if ('overhead' in timing) {
    const { engine, problem, particles, window, kernels, hostLoops, draws, overhead } = timing;
    return [engine, problem, `${particles} × ${window}`, ...[kernels, hostLoops, draws, overhead].map(percent)];
  }
  const { engine, particles, window, particleStepsPerSecond, gflops, peakBytes } = timing as Extract<
    Timing,
    { peakBytes: number }
  >;
  const rate = Number(particleStepsPerSecond.toPrecision(3)).toLocaleString('en-GB');
  return [engine, `${particles} × ${window}`, rate, gflops.toPrecision(3), `${Math.round(peakBytes / 2 ** 20)} MiB`];
}

const HEADS: Readonly<Record<CaseName, readonly string[]>> = {
  'mnist-window': ['engine', 'particles × W', 'particle-steps/s', 'GFLOPS', 'peak memory'],
  'lorenz-window': ['engine', 'particles × W', 'particle-steps/s', 'GFLOPS', 'peak memory'],
  influence: ['engine', 'particles × W', 'particle-steps/s', 'GFLOPS', 'peak memory'],
  'tfjs-overhead': ['engine', 'problem', 'particles × W', 'kernels', 'host loops', 'draws', 'overhead'],
  'tfjs-forms': ['engine', '16 products m×k×n', 'form', 'rate'],
};

async function timings(name: CaseName, options: HarnessOptions): Promise<Timing[]> {
  if (name === 'tfjs-overhead') return timeOverhead(options);
  if (name === 'tfjs-forms') return timeProductForms(options);
  const rows: Timing[] = [];
  for (const [index, benchCase] of WINDOW_CASES.entries()) {
    if (benchCase.name === name) rows.push(...(await timeWindows(index, options)));
  }
  return rows;
}

function save(name: string, loadBefore: number, results: readonly Timing[]): void {
  const folder = join(__dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const machine = {
    cpu: cpus()[0].model.trim(),
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    // Of five minutes, before and after: above 0 before, other work shared the cores.
    loadAverage: [loadBefore, loadavg()[1]],
    platform: `${process.platform} ${process.arch}`,
  };
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify({ machine, results }, undefined, 2)}\n`);
}

async function main(cases: readonly CaseName[], options: Options): Promise<void> {
  const harness: HarnessOptions = {
    engines: options.engines ?? (await availableEngines()),
    rounds: options.rounds,
    secondsPerEngine: options.seconds,
    log: (line) => {
      process.stderr.write(`${line}\n`);
    },
  };
  const all: Timing[] = [];
  const loadBefore = loadavg()[1];
  for (const name of cases.length > 0 ? cases : CASE_NAMES) {
    const rows = await timings(name, harness);
    all.push(...rows);
    // After each case: an interrupted bench keeps what it has.
    if (options.save !== undefined) save(options.save, loadBefore, all);
    if (options.json) rows.forEach((timing) => console.log(JSON.stringify(timing)));
    else {
      const table = new Table({ head: [...HEADS[name]], style: { head: [], border: [] } });
      table.push(...rows.map(row));
      console.log(`\n${name}\n${table.toString()}`);
    }
  }
}

const program = new Command('npm run bench --')
  .description('Times windows of each engine, after holding them against float64.')
  .argument(
    '[case...]',
    `of ${CASE_NAMES.join(', ')}; all by default`,
    (value: string, before: CaseName[] | undefined) => [...(before ?? []), oneOf(CASE_NAMES, 'case')(value)],
  )
  .option('--json', 'one line of JSON a row')
  .option('--engines <names>', 'comma-separated; all that run here by default', (value) =>
    value.split(',').map(oneOf(KNOWN_ENGINES, 'engine')),
  )
  .option('--rounds <n>', 'rounds, of which the median counts', positiveInteger, 5)
  .option('--seconds <s>', 'timed seconds after which an engine gets no further round of a case', positive, 30)
  .option('--save <name>', 'also write bench/results/<name>.json')
  .action((cases: CaseName[], options: Options) => main(cases, options));

program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
