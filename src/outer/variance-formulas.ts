/**
 * The variance that antithetic estimators have where losses are linear in the noise (σ → 0), from the gradients of windows.
 *
 * Within an episode with given randomness, g_{τ,j} is the gradient of window τ's mean loss by what chunk j of noise
 * perturbs, g_τ = Σ_j g_{τ,j} that by θ, ḡ the mean over windows. One pair gives (Σ_j g_{τ,j}·ε_j)·Σ_j ε_j with c
 * chunks of noise up to its window, whose squared norm has the expectation
 *
 *   m_τ = c·d·Σ_j‖g_{τ,j}‖² + 2‖g_τ‖²     (Li et al. 2023; d = size of θ)
 *
 * and whose own expectation is g_τ. With N independent pairs the rest is where their windows lie and what episodes share
 * (nothing): with windows drawn for each pair, V = (mean_τ E m_τ − ‖E ḡ‖²)/N, E over episodes, minibatches among their
 * randomness. One chunk and one window is FullES, ((d+1)‖ḡ‖²)/N where episodes do not differ; one chunk is NRES,
 * ((d+2)·mean_τ‖g_τ‖² − ‖ḡ‖²)/N; a chunk a window is PES.
 */
import type { ConfigObject, NamedConfig } from '../contracts';

/** What the variance of an estimator depends on beside gradients. */
export interface NoiseModel {
  /** W: steps of a scored window; divides the horizon. */
  readonly window: number;
  /** K: steps that one noise lasts; a multiple of W, the horizon or more for one noise an episode. */
  readonly noisePeriod: number;
  /**
   * Where the windows of pairs lie: drawn for each pair; permutations of all T/W windows one after another; or all at the
   * episode's start.
   */
  readonly offsets: 'independent' | 'stratified' | 'start';
  /** N: pairs, or workers with one direction each. */
  readonly count: number;
}

/** What one episode says to a `NoiseModel`. */
export interface EpisodeMoments {
  /** m_τ of each window. */
  readonly squares: Float64Array;
  /** g_τ, row-major [windows × d]. */
  readonly gradients: Float64Array;
}

export interface PredictedVariance {
  readonly value: number;
  /** From the differences between episodes, by the jackknife; 0 where they do not differ. Absent where there are only two. */
  readonly standardError?: number;
}

/** Why there is no formula, in words that follow "no prediction:". */
export interface NoModel {
  readonly reason: string;
}

/**
 * The model of an estimator with resolved options.
 * @param horizon T, finite
 */
export function noiseModel(estimator: NamedConfig, horizon: number): NoiseModel | NoModel {
  const { name } = estimator;
  const given: Partial<ConfigObject> = estimator;
  const { window, noisePeriod, shaping, clip, lockstep, offsets, pairs, workers } = given;
  const periods: Readonly<Record<string, unknown>> = {
    'full-es': horizon,
    nres: horizon,
    gpes: noisePeriod,
    pes: window,
    dodge: horizon,
  };
  const period = periods[name];
  if (typeof period !== 'number') return { reason: `no formula for ${name}` };
  if (shaping !== undefined && shaping !== 'none') return { reason: `no formula with shaping (${name})` };
  if (clip !== undefined) return { reason: `no formula with a clip (${name})` };
  const whole = name === 'full-es';
  const place = offsets === 'independent' ? 'independent' : 'stratified';
  return {
    window: whole ? horizon : Number(window),
    noisePeriod: period,
    offsets: whole || lockstep === true ? 'start' : place,
    count: Number(name === 'dodge' ? workers : pairs),
  };
}

/**
 * m_τ: E‖g‖² of one pair whose window depends on c chunks of noise.
 * @param gradients g_{τ,j}, row-major [c × d]
 */
export function pairSquare(gradients: Float64Array, d: number): number {
  const chunks = gradients.length / d;
  const total = new Float64Array(d);
  let squares = 0;
  for (let i = 0; i < gradients.length; i++) {
    squares += gradients[i] ** 2;
    total[i % d] += gradients[i];
  }
  return chunks * d * squares + 2 * squaredNorm(total);
}

