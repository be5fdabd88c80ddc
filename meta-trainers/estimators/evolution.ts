/**
 * The core that the evolutionary estimators share. They differ in how long a pair keeps its noise and in where its
 * windows start; each file beside this one states its own choice.
 */
import { z } from 'zod';
import type {
  ConfigObject,
  Estimate,
  GradientEstimator,
  IterationSchedule,
  UnrollProgram,
  WindowResult,
} from '../../src/contracts';
import { ConfigurationError, ShapeError } from '../../src/contracts/errors';
import { settingsOf } from '../options';
import { iterationSchedule, scheduleSchema } from '../schedules';
import { checkFinite, checkWindow, count, episodeLength, episodeOptions, mean, startsOf } from './episodes';
import { episodeLengths } from './lengths';
import { pairDifferences, SHAPINGS } from './shaping';
import { Workers } from './workers';

/** Options that every evolutionary estimator takes. */
export const commonOptions = {
  /** N: antithetic pairs. */
  pairs: count,
  /** Standard deviation of the perturbation of θ. */
  sigma: scheduleSchema,
  /** See `pairDifferences`. */
  shaping: z.enum(SHAPINGS).default('none'),
  /** Bound on |L⁺−L⁻|, mean losses per inner step (after shaping, if any). */
  clip: z.number().positive().optional(),
};

/** Options of those that update θ every W inner steps. */
export const windowOptions = {
  ...commonOptions,
  ...episodeOptions,
};

export type WindowOptions = z.output<z.ZodObject<typeof windowOptions>>;

/** What makes one estimator differ from another. */
export interface Variant {
  readonly name: string;
  /** Whether an estimate scores one window, or the whole horizon in engine calls of `window` steps. */
  readonly scored: 'window' | 'horizon';
  /** K as a function of horizon and window; checked by `populate`. */
  readonly noisePeriod: (horizon: number, window: number) => number;
  readonly states: 'own' | 'mean';
}

export type EvolutionOptions = Omit<WindowOptions, 'window'> & { readonly window?: number };

interface Plan {
  readonly horizon: number;
  readonly scoredSteps: number;
  readonly callSteps: number;
  readonly noisePeriod: number;
  readonly lockstep: boolean;
}

/** An antithetic evolution strategy on unrolled problems. Two particles a pair, three with mean states. */
export class EvolutionStrategy implements GradientEstimator<Workers> {
  readonly needs = ['forward'] as const;
  readonly settings: ConfigObject;
  private readonly sigma: IterationSchedule;

  /** @param given the estimator's own options, where `options` are not what the user knows */
  constructor(
    private readonly variant: Variant,
    private readonly options: EvolutionOptions,
    given: object = options,
  ) {
    this.settings = settingsOf(given);
    this.sigma = iterationSchedule(options.sigma);
  }

  get name(): string {
    return this.variant.name;
  }

  /** @throws ConfigurationError if window, noise period and horizon do not fit together */
  async populate(program: UnrollProgram, seed: number): Promise<Workers> {
    const plan = this.plan(program);
    const { pairs, offsets, window } = this.options;
    const lengths = episodeLengths(program.problem, window ?? 1, seed);
    const rule = { rule: offsets, seed, workers: pairs, window: plan.scoredSteps };
    return Workers.create(program, {
      pairs,
      seed,
      ...startsOf(program.problem, lengths, plan.lockstep, rule),
      noisePeriod: plan.noisePeriod,
      states: this.variant.states,
      noiseStays: this.variant.states === 'own' && Math.min(plan.noisePeriod, plan.horizon) > plan.scoredSteps,
    });
  }

