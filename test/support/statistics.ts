/** Two-sided tests with a stated error, for estimators with fixed seeds. */

/** z with P(|Z| > z) = alpha for a standard normal Z, by bisection on the complementary error function. */
export function normalQuantile(alpha: number): number {
  let low = 0;
  let high = 12;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (erfc(middle / Math.SQRT2) > alpha) low = middle;
    else high = middle;
  }
  return low;
}

/** Complementary error function for x ≥ 0: Numerical Recipes' rational Chebyshev fit, relative error below 1.2e-7. */
function erfc(x: number): number {
  const t = 1 / (1 + 0.5 * x);
  const coefficients = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ];
  const poly = coefficients.reduceRight((sum, c) => sum * t + c, 0);
  return t * Math.exp(-x * x + poly);
}

export interface MeanTest {
  readonly mean: number;
  readonly standardError: number;
  /** (mean − expected) / standard error. */
  readonly z: number;
}

/** Mean of independent samples against its expectation. */
export function meanTest(samples: ArrayLike<number>, expected: number): MeanTest {
  const n = samples.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += samples[i] / n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (samples[i] - mean) ** 2;
  const standardError = Math.sqrt(squares / (n - 1) / n);
  return { mean, standardError, z: (mean - expected) / standardError };
}
