/**
 * The meta-loss at θ ± σ beside that at θ, once at a run's end: whether σ sees a slope, a bend, or nothing. The differences
 * that an evolutionary estimator weighs its noise by are these slopes; the bend is what it smooths away.
 */
import type { UnrollProgram } from '../contracts';
import { foldIn, seedKey, STREAMS } from '../random';
import { normals } from '../random/draws';
import { evaluationSeed, statistics } from './evaluate';
import { measureThetas, MOST_NUMBERS } from './surface';
import { coordinateNames, norm } from './theta';

/** Mean over episodes and its standard error, 0 for one episode. Per inner step, as meta-losses are. */
export interface ProbedNumber {
  readonly mean: number;
  readonly standardError: number;
}

export interface ProbedDirection {
  /** A coordinate of θ, or `random 1` … */
  readonly name: string;
  /** (L(θ+δ) − L(θ−δ))/2. */
  readonly slope: ProbedNumber;
  /** (L(θ+δ) + L(θ−δ))/2 − L(θ): for small σ half of δ's second derivative. */
  readonly bend: ProbedNumber;
}

/** What evaluation.json keeps. Differences are taken episode by episode. */
export interface SigmaProbe {
  /** That of the last outer iteration. */
  readonly sigma: number;
  /** Fresh episodes, the same for every point; 0 where the probe was left out. */
  readonly episodes: number;
  /** Inner steps of each. */
  readonly steps: number;
  /** L(θ); absent where the probe was left out. */
  readonly loss?: ProbedNumber;
  /** L(θ₀) − L(θ): what the run has won. */
  readonly gain?: ProbedNumber;
  readonly directions: readonly ProbedDirection[];
  /** Why it was left out. */
  readonly skipped?: string;
}

export interface ProbeOptions {
  /** Of a finite horizon. */
  readonly program: UnrollProgram;
  /** What is judged. */
  readonly theta: Float64Array;
  readonly initialTheta: Float64Array;
  readonly sigma: number;
  /** The run's. */
  readonly seed: number;
  /** Episodes at most. */
  readonly episodes: number;
  /** Inner steps at most, of all points and episodes. */
  readonly budget: number;
  /** The loss of an episode: the mean over its steps, or its last. */
  readonly measure: 'mean' | 'last';
  readonly signal?: AbortSignal;
}

/** θ of at most so many numbers is probed along each of them. */
const MOST_COORDINATES = 8;
/** θ of more numbers along so many random directions. */
const DIRECTIONS = 4;

/**
 * Steps δ, [directions × θ size]: σ along each coordinate, or, for a larger θ, Gaussian directions of length σ√d, the length
 * of an estimator's noise.
 */
function probedSteps({ program, sigma, seed }: ProbeOptions): {
  readonly names: string[];
  readonly steps: Float64Array[];
} {
  const { size } = program.theta;
  if (size <= MOST_COORDINATES) {
    const names = coordinateNames(program.theta);
    return { names, steps: names.map((_, k) => new Float64Array(size).fill(sigma, k, k + 1)) };
  }
  const key = foldIn(seedKey(seed), STREAMS.probe);
  const all = Array.from({ length: DIRECTIONS }, (_, i) => i);
  const steps = all.map((i) => {
    const direction = Float64Array.from(normals(foldIn(key, i), size));
    const scale = (sigma * Math.sqrt(size)) / norm(direction);
    return direction.map((x) => scale * x);
  });
  return { names: all.map((i) => `random ${String(i + 1)}`), steps };
}

/**
 * Measures all points in one population with the episodes of the run's evaluations (common random numbers), as many as the
 * budget has room for.
 * @throws CancelledError once the signal is aborted
 */
export async function probeSigma(options: ProbeOptions): Promise<SigmaProbe> {
  const { program, theta, initialTheta, sigma, seed, budget, measure, signal } = options;
  const horizon = program.problem.horizon;
  const { names, steps } = probedSteps(options);
  const points = [
    initialTheta,
    theta,
    ...steps.flatMap((step) => [1, -1].map((sign) => theta.map((x, k) => x + sign * step[k]))),
  ];
  const room = Math.floor(Math.min(budget / (points.length * horizon), MOST_NUMBERS / (points.length * theta.length)));
  const episodes = Math.min(options.episodes, room);
  if (episodes < Math.min(2, options.episodes)) {
    const skipped = `${String(points.length)} points of ${String(horizon)} steps are more than a twentieth of the run`;
    return { sigma, episodes: 0, steps: horizon, directions: [], skipped };
  }
  const thetas = new Float64Array(points.length * theta.length);
  points.forEach((point, i) => thetas.set(point, i * theta.length));
  const { losses } = await measureThetas(program, {
    thetas,
    steps: horizon,
    workers: episodes,
    seed: evaluationSeed(seed),
    measure,
    signal,
  });
  const over = (number: (at: (point: number) => number) => number): ProbedNumber => {
    const { mean, standardError } = statistics(
      Array.from({ length: episodes }, (_, e) => number((point) => losses[point * episodes + e])),
    );
    return { mean, standardError };
  };
  return {
    sigma,
    episodes,
    steps: horizon,
    loss: over((at) => at(1)),
    gain: over((at) => at(0) - at(1)),
    directions: names.map((name, i) => {
      const [plus, minus] = [2 + 2 * i, 3 + 2 * i];
      return {
        name,
        slope: over((at) => (at(plus) - at(minus)) / 2),
        bend: over((at) => (at(plus) + at(minus)) / 2 - at(1)),
      };
    }),
  };
}

/** Standard errors above which a number is none of chance. */
const CLEAR = 2;
/** A bend that is a smaller share of what the run has won is that of a minimum it has found. */
const MATTERS = 0.1;

/** What the probe says about σ, in words; undefined if nothing. */
export function sigmaAdvice({ sigma, directions, gain, episodes }: SigmaProbe): string | undefined {
  const most = (meets: (direction: ProbedDirection) => boolean): boolean =>
    2 * directions.filter(meets).length > directions.length;
  if (gain === undefined) return undefined;
  if (most(({ bend }) => !Number.isFinite(bend.mean))) {
    return `the meta-loss is not finite at θ ± sigma (${number(sigma)}): a smaller sigma.`;
  }
  const won = Number.isFinite(gain.mean) ? Math.max(0, gain.mean) : 0;
  const [slope, bend] = [median(directions.map((d) => d.slope.mean)), median(directions.map((d) => d.bend.mean))];
  const large = most(
    (d) => Math.abs(d.bend.mean) > Math.max(Math.abs(d.slope.mean), CLEAR * d.bend.standardError, MATTERS * won),
  );
  if (large) {
    return (
      `at θ ± sigma (${number(sigma)}) the meta-loss bends by ${number(bend)} and differs by ${number(slope)}: sigma is larger than ` +
      'what the loss varies on. A smaller sigma.'
    );
  }
  const unclear = ({ mean, standardError }: ProbedNumber): boolean => Math.abs(mean) <= CLEAR * standardError;
  // A run that gets better has found a minimum where nothing is left to see.
  if (gain.mean > CLEAR * gain.standardError || !most((d) => unclear(d.slope) && unclear(d.bend))) return undefined;
  return (
    `at θ ± sigma (${number(sigma)}) the meta-loss differs by no more than two standard errors of ${String(episodes)} episodes, and the ` +
    'run has won nothing: sigma is too small for this loss, or the loss is flat here. A larger sigma, or another start.'
  );
}

/** Of sizes. */
export function median(values: readonly number[]): number {
  const sorted = values.map(Math.abs).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function number(value: number): string {
  return String(Number(value.toPrecision(2)));
}