  async estimate(theta: Float64Array, workers: Workers, iteration: number, signal?: AbortSignal): Promise<Estimate> {
    const size = workers.program.theta.size;
    if (theta.length !== size) throw new ShapeError(`θ: expected ${size} numbers, got ${theta.length}.`);
    const { callSteps, ...plan } = this.plan(workers.program);
    const { pairs, shaping, clip } = this.options;
    const setting = { theta, sigma: sigmaAt(this.sigma, iteration), iteration, signal };

    let burnInSteps = await workers.begin(setting);
    // Episodes of different lengths: a pair counts by its steps, so that the mean is over steps (docs/meta-training.md).
    const { lengths } = workers.plan;
    const whole = this.variant.scored === 'horizon' && lengths !== undefined;
    const result = whole
      ? await workers.wholeEpisodes(callSteps, setting)
      : await workers.window(plan.scoredSteps, callSteps, setting);
    const scoredSteps = whole ? lengths.mean(iteration) : plan.scoredSteps;
    const ranSteps = whole ? workers.lengths.reduce((sum, steps) => sum + steps) : pairs * scoredSteps;
    const [sound, broken] = sortWorkers(result.lossSum, pairs);
    const losses = new Float64Array(2 * sound.length);
    for (let i = 0; i < losses.length; i++) losses[i] = result.lossSum[2 * sound[i >>> 1] + (i & 1)] / scoredSteps;
    const soundSteps = whole ? mean(Float64Array.from(sound, (w) => workers.lengths[w])) : scoredSteps;
    const sequentialSteps = whole ? Math.max(...workers.lengths) : scoredSteps;
    const differences = pairDifferences(losses, shaping, clip);

    const gradient = await workers.combineScores(sound, quotients(differences, 2 * sound.length), setting.sigma);
    /** Mean square of a pair's own gradient, with ‖score‖² at its expectation θ size·chunks/σ². */
    const squaredNorm =
      (squaredPairNorms(sound, differences, workers) * size) / sound.length / (2 * setting.sigma) ** 2;
    // Before broken workers draw new noise.
    const moved = workers.noiseOrigins?.meanDistance(theta);

    burnInSteps += await workers.reenter(broken, setting);

    return {
      gradient,
      meanLoss: whole ? (mean(losses) * scoredSteps) / soundSteps : mean(losses),
      innerSteps: (this.variant.states === 'mean' ? 3 : 2) * ranSteps,
      sequentialSteps,
      burnInSteps,
      validPairs: sound.length,
      droppedPairs: broken.length,
      metrics: metricMeans(result.metricSums, sound, soundSteps),
      diagnostics: {
        sigma: setting.sigma,
        ...episodeLength(workers),
        /** Mean of |L⁺−L⁻| per inner step, unshaped. */
        lossDifference: meanSize(pairDifferences(losses, 'none')),
        /** Root of `squaredNorm`. */
        pairGradientNorm: Math.sqrt(squaredNorm),
        ...signalToNoise(gradient, squaredNorm, sound.length),
        /** How far θ has moved while a worker's present noise stayed, mean over workers, over that noise's length σ√d. */
        ...finite('staleness', moved === undefined ? NaN : moved / (setting.sigma * Math.sqrt(size))),
        /** (L⁺+L⁻)/2 − L⁰ per inner step, by how much ±σ bends the window's loss: about σ²/2 times its Hessian's trace. */
        ...(this.variant.states === 'mean'
          ? finite('sigmaCurvature', bend(result.lossSum, sound, pairs) / scoredSteps)
          : {}),
      },
    };
  }

  private plan(program: UnrollProgram): Plan {
    const { horizon } = program.problem;
    const { scored, name } = this.variant;
    const finite = Number.isFinite(horizon);
    if (scored === 'horizon') checkFinite(horizon, name);
    const window = this.options.window ?? horizon;
    checkWindow(window, horizon);
    const noisePeriod = this.variant.noisePeriod(horizon, window);
    if (Number.isFinite(noisePeriod) && noisePeriod % window !== 0) {
      const near = window * Math.max(1, Math.round(noisePeriod / window));
      throw new ConfigurationError(
        'estimator.noisePeriod',
        `a multiple of the window ${window}`,
        String(noisePeriod),
        `For example ${near}.`,
      );
    }
    return {
      horizon,
      scoredSteps: scored === 'horizon' ? horizon : window,
      callSteps: window,
      noisePeriod,
      lockstep: !finite || scored === 'horizon' || this.options.lockstep,
    };
  }
}

