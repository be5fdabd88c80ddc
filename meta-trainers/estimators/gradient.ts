/**
 * The core that the gradient estimators share. They differ in what derivative a worker's window has; each file beside
 * this one states its own.
 */
import { z } from 'zod';
import type {
  ConfigObject,
  DerivativeResult,
  EngineCapability,
  Estimate,
  GradientEstimator,
  UnrollProgram,
} from '../../src/contracts';
import { ShapeError } from '../../src/contracts/errors';
import { settingsOf } from '../options';
import { checkFinite, checkWindow, count, episodeLength, episodeOptions, mean, startsOf } from './episodes';
import { episodeLengths } from './lengths';
import { GradientWorkers, type WorkerDerivatives } from './gradient-workers';

/** Options that every gradient estimator takes. */
export const gradientOptions = {
  /** N: workers, each with an episode of its own. */
  workers: count.default(1),
  /** Bound on the Euclidean norm of a worker's own gradient, before the mean over workers. */
  clip: z.number().positive().optional(),
};

/** Options of those that update θ every W inner steps. */
export const gradientWindowOptions = { ...gradientOptions, ...episodeOptions };

export type GradientWindowOptions = z.output<z.ZodObject<typeof gradientWindowOptions>>;
export type GradientOptions = Omit<GradientWindowOptions, 'window'> & { readonly window?: number };

/** What makes one gradient estimator differ from another. */
export interface GradientVariant {
  readonly name: string;
  readonly needs: EngineCapability;
  /** Whether an estimate scores one window, or a whole new episode. */
  readonly scored: 'window' | 'horizon';
  /** Which loss of the window is differentiated, and reported as the mean loss. */
  readonly loss: 'mean' | 'last';
  /** @throws ConfigurationError */
  derivatives(program: UnrollProgram, steps: number, seed: number): WorkerDerivatives;
  /**
   * Turns a worker's rows of derivatives (those of its particles, one after another) into its gradient. By default the
   * rows are the gradient, with nothing but zeros behind it.
   */
  gradient?(rows: Float64Array, directions: Float64Array, gradient: Float64Array): void;
}

/**
 * Mean over workers of what a window says about the gradient. Each worker runs with θ itself; its state, and what is kept
 * of the state's derivative, is carried from window to window.
 *
 * Inner steps are counted as for the evolutionary estimators: the forward steps that particles were advanced by. What
 * derivatives cost beside them (steps that are run backwards or again, tangents) is not counted.
 *
 * A worker with a NaN or infinite loss leaves the mean, starts a new episode and advances, unscored, to its old phase; so
 * does one whose loss is finite but whose gradient is not (`explodedWorkers`). `validPairs` and `droppedPairs` count
 * workers.
 */
export class GradientOfWindows implements GradientEstimator<GradientWorkers> {
  readonly needs: readonly EngineCapability[];
  readonly counts = 'workers';
  readonly settings: ConfigObject;

  /** @param given the estimator's own options, where `options` are not what the user knows */
  constructor(
    private readonly variant: GradientVariant,
    private readonly options: GradientOptions,
    given: object = options,
  ) {
    this.needs = ['forward', variant.needs];
    this.settings = settingsOf(given);
  }

  get name(): string {
    return this.variant.name;
  }

  /**
   * @throws ConfigurationError if window and horizon do not fit together, DifferentiationError if nothing that the loss
   * depends on has a derivative by θ, CapabilityError
   */
  async populate(program: UnrollProgram, seed: number): Promise<GradientWorkers> {
    const { workers, lockstep, offsets, window } = this.options;
    const steps = this.scoredSteps(program.problem.horizon);
    const lengths = episodeLengths(program.problem, window ?? 1, seed);
    const together = lockstep || this.variant.scored === 'horizon';
    const rule = { rule: offsets, seed, workers, window: steps };
    const plan = { seed, workers, ...startsOf(program.problem, lengths, together, rule) };
    return GradientWorkers.create(program, plan, this.variant.derivatives(program, steps, seed));
  }

  async estimate(
    theta: Float64Array,
    workers: GradientWorkers,
    iteration: number,
    signal?: AbortSignal,
  ): Promise<Estimate> {
    const { program } = workers;
    const { size } = program.theta;
    if (theta.length !== size) throw new ShapeError(`θ: expected ${size} numbers, got ${theta.length}.`);
    const steps = this.scoredSteps(program.problem.horizon);
    const setting = { theta, iteration, signal };

    let burnInSteps = await workers.begin(setting);
    const { lengths } = workers.plan;
    const whole = this.variant.scored === 'horizon' && lengths !== undefined;
    const result = whole ? await workers.wholeEpisodes(setting) : await workers.window(steps, setting);
    const each = result.lossSum.length / this.options.workers;
    const rows = this.workerGradients(result, workers, size);
    // A worker counts by its steps, so that the mean is over steps (docs/meta-training.md).
    if (whole) {
      const expected = lengths.mean(iteration);
      for (let i = 0; i < rows.length; i++) rows[i] *= workers.lengths[Math.floor(i / size)] / expected;
    }
    const { sound, broken, exploded } = sortWorkers(result.lossSum, rows, each);
    const summary = combineGradients(rows, size, sound, this.options.clip);
    burnInSteps += await workers.reenter(broken, setting);

    const first = (values: Float64Array): Float64Array => Float64Array.from(sound, (w) => values[w * each]);
    const soundSteps = whole ? mean(Float64Array.from(sound, (w) => workers.lengths[w])) : steps;
    const losses =
      this.variant.loss === 'last' ? first(result.lastLoss) : first(result.lossSum).map((x) => x / soundSteps);
    return {
      gradient: summary.gradient,
      meanLoss: mean(losses),
      innerSteps: each * (whole ? workers.lengths.reduce((sum, x) => sum + x) : steps * this.options.workers),
      sequentialSteps: whole ? Math.max(...workers.lengths) : steps,
      burnInSteps,
      validPairs: sound.length,
      droppedPairs: broken.length,
      metrics: Object.fromEntries(
        Object.entries(result.metricSums).map(([name, sums]) => [name, mean(first(sums).map((x) => x / soundSteps))]),
      ),
      diagnostics: { ...episodeLength(workers), ...summary.diagnostics, explodedWorkers: exploded },
    };
  }

