/** Total variance, bias² and mean squared error of an estimator from independent estimates, with bootstrap intervals. */
import { UserError } from '../contracts';
import { foldIn, integers, type Key } from '../random';

/** An estimate, and the ends of its confidence interval. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface GradientErrors {
  /** tr Cov(g) of one estimate g. */
  readonly totalVariance: Interval;
  /** ‖E g − g*‖², unbiased, so that it is negative about half of the time where there is no bias. */
  readonly biasSquared: Interval;
  /** E‖g − g*‖², unbiased: the sum of both. */
  readonly meanSquaredError: Interval;
}

export interface MeanGradient {
  readonly mean: Float64Array;
  /** Trace of the covariance of the mean: total variance / n. */
  readonly variance: number;
  readonly n: number;
}

/** A total variance from the samples with these numbers, which may repeat. */
export type VarianceOf = (chosen: Int32Array) => number;

export interface ErrorOptions {
  /** Of the resamples. */
  readonly key: Key;
  /** Where the gradients are not estimates themselves but have the same mean: the total variance of one estimate. */
  readonly varianceOf?: VarianceOf;
  /** B; 2000 by default. */
  readonly resamples?: number;
  /** 0.95 by default. */
  readonly confidence?: number;
}

export const RESAMPLES = 2000;
export const CONFIDENCE = 0.95;

const ROUNDING = 2 ** -46;

/** Gradients, their mean, and squared distances from it: all that resampling needs. */
interface Sample {
  readonly rows: readonly Float64Array[];
  readonly mean: Float64Array;
  readonly squares: Float64Array;
}

function squaredDistance(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] - b[k]) ** 2;
  return sum;
}

function meanOf(rows: readonly Float64Array[]): Float64Array {
  const mean = new Float64Array(rows[0].length);
  for (const row of rows) for (let k = 0; k < mean.length; k++) mean[k] += row[k] / rows.length;
  return mean;
}

/** @throws UserError for fewer than two gradients */
function sampleOf(what: string, rows: readonly Float64Array[]): Sample {
  if (rows.length < 2) {
    throw new UserError(
      `${what}: expected at least two estimates with finite losses, got ${rows.length}. Repeat more, or take another θ.`,
    );
  }
  const mean = meanOf(rows);
  const zero = new Float64Array(mean.length);
  // What the rounding of the mean leaves between equal rows is no variance.
  const rounding = ROUNDING ** 2 * rows.length * squaredDistance(mean, zero);
  const squares = Float64Array.from(rows, (row) => squaredDistance(row, mean));
  return { rows, mean, squares: squares.every((square) => square <= rounding) ? squares.fill(0) : squares };
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);

/** Mean and total variance of a sample, or of a resample of it. */
interface Moments {
  readonly mean: Float64Array;
  readonly totalVariance: number;
}

function momentsOf({ mean, squares }: Sample): Moments {
  return { mean, totalVariance: sum(squares) / (squares.length - 1) };
}

/** Σ‖g−ḡ*‖² over the drawn rows is Σ‖g−ḡ‖² − n‖ḡ*−ḡ‖². */
function resampled({ rows, mean, squares }: Sample, drawn: Int32Array): Moments {
  const n = rows.length;
  const own = new Float64Array(mean.length);
  let total = 0;
  for (const i of drawn) {
    const row = rows[i];
    for (let k = 0; k < own.length; k++) own[k] += row[k];
    total += squares[i];
  }
  for (let k = 0; k < own.length; k++) own[k] /= n;
  return { mean: own, totalVariance: Math.max(0, total - n * squaredDistance(own, mean)) / (n - 1) };
}

/** @throws UserError for fewer than two gradients */
export function meanGradient(gradients: readonly Float64Array[]): MeanGradient {
  const { mean, totalVariance } = momentsOf(sampleOf('a mean gradient', gradients));
  return { mean, variance: totalVariance / gradients.length, n: gradients.length };
}

/** Of sorted numbers, linear between them. */
function quantile(sorted: Float64Array, p: number): number {
  const place = Math.min(Math.max(p, 0), 1) * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** Standard normal distribution function: the rational Chebyshev fit of erfc in Numerical Recipes, error below 1.2e-7. */
function normalCdf(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.5 * x);
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ];
  const tail = 0.5 * t * Math.exp(-x * x + coefficients.reduceRight((value, c) => value * t + c, 0));
  return z < 0 ? tail : 1 - tail;
}

