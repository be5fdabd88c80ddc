import type { GradientEstimator, OuterOptimizer, UnrollProgram } from '../../src/contracts';

/** The bare outer loop: θ after each iteration, in order. */
export async function metaTrain(
  program: UnrollProgram,
  estimator: GradientEstimator,
  optimizer: OuterOptimizer,
  { start, iterations, seed }: { start: readonly number[]; iterations: number; seed: number },
): Promise<Float64Array[]> {
  const population = await estimator.populate(program, seed);
  let theta: Float64Array = Float64Array.from(start);
  let state = optimizer.init(theta.length);
  const thetas: Float64Array[] = [];
  for (let i = 0; i < iterations; i++) {
    const { gradient } = await estimator.estimate(theta, population, i);
    ({ theta, state } = optimizer.update(theta, gradient, state, i));
    thetas.push(theta);
  }
  return thetas;
}