  private scoredSteps(horizon: number): number {
    const { scored, name } = this.variant;
    if (scored === 'horizon') checkFinite(horizon, name);
    const window = this.options.window ?? horizon;
    checkWindow(window, horizon);
    return window;
  }

  /** [workers × θ size]. */
  private workerGradients(
    { derivatives }: DerivativeResult,
    { directions }: GradientWorkers,
    size: number,
  ): Float64Array {
    const { workers } = this.options;
    const gradients = new Float64Array(workers * size);
    const width = derivatives.length / workers;
    const directionWidth = (directions?.length ?? 0) / workers;
    for (let w = 0; w < workers; w++) {
      const row = derivatives.subarray(w * width, (w + 1) * width);
      const gradient = gradients.subarray(w * size, (w + 1) * size);
      if (this.variant.gradient === undefined) gradient.set(row.subarray(0, size));
      else {
        const own = directions?.subarray(w * directionWidth, (w + 1) * directionWidth) ?? new Float64Array(0);
        this.variant.gradient(row, own, gradient);
      }
    }
    return gradients;
  }
}

export interface SortedWorkers {
  /** Ascending. */
  readonly sound: Int32Array;
  readonly broken: Int32Array;
  /** Of the broken ones: those with finite losses and a gradient that is not. */
  readonly exploded: number;
}

/**
 * Workers all of whose particles had finite losses and whose gradient is finite, and the others.
 * @param each particles of a worker
 */
export function sortWorkers(lossSum: Float64Array, gradients: Float64Array, each: number): SortedWorkers {
  const workers = lossSum.length / each;
  const size = gradients.length / workers;
  const sound: number[] = [];
  const broken: number[] = [];
  let exploded = 0;
  const finite = (values: Float64Array, width: number, w: number): boolean => {
    for (let i = w * width; i < (w + 1) * width; i++) if (!Number.isFinite(values[i])) return false;
    return true;
  };
  for (let w = 0; w < workers; w++) {
    const losses = finite(lossSum, each, w);
    if (losses && finite(gradients, size, w)) sound.push(w);
    else {
      broken.push(w);
      if (losses) exploded++;
    }
  }
  return { sound: Int32Array.from(sound), broken: Int32Array.from(broken), exploded };
}

export interface CombinedGradients {
  /** Zeros if no worker is sound. */
  readonly gradient: Float64Array;
  readonly diagnostics: Readonly<Record<string, number>>;
}

/**
 * Mean of the sound workers' gradients, rows of `gradients` [workers × size], each at most `clip` long.
 *
 * Diagnostics: `gradientNorm`, root mean square of the norms before clipping; `clippedWorkers`, where there is a clip;
 * `signalToNoise`, the mean's norm over its standard error √(Σ_w‖g_w − ḡ‖²/(n(n−1))), where there is more than one worker
 * (step-unlocked ones differ in their windows too, and not in their luck alone).
 */
export function combineGradients(
  gradients: Float64Array,
  size: number,
  sound: Int32Array,
  clip?: number,
): CombinedGradients {
  const n = sound.length;
  const rows = Array.from(sound, (w) => gradients.subarray(w * size, (w + 1) * size));
  const norms = rows.map(norm);
  const clipped = norms.filter((length) => length > (clip ?? Infinity)).length;
  const scales = norms.map((length) => (length > (clip ?? Infinity) ? clip! / length : 1));
  const gradient = new Float64Array(size);
  rows.forEach((row, i) => {
    for (let k = 0; k < size; k++) gradient[k] += (scales[i] * row[k]) / n;
  });
  const spread = rows.reduce((sum, row, i) => {
    let squares = 0;
    for (let k = 0; k < size; k++) squares += (scales[i] * row[k] - gradient[k]) ** 2;
    return sum + squares;
  }, 0);
  return {
    gradient,
    diagnostics: {
      gradientNorm: norm(Float64Array.from(norms)) / Math.sqrt(n),
      ...(gradients.length > size ? { signalToNoise: norm(gradient) / Math.sqrt(spread / (n * (n - 1))) } : {}),
      ...(clip === undefined ? {} : { clippedWorkers: clipped }),
    },
  };
}

/** Euclidean norm; squares that would overflow do no harm. */
function norm(values: Float64Array): number {
  let largest = 0;
  for (let k = 0; k < values.length; k++) largest = Math.max(largest, Math.abs(values[k]));
  if (largest === 0) return 0;
  let sum = 0;
  for (let k = 0; k < values.length; k++) sum += (values[k] / largest) ** 2;
  return largest * Math.sqrt(sum);
}