/** Its inverse, by bisection. */
function normalQuantile(p: number): number {
  let [low, high] = [-10, 10];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (normalCdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/**
 * Efron's BCa interval (1987) of the total variance, whose distribution is skewed: percentiles of the resamples, corrected
 * for their bias z₀ and for the acceleration a, which the jackknife gives.
 * @param weights by how much less it is without each of the samples, apart from a constant and a positive factor
 */
function accelerated(value: number, resamples: Float64Array, weights: Float64Array, tail: number): Interval {
  if (value === 0) return { value, low: 0, high: 0 };
  const mean = sum(weights) / weights.length;
  const second = sum(weights.map((weight) => (weight - mean) ** 2));
  const third = sum(weights.map((weight) => (weight - mean) ** 3));
  const a = second === 0 ? 0 : third / (6 * second ** 1.5);
  const sorted = resamples.slice().sort();
  const below = sorted.reduce((count, one) => count + (one < value ? 1 : one === value ? 0.5 : 0), 0);
  const z0 = normalQuantile(Math.min(Math.max(below / sorted.length, 1 / sorted.length), 1 - 1 / sorted.length));
  const end = (p: number): number => {
    const z = z0 + normalQuantile(p);
    return quantile(sorted, normalCdf(z0 + z / (1 - a * z)));
  };
  return { value, low: end(tail), high: end(1 - tail) };
}

/**
 * Percentiles of (resample − what the resampled population has), around the estimate. Percentiles as they are would be off:
 * resampling adds the variance of a mean to ‖ḡ − r̄‖² once more.
 */
function centred(value: number, centre: number, resamples: Float64Array, tail: number): Interval {
  const sorted = resamples.slice().sort();
  return { value, low: value + quantile(sorted, tail) - centre, high: value + quantile(sorted, 1 - tail) - centre };
}

/**
 * What independent estimates g₁ … g_n say of their estimator against a reference r̄, the mean of independent r₁ … r_m:
 * total variance V = Σ‖gᵢ−ḡ‖²/(n−1); bias² = ‖ḡ−r̄‖² − V/n − V_r/m, which takes off what the noise of both means adds to
 * the distance; mean squared error = (1/n)Σ‖gᵢ−r̄‖² − V_r/m. All three are unbiased.
 *
 * With `varianceOf`, gᵢ has the mean of an estimate but not its variance, and V is that of `varianceOf` where the estimate is
 * meant. Intervals come from B resamples of both samples: BCa for the variance, centred percentiles for the others.
 * @throws UserError for fewer than two estimates of either
 */
export function gradientErrors(
  gradients: readonly Float64Array[],
  reference: readonly Float64Array[],
  { key, varianceOf, resamples = RESAMPLES, confidence = CONFIDENCE }: ErrorOptions,
): GradientErrors {
  const [own, other] = [sampleOf('the estimator', gradients), sampleOf('the reference', reference)];
  const [n, m] = [gradients.length, reference.length];
  const biasOf = (g: Moments, r: Moments): number =>
    squaredDistance(g.mean, r.mean) - g.totalVariance / n - r.totalVariance / m;
  const variances = new Float64Array(resamples);
  const biases = new Float64Array(resamples);
  const errors = new Float64Array(resamples);
  for (let b = 0; b < resamples; b++) {
    const drawn = integers(foldIn(foldIn(key, b), 0), n, 0, n);
    const g = resampled(own, drawn);
    const r = resampled(other, integers(foldIn(foldIn(key, b), 1), m, 0, m));
    variances[b] = varianceOf === undefined ? g.totalVariance : varianceOf(drawn);
    biases[b] = biasOf(g, r);
    errors[b] = variances[b] + biases[b];
  }
  const [g, r] = [momentsOf(own), momentsOf(other)];
  const bias = biasOf(g, r);
  const distance = squaredDistance(own.mean, other.mean);
  const tail = (1 - confidence) / 2;
  const all = Int32Array.from(gradients.keys());
  const variance = varianceOf === undefined ? g.totalVariance : varianceOf(all);
  // Without estimate i, the sum of squares is less by n/(n−1)·‖gᵢ−ḡ‖².
  const weights =
    varianceOf === undefined
      ? own.squares
      : Float64Array.from(all, (i) => variance - varianceOf(all.filter((other) => other !== i)));
  // What resamples have on average.
  const resampledVariance = varianceOf === undefined ? (variance * (n - 1)) / n : sum(variances) / resamples;
  return {
    totalVariance: accelerated(variance, variances, weights, tail),
    biasSquared: centred(bias, distance, biases, tail),
    meanSquaredError: centred(variance + bias, distance + resampledVariance, errors, tail),
  };
}
