/** The variance of step-unlocked estimators from whole episodes in lockstep, which have no burn-in. */
import { ConfigurationError, type EstimatorPopulation, type GradientEstimator, type UnrollProgram } from '../contracts';
import type { VarianceOf } from './gradient-errors';
import { repeatSeed, type SampleOptions } from './gradient-samples';
import { allFinite } from './theta';

export interface EpisodeSamples {
  /** One an episode without dropped pairs: the mean over its windows of the gradient that its one pair, or worker, gives. */
  readonly gradients: readonly Float64Array[];
  /** (1/n) Σ_τ g_{r,τ}·g_{s,τ} over the n windows, row-major [episodes × episodes]. */
  readonly products: Float64Array;
  /** n = T/W. */
  readonly windows: number;
  /** Episodes that had a loss that is not finite. */
  readonly failed: number;
}

/** How the N workers of an estimate lie over the n windows of an episode, see `offsets.ts`. */
export interface Spread {
  readonly count: number;
  readonly offsets: 'stratified' | 'independent';
}

/**
 * Runs `repeats` episodes side by side, each a population of its own, window after window.
 *
 * Workers are independent of one another, offsets aside, and a worker that ran to its offset at a standing θ is one that
 * came there by scored windows. So the windows of R episodes are R samples of what a worker gives at each offset. That is
 * all that the variance of an estimate of N workers is made of, for n/2 times less work than R estimates with their burn-in.
 * @param estimator in lockstep, with one pair or worker
 * @throws ConfigurationError if the windows do not divide the episode
 */
export async function sampleEpisodes(
  estimator: GradientEstimator,
  program: UnrollProgram,
  { theta, seed, role, repeats, signal, onRepeat, window }: SampleOptions & { readonly window: number },
): Promise<EpisodeSamples> {
  const windows = program.problem.horizon / window;
  if (!Number.isSafeInteger(windows)) {
    throw new ConfigurationError('--windows', `divisors of the horizon ${program.problem.horizon}`, String(window));
  }
  const d = theta.length;
  const populations: EstimatorPopulation[] = [];
  try {
    for (let r = 0; r < repeats; r++) {
      populations.push(await estimator.populate(program, repeatSeed(seed, role, r)));
    }
    const means = populations.map(() => new Float64Array(d));
    const products = new Float64Array(repeats * repeats);
    const failed = new Set<number>();
    for (let w = 0; w < windows; w++) {
      const gradients: Float64Array[] = [];
      for (const [r, population] of populations.entries()) {
        const { gradient, validPairs } = await estimator.estimate(theta, population, 0, signal);
        if (validPairs === 0 || !allFinite(gradient)) failed.add(r);
        gradients.push(gradient);
      }
      addProducts(products, gradients, windows);
      gradients.forEach((gradient, r) => gradient.forEach((value, k) => (means[r][k] += value / windows)));
      onRepeat?.(((w + 1) * repeats) / windows);
    }
    const kept = [...populations.keys()].filter((r) => !failed.has(r));
    return {
      gradients: kept.map((r) => means[r]),
      products: Float64Array.from(kept.flatMap((r) => kept.map((s) => products[r * repeats + s]))),
      windows,
      failed: failed.size,
    };
  } finally {
    for (const population of populations) await population.dispose();
  }
}

/** products[r, s] += g_r·g_s / divisor */
function addProducts(products: Float64Array, gradients: readonly Float64Array[], divisor: number): void {
  const n = gradients.length;
  for (let r = 0; r < n; r++) {
    const own = gradients[r];
    for (let s = 0; s <= r; s++) {
      const other = gradients[s];
      let dot = 0;
      for (let k = 0; k < own.length; k++) dot += own[k] * other[k];
      products[r * n + s] += dot / divisor;
      if (s < r) products[s * n + r] += dot / divisor;
    }
  }
}

/**
 * Total variance of one estimate of N workers. With V_τ that of one worker at window τ, μ_τ its mean and
 * B = mean_τ‖μ_τ − μ̄‖², the variance is
 *
 *   mean_τ V_τ / N + B·b,   b = 1/N for independent offsets, m(n−m)/((n−1)N²) for stratified ones, m = N mod n:
 *
 * whole blocks of n workers have every window once, and the m that are left have windows drawn without replacement
 * (Cochran 1977, theorem 2.2). Both V and B are estimated without bias.
 */
export function varianceOfEstimates(
  { gradients, products, windows }: EpisodeSamples,
  { count, offsets }: Spread,
): VarianceOf {
  const total = gradients.length;
  const left = count % windows;
  const between =
    offsets === 'independent' ? 1 / count : left === 0 ? 0 : (left * (windows - left)) / ((windows - 1) * count ** 2);
  const averages = new Float64Array(total * total);
  addProducts(averages, gradients, 1);
  /** Σ w_r·P_rr and wᵀPw. */
  const forms = (of: Float64Array, weights: Float64Array): [number, number] => {
    let [diagonal, square] = [0, 0];
    for (let r = 0; r < total; r++) {
      if (weights[r] === 0) continue;
      diagonal += weights[r] * of[r * total + r];
      for (let s = 0; s < total; s++) square += weights[r] * weights[s] * of[r * total + s];
    }
    return [diagonal, square];
  };
  return (chosen) => {
    const n = chosen.length;
    const weights = new Float64Array(total);
    for (const r of chosen) weights[r]++;
    const [squares, ofSums] = forms(products, weights);
    const within = Math.max(0, squares - ofSums / n) / (n - 1);
    const [averageSquares, ofAverages] = forms(averages, weights);
    const ofEpisodes = Math.max(0, averageSquares - ofAverages / n) / (n - 1);
    const spread = (ofSums - ofAverages) / n ** 2 - (within - ofEpisodes) / n;
    return Math.max(0, within / count + between * spread);
  };
}
