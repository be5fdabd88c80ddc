/** What the project sets out to reach, row by row, and whether a run of the bench reached it. */
import {
  FORWARD,
  isGradient,
  isWindow,
  RECOMPUTING,
  rowsOf,
  TANGENT,
  type GradientTiming,
  type Timing,
  type WindowTiming,
} from './timings';

export interface Verdict {
  readonly row: string;
  readonly target: string;
  /** What was measured; 'not measured' if nothing was. */
  readonly measured: string;
  readonly met: boolean | undefined;
}

/** The engine that the targets are for. */
const ENGINE = 'native';
/** A window is also good enough at this share of the hand-written C's speed in the same run. */
const OF_REFERENCE = 0.9;

const times = (ratio: number): string => `${ratio.toPrecision(ratio < 10 ? 2 : 3)}×`;
const percent = (share: number): string => `${Math.round(100 * share)} %`;
const seconds = (value: number): string => `${value.toPrecision(2)} s`;

interface WindowTarget {
  readonly case: string;
  readonly variant: string;
  readonly particles: number;
  readonly window: number;
  /** Times as fast as JAX. */
  readonly jax: number;
  /** Of the FMA peak. */
  readonly peak?: number;
  /** Of JAX's peak memory, at most. */
  readonly memory?: number;
}

const WINDOW_TARGETS: readonly WindowTarget[] = [
  { case: 'mnist-window', variant: 'loss', particles: 100, window: 10, jax: 3, peak: 0.6 },
  { case: 'mnist-window', variant: 'accuracy', particles: 100, window: 10, jax: 3, peak: 0.6 },
  { case: 'mnist-window', variant: 'loss', particles: 16, window: 100, jax: 2.5, peak: 0.6 },
  { case: 'mnist-window', variant: 'loss', particles: 1000, window: 10, jax: 4, memory: 0.25 },
  { case: 'lopt-window', variant: '64-32-32-32-10', particles: 20, window: 10, jax: 6 },
  { case: 'lopt-window', variant: '64-32-32-32-10', particles: 200, window: 1, jax: 6 },
  { case: 'lopt-window', variant: '784-32-10', particles: 8, window: 10, jax: 4 },
  { case: 'lorenz-window', variant: '', particles: 4000, window: 100, jax: 15 },
  { case: 'influence', variant: 'dense', particles: 1000, window: 1, jax: 8 },
  { case: 'influence', variant: 'banded', particles: 1000, window: 1, jax: 8 },
  { case: 'adafac-window', variant: '64-32-32-32-10', particles: 20, window: 10, jax: 3 },
  { case: 'adafac-window', variant: '64-32-32-32-10', particles: 200, window: 1, jax: 3 },
  { case: 'conv-window', variant: '32-32-32-32', particles: 10, window: 10, jax: 2 },
];

function windowVerdict(target: WindowTarget, timings: readonly WindowTiming[]): Verdict {
  const same = timings.filter(
    (timing) =>
      timing.case === target.case &&
      timing.variant === target.variant &&
      timing.particles === target.particles &&
      timing.window === target.window,
  );
  const own = same.find(({ candidate }) => candidate === ENGINE);
  const jax = same.find(({ candidate }) => candidate === 'jax');
  const goals = [`≥ ${target.jax}× JAX`];
  if (target.peak !== undefined) goals.push(`≥ ${percent(target.peak)} of peak`);
  if (target.memory !== undefined) goals.push(`memory ≤ ${percent(target.memory)} of JAX's`);
  const row = [target.case, target.variant, `N = ${target.particles}, W = ${target.window}`];
  const verdict = { row: row.filter((part) => part !== '').join(' '), target: goals.join(', ') };
  const ratio: number | undefined = own?.fasterThan.jax;
  if (own === undefined || ratio === undefined) return { ...verdict, measured: 'not measured', met: undefined };

  const said = [`${times(ratio)} JAX`];
  let met = ratio >= target.jax;
  if (own.shareOfPeak !== undefined) said.push(`${percent(own.shareOfPeak)} of peak`);
  if (target.peak !== undefined) met = met && (own.shareOfPeak ?? 0) >= target.peak;
  const reference = own.fasterThan['reference C'] as number | undefined;
  if (reference !== undefined) {
    said.push(`${times(reference)} reference C`);
    met = met || reference >= OF_REFERENCE;
  }
  if (target.memory !== undefined && own.peakBytes !== undefined && jax?.peakBytes !== undefined) {
    const share = own.peakBytes / jax.peakBytes;
    said.push(`memory ${percent(share)} of JAX's`);
    met = met && share <= target.memory;
  }
  return { ...verdict, measured: said.join(', '), met };
}

interface GradientTarget {
  readonly candidate: string;
  /** What its windows do. */
  readonly what: string;
  /** Times the same window forward, at most. */
  readonly forward: number;
  /** Times as fast as JAX's `grad` of the same scan. */
  readonly jax?: number;
  /** Of what was stated, at most so far from it. */
  readonly memory?: number;
}

const GRADIENT_VARIANTS = [
  { variant: 'MNIST, a rate a step', particles: 16, window: 20 },
  { variant: 'per-parameter MLP', particles: 4, window: 20 },
];
const GRADIENT_TARGETS: readonly GradientTarget[] = [
  { candidate: ENGINE, what: 'reverse, everything kept', forward: 3.5, jax: 2, memory: 0.2 },
  { candidate: RECOMPUTING, what: 'reverse, recomputing', forward: 4.5, memory: 0.2 },
  { candidate: TANGENT, what: 'tangent, one direction', forward: 3.5 },
];