const squaredNorm = (x: Float64Array): number => x.reduce((sum, value) => sum + value * value, 0);

/** Sums over some episodes, from which every expectation over episodes follows. */
interface Sums {
  readonly episodes: number;
  /** Σ_τ m_τ. */
  readonly squares: number;
  /** Σ g_τ and Σ‖g_τ‖² of each window. */
  readonly windows: { readonly sum: Float64Array; readonly norms: Float64Array };
  /** Σ ḡ and Σ‖ḡ‖². */
  readonly mean: { readonly sum: Float64Array; readonly norm: number };
}

/**
 * ‖E x‖² of independent x₁ … x_m, by the mean of xᵢ·xₖ over i ≠ k: unbiased, where the squared norm of the mean would have
 * the variance of the mean on top.
 */
const squaredMean = (sum: number, norms: number, m: number): number => (m === 1 ? sum : (sum - norms) / (m * (m - 1)));

function varianceOf(model: NoiseModel, { episodes, squares, windows, mean }: Sums): number {
  const n = windows.norms.length;
  const second = squares / (episodes * n);
  const overall = squaredMean(squaredNorm(mean.sum), mean.norm, episodes);
  if (model.offsets === 'independent') return (second - overall) / model.count;
  const within = squaredMean(squaredNorm(windows.sum), sumOf(windows.norms), episodes) / n;
  // What stands beyond whole permutations is a sample of windows without replacement.
  const beyond = model.count % n;
  const spread = n === 1 ? 0 : (n * (within - overall)) / (n - 1);
  return (second - within) / model.count + ((beyond * (n - beyond)) / n) * (spread / model.count ** 2);
}

const sumOf = (x: Float64Array): number => x.reduce((sum, value) => sum + value, 0);

function momentsAlone({ squares, gradients }: EpisodeMoments, used: number, d: number): Sums {
  const own = gradients.subarray(0, used * d);
  const mean = new Float64Array(d);
  const norms = new Float64Array(used);
  own.forEach((g, i) => {
    mean[i % d] += g / used;
    norms[Math.floor(i / d)] += g * g;
  });
  return {
    episodes: 1,
    squares: sumOf(squares.subarray(0, used)),
    windows: { sum: own, norms },
    mean: { sum: mean, norm: squaredNorm(mean) },
  };
}

/** a + sign·b. */
function added(a: Sums, b: Sums, sign: 1 | -1): Sums {
  const add = (x: Float64Array, y: Float64Array): Float64Array => x.map((value, i) => value + sign * y[i]);
  return {
    episodes: a.episodes + sign * b.episodes,
    squares: a.squares + sign * b.squares,
    windows: { sum: add(a.windows.sum, b.windows.sum), norms: add(a.windows.norms, b.windows.norms) },
    mean: { sum: add(a.mean.sum, b.mean.sum), norm: a.mean.norm + sign * b.mean.norm },
  };
}

/**
 * Total variance of one estimate, by the formulas above. Unbiased over episodes, so that with few of them and little
 * variance it may come out negative.
 * @param episodes independent; a single one stands for a problem whose episodes do not differ
 * @param d size of θ
 */
export function predictedVariance(
  model: NoiseModel,
  episodes: readonly EpisodeMoments[],
  d: number,
): PredictedVariance {
  const used = model.offsets === 'start' ? 1 : episodes[0].squares.length;
  const alone = episodes.map((episode) => momentsAlone(episode, used, d));
  const all = alone.slice(1).reduce((sums, one) => added(sums, one, 1), alone[0]);
  const value = varianceOf(model, all);
  const m = episodes.length;
  // Of two, leaving out one leaves one, which says nothing of how episodes differ.
  if (m < 3) return m === 1 ? { value, standardError: 0 } : { value };
  const without = alone.map((one) => varianceOf(model, added(all, one, -1)));
  const middle = without.reduce((sum, x) => sum + x / m, 0);
  const squares = without.reduce((sum, x) => sum + (x - middle) ** 2, 0);
  return { value, standardError: Math.sqrt(((m - 1) / m) * squares) };
}
