/** Timings as rows of text: for the terminal and for docs/performance.md. */
import { CURVES } from './curves';
import {
  FORWARD,
  JAX_GPU,
  isGradient,
  isLeftOut,
  isWindow,
  rowsOf,
  type GradientTiming,
  type LeftOut,
  type Timing,
  type WindowTiming,
} from './timings';

export interface TextTable {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const times = (ratio: number): string => `${ratio.toPrecision(ratio < 100 ? 2 : 3)}×`;
const number = (value: number): string => Number(value.toPrecision(3)).toLocaleString('en-GB');
const dash = '–';

/** The column of JAX on a GPU is there where it took part. */
const windowHead = (gpu: boolean): string[] => [
  'candidate',
  'particle-steps/s',
  'GFLOPS',
  'of FMA peak',
  'against JAX',
  ...(gpu ? [`against ${JAX_GPU}`] : []),
  'against reference C',
  'peak memory',
  'compile',
];

function windowRow(timing: WindowTiming | LeftOut, gpu: boolean): string[] {
  if (isLeftOut(timing)) return [timing.candidate, `left out: ${timing.reason}`, ...windowHead(gpu).slice(2).fill('')];
  const { candidate, particleStepsPerSecond, gflops, shareOfPeak, fasterThan, peakBytes, compileSeconds } = timing;
  return [
    candidate,
    number(particleStepsPerSecond),
    gflops.toPrecision(3),
    shareOfPeak === undefined ? dash : percent(shareOfPeak),
    'jax' in fasterThan ? times(fasterThan.jax) : dash,
    ...(gpu ? [JAX_GPU in fasterThan ? times(fasterThan[JAX_GPU]) : dash] : []),
    'reference C' in fasterThan ? times(fasterThan['reference C']) : dash,
    peakBytes === undefined ? dash : `${Math.round(peakBytes / 2 ** 20)} MiB`,
    compileSeconds === undefined ? dash : `${compileSeconds.toPrecision(2)} s`,
  ];
}

const GRADIENT_HEAD = [
  'candidate',
  'ms a window',
  'of the forward window',
  'against JAX',
  'keeps',
  'memory stated',
  'measured',
  'peak memory',
];

const mebibytes = (bytes: number): string => `${Number((bytes / 2 ** 20).toPrecision(3))} MiB`;

function gradientRow(timing: GradientTiming | LeftOut): string[] {
  if (isLeftOut(timing)) return [timing.candidate, `left out: ${timing.reason}`, '', '', '', '', '', ''];
  const { candidate, secondsPerWindow, fasterThan, reverse, grownBytes, peakBytes } = timing;
  return [
    candidate,
    number(1000 * secondsPerWindow),
    FORWARD in fasterThan ? times(1 / fasterThan[FORWARD]) : dash,
    'jax' in fasterThan ? times(fasterThan.jax) : dash,
    reverse === undefined ? dash : reverse.keeps,
    reverse === undefined ? dash : mebibytes(reverse.bytes * reverse.atOnce),
    grownBytes === undefined ? dash : mebibytes(grownBytes),
    peakBytes === undefined ? dash : `${Math.round(peakBytes / 2 ** 20)} MiB`,
  ];
}

/** A table for each name, variant and size, in the order of the timings. */
function windowTables(timings: readonly Timing[]): TextTable[] {
  const tables = new Map<string, string[][]>();
  const gradients = new Set<string>();
  const gpu = timings.some((timing) => isWindow(timing) && timing.candidate === JAX_GPU);
  for (const timing of timings) {
    if (!isWindow(timing) && !isLeftOut(timing) && !isGradient(timing)) continue;
    const size = `N = ${timing.particles}, W = ${timing.window}`;
    const title = [timing.case, timing.variant, size].filter((part) => part !== '').join(', ');
    const gradient = isGradient(timing) || timing.case === 'tbptt-window';
    if (gradient) gradients.add(title);
    const row = isGradient(timing) || (isLeftOut(timing) && gradient) ? gradientRow(timing) : windowRow(timing, gpu);
    tables.set(title, [...(tables.get(title) ?? []), row]);
  }
  return [...tables].map(([title, rows]) => ({
    title,
    head: gradients.has(title) ? GRADIENT_HEAD : windowHead(gpu),
    rows,
  }));
}

function outerTables(timings: readonly Timing[]): TextTable[] {
  const rows = rowsOf(timings, 'outer');
  return [...new Set(rows.map(({ problem }) => problem))].map((problem) => {
    const here = rows.filter((row) => row.problem === problem);
    const peers = here.filter(({ candidate }) => candidate.startsWith('jax')).map(({ candidate }) => candidate);
    return {
      title: `outer iterations of ${problem}`,
      head: ['candidate', 'iterations/s', 'time inside windows', ...peers.map((peer) => `against ${peer}`)],
      rows: here.map(({ candidate, iterationsPerSecond, inWindows, fasterThan }) => [
        candidate,
        number(iterationsPerSecond),
        inWindows === undefined ? dash : percent(inWindows),
        ...peers.map((peer) => (peer in fasterThan ? times(fasterThan[peer]) : dash)),
      ]),
    };
  });
}

function compileTable(timings: readonly Timing[]): TextTable[] {
  const rows = rowsOf(timings, 'compile');
  if (rows.length === 0) return [];
  const say = (value: number | undefined): string => (value === undefined ? dash : `${value.toPrecision(2)} s`);
  return [
    {
      title: 'compile times of mnist-window',
      head: ['candidate', 'first compile', 'in a later process, all of it', 'from cache lookup to loaded function'],
      rows: rows.map(({ candidate, first, again, load }) => [candidate, say(first), say(again), say(load)]),
    },
  ];
}

function threadTable(timings: readonly Timing[]): TextTable[] {
  const rows = rowsOf(timings, 'threads');
  if (rows.length === 0) return [];
  return [
    {
      title: 'one thread to two',
      head: ['case', 'candidate', 'speedup', "the FMA peak's"],
      rows: rows.map(({ problem, candidate, speedup, peakSpeedup }) => [
        problem,
        candidate,
        times(speedup),
        peakSpeedup === undefined ? dash : times(peakSpeedup),
      ]),
    },
  ];
}

const AXES: Readonly<Record<string, string>> = {
  window: 'W',
  horizon: 'T',
  before: 'windows done',
  particles: 'N',
};

function curveTables(timings: readonly Timing[]): TextTable[] {
  const rows = rowsOf(timings, 'curves');
  return CURVES.flatMap(({ against }) => {
    const here = rows.filter((row) => row.against === against);
    if (here.length === 0) return [];
    return [
      {
        title: `cost of an inner step against ${AXES[against]}, ${here[0].candidate}`,
        head: [AXES[against], ...here.map(({ point }) => String(point[against]))],
        rows: [['µs', ...here.map(({ microsecondsPerStep }) => number(microsecondsPerStep))]],
      },
    ];
  });
}

function overheadTable(timings: readonly Timing[]): TextTable[] {
  const rows = rowsOf(timings, 'tfjs-overhead');
  if (rows.length === 0) return [];
  return [
    {
      title: 'tfjs-overhead',
      head: ['problem', 'engine', 'particles × W', 'kernels', 'host loops', 'draws', 'overhead'],
      rows: rows.map(({ engine, problem, particles, window, kernels, hostLoops, draws, overhead }) => [
        problem,
        engine,
        `${particles} × ${window}`,
        ...[kernels, hostLoops, draws, overhead].map(percent),
      ]),
    },
  ];
}

function fitTable(timings: readonly Timing[]): TextTable[] {
  const rows = rowsOf(timings, 'fit');
  if (rows.length === 0) return [];
  const milliseconds = (seconds: number): string => (1000 * seconds).toPrecision(3);
  return [
    {
      title: 'an update within model.fit, 784-128-10, batch 128',
      head: ['optimizer', 'engine', 'ms of variableGrads', 'ms of the update', 'update / variableGrads'],
      rows: rows.map(({ optimizer, engine, gradientSeconds, updateSeconds, ratio }) => [
        optimizer,
        engine,
        milliseconds(gradientSeconds),
        milliseconds(updateSeconds),
        times(ratio),
      ]),
    },
  ];
}

/** A line for each engine and form, a column for each shape. */
function formsTable(timings: readonly Timing[]): TextTable[] {
  const rows = rowsOf(timings, 'tfjs-forms');
  if (rows.length === 0) return [];
  const shapes = [...new Set(rows.map(({ shape }) => shape))];
  const lines = new Map<string, Map<string, string>>();
  for (const { engine, form, shape, gflops } of rows) {
    const key = JSON.stringify([engine, form]);
    lines.set(key, (lines.get(key) ?? new Map<string, string>()).set(shape, gflops.toFixed(1)));
  }
  return [
    {
      title: 'tfjs-forms',
      head: ['engine', 'form', ...shapes],
      rows: [...lines].map(([key, line]) => [
        ...(JSON.parse(key) as [string, string]),
        ...shapes.map((shape) => line.get(shape) ?? dash),
      ]),
    },
  ];
}

/** Tables of our own cases, and of what looks inside the tfjs engine. */
export function tablesOf(timings: readonly Timing[]): { readonly cases: TextTable[]; readonly tfjs: TextTable[] } {
  return {
    cases: [
      ...windowTables(timings),
      ...outerTables(timings),
      ...compileTable(timings),
      ...threadTable(timings),
      ...curveTables(timings),
      ...fitTable(timings),
    ],
    tfjs: [...overheadTable(timings), ...formsTable(timings)],
  };
}