function gradientVerdict(
  { variant, particles, window }: (typeof GRADIENT_VARIANTS)[number],
  { candidate, what, forward, jax, memory }: GradientTarget,
  timings: readonly GradientTiming[],
): Verdict {
  const own = timings.find((timing) => timing.variant === variant && timing.candidate === candidate);
  const goals = [`≤ ${forward}× forward`];
  if (jax !== undefined) goals.push(`≥ ${jax}× JAX's grad`);
  if (memory !== undefined) goals.push(`memory within ${percent(memory)} of what was stated`);
  const verdict = {
    row: `tbptt-window ${variant}, N = ${particles}, W = ${window}: ${what}`,
    target: goals.join(', '),
  };
  const parts: { readonly said: string; readonly good: boolean | undefined }[] = [];
  const judge = (value: number | undefined, say: (value: number) => string, good: (value: number) => boolean): void => {
    parts.push(value === undefined ? { said: '', good: undefined } : { said: say(value), good: good(value) });
  };
  const faster: Readonly<Record<string, number | undefined>> = own?.fasterThan ?? {};
  const cost = faster[FORWARD] === undefined ? undefined : 1 / faster[FORWARD];
  judge(
    cost,
    (value) => `${times(value)} forward`,
    (value) => value <= forward,
  );
  if (jax !== undefined) {
    judge(
      faster.jax,
      (value) => `${times(value)} JAX`,
      (value) => value >= jax,
    );
  }
  if (memory !== undefined) {
    const { reverse, grownBytes } = own ?? {};
    judge(
      reverse === undefined || grownBytes === undefined ? undefined : grownBytes / (reverse.bytes * reverse.atOnce),
      (share) => `memory ${percent(share)} of what was stated`,
      (share) => Math.abs(share - 1) <= memory,
    );
  }
  const said = parts.filter(({ good }) => good !== undefined).map((part) => part.said);
  // One miss is a miss, whatever else was not measured.
  const met = parts.some(({ good }) => good === false)
    ? false
    : parts.some(({ good }) => good === undefined)
      ? undefined
      : true;
  return { ...verdict, measured: said.length === 0 ? 'not measured' : said.join(', '), met };
}

/** How many times the model's own gradients an update may take, at most. */
const FIT_TARGETS = [
  { optimizer: 'per-parameter-mlp', engine: 'tfjs:wasm', most: 5 },
  { optimizer: 'per-parameter-mlp', engine: 'tfjs:node', most: 7 },
  { optimizer: 'adafac-mlp', engine: 'tfjs:wasm', most: 4 },
  { optimizer: 'adafac-mlp', engine: 'tfjs:node', most: 5 },
];

/** A number against a bound. */
function verdictOf(
  row: string,
  target: string,
  value: number | undefined,
  say: (value: number) => string,
  good: (value: number) => boolean,
): Verdict {
  if (value === undefined) return { row, target, measured: 'not measured', met: undefined };
  return { row, target, measured: say(value), met: good(value) };
}

/** The scan that the target was set by; others are stronger peers, shown beside it. */
export const RELEASED_SCAN = 'jax: as released, jitted scan';

/** The package itself, not its mathematics in a form of ours. */
export const LEARNED_OPTIMIZATION = 'learned_optimization';

export function verdicts(timings: readonly Timing[]): Verdict[] {
  const outer = rowsOf(timings, 'outer').filter(({ candidate }) => candidate === ENGINE);
  const compile = rowsOf(timings, 'compile').find(({ candidate }) => candidate === ENGINE);
  const windows = timings.filter(isWindow);
  return [
    ...WINDOW_TARGETS.map((target) => windowVerdict(target, windows)),
    ...GRADIENT_VARIANTS.flatMap((size) =>
      GRADIENT_TARGETS.map((target) => gradientVerdict(size, target, timings.filter(isGradient))),
    ),
    verdictOf(
      'outer iteration of mnist-lr',
      '≥ 92 % of the time inside windows',
      outer.find(({ problem }) => problem === 'mnist-lr')?.inWindows,
      percent,
      (share) => share >= 0.92,
    ),
    verdictOf(
      'outer iterations of lorenz, NRES, 200 pairs, W = 100',
      "≥ 10× the released code's in one jitted scan",
      outer.find(({ problem }) => problem === 'lorenz')?.fasterThan[RELEASED_SCAN],
      times,
      (ratio) => ratio >= 10,
    ),
    verdictOf(
      'outer iterations of lopt-notebook, PES, 16 pairs, W = 10',
      `≥ 5× ${LEARNED_OPTIMIZATION}`,
      outer.find(({ problem }) => problem === 'lopt-notebook')?.fasterThan[LEARNED_OPTIMIZATION],
      times,
      (ratio) => ratio >= 5,
    ),
    verdictOf('first compile of mnist-window', '≤ 3 s', compile?.first, seconds, (value) => value <= 3),
    verdictOf(
      'from cache lookup to loaded function',
      '≤ 0.1 s',
      compile?.load,
      (value) => `${(1000 * value).toPrecision(2)} ms`,
      (value) => value <= 0.1,
    ),
    ...FIT_TARGETS.map(({ optimizer, engine, most }) =>
      verdictOf(
        `update by ${optimizer} within model.fit, ${engine}`,
        `≤ ${most}× variableGrads`,
        rowsOf(timings, 'fit').find((row) => row.optimizer === optimizer && row.engine === engine)?.ratio,
        times,
        (ratio) => ratio <= most,
      ),
    ),
    ...rowsOf(timings, 'threads').map(({ problem, speedup, peakSpeedup }) =>
      verdictOf(
        `one thread to two, ${problem}`,
        '≥ 1.8×',
        speedup,
        (value) => times(value) + (peakSpeedup === undefined ? '' : ` (FMA peak: ${times(peakSpeedup)})`),
        (value) => value >= 1.8,
      ),
    ),
  ];
}