/** @throws ConfigurationError */
export function sigmaAt(schedule: IterationSchedule, iteration: number): number {
  const sigma = schedule(iteration);
  if (sigma > 0 && sigma < Infinity) return sigma;
  throw new ConfigurationError('estimator.sigma', 'a positive number at every iteration', `${sigma} at ${iteration}`);
}

/** Workers all of whose particles had finite losses, and the others; ascending. */
function sortWorkers(lossSum: Float64Array, pairs: number): [Int32Array, Int32Array] {
  // A worker whose mean state is lost could only start broken windows.
  const meanIsFinite = (w: number) => lossSum.length === 2 * pairs || Number.isFinite(lossSum[2 * pairs + w]);
  const sound = new Int32Array(pairs);
  const broken = new Int32Array(pairs);
  let whole = 0;
  for (let w = 0; w < pairs; w++) {
    if (Number.isFinite(lossSum[2 * w]) && Number.isFinite(lossSum[2 * w + 1]) && meanIsFinite(w)) sound[whole++] = w;
    else broken[w - whole] = w;
  }
  return [sound.slice(0, whole), broken.slice(0, pairs - whole)];
}

// Plain loops: for tiny problems an iteration is a tenth of a millisecond, and closures over arrays would double it.

function quotients(values: Float64Array, divisor: number): Float64Array {
  const out = new Float64Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = values[i] / divisor;
  return out;
}

function squaredPairNorms(sound: Int32Array, differences: Float64Array, workers: Workers): number {
  let sum = 0;
  for (let i = 0; i < sound.length; i++) sum += differences[i] ** 2 * workers.chunksInScore(sound[i]);
  return sum;
}

/**
 * ‖ĝ‖/√V for the mean ĝ of n pairs' gradients and V = tr Var ĝ, estimated by (m + ‖ĝ‖²)/(n + 1). E‖ĝ‖² = ‖g‖² + V, so that
 * 1 is what noise alone gives.
 *
 * With ‖score‖² at its expectation m misses what the length of a pair's noise has to do with its losses: for losses that are
 * linear in the noise E‖g_pair‖² = E m + 2‖g‖², of which the formula is the solution, unbiased for V. Step-unlocked workers
 * have gradients of their own windows, and V is then larger, by a factor of at most 1 + 2/(θ size).
 */
function signalToNoise(gradient: Float64Array, m: number, n: number): Record<string, number> {
  let squares = 0;
  for (let k = 0; k < gradient.length; k++) squares += gradient[k] ** 2;
  return finite('signalToNoise', Math.sqrt(((n + 1) * squares) / (m + squares)));
}

/** Nothing, where there is no such number. */
function finite(name: string, value: number): Record<string, number> {
  return Number.isFinite(value) ? { [name]: value } : {};
}

/** Mean over workers of (L⁺+L⁻)/2 − L⁰, summed over the window. */
function bend(lossSum: Float64Array, sound: Int32Array, pairs: number): number {
  let sum = 0;
  for (const w of sound) sum += (lossSum[2 * w] + lossSum[2 * w + 1]) / 2 - lossSum[2 * pairs + w];
  return sum / sound.length;
}

/** Mean of |x|; NaN if there are none. */
export function meanSize(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.abs(values[i]);
  return sum / values.length;
}

/** Of pairs, whose particles are next to each other. */
export function metricMeans(
  metricSums: WindowResult['metricSums'],
  workers: Int32Array,
  steps: number,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(metricSums).map(([name, sums]) => [
      name,
      mean(Float64Array.from(workers, (w) => (sums[2 * w] + sums[2 * w + 1]) / (2 * steps))),
    ]),
  );
}
