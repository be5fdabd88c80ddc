/** Lorenz, Li et al. 2023 §5.1: 200 pairs, W=100, T=2000, σ=0.04, SGD. */
import type { GradientEstimator } from '../../src/contracts';
import { nres, sgd, truncatedEs } from '../../meta-trainers';
import { lorenz, lorenzTest, THETA_START } from '../support/lorenz';
import { plainProgram } from '../support/plain-program';

const options = { pairs: 200, sigma: 0.04, window: 100 };

/** Test losses at the given iterations. */
async function train(
  estimator: GradientEstimator,
  learningRate: number,
  at: readonly number[],
  starts: number,
): Promise<number[]> {
  const test = lorenzTest(starts);
  const population = await estimator.populate(plainProgram(lorenz()), 1);
  const optimizer = sgd({ learningRate });
  let theta: Float64Array = Float64Array.from(THETA_START);
  let state = optimizer.init(2);
  const losses: number[] = at[0] === 0 ? [test(theta)] : [];
  for (let i = 0; i < at[at.length - 1]; i++) {
    const { gradient } = await estimator.estimate(theta, population, i);
    ({ theta, state } = optimizer.update(theta, gradient, state, i));
    if (at.includes(i + 1)) losses.push(test(theta));
  }
  return losses;
}

it('NRES: about 312 at the start, under 60 by iteration 1000', async () => {
  const [start, ...rest] = await train(nres(options), 1e-5, [0, 250, 1000], 1000);
  console.log(start, rest);
  expect(Math.abs(start / 312 - 1)).toBeLessThan(0.01);
  expect(rest[1]).toBeLessThan(60);
});

it('truncated ES stays above 65', async () => {
  const every50 = Array.from({ length: 20 }, (_, i) => 50 * i);
  const losses = await train(truncatedEs(options), 3e-4, every50, 1000);
  console.log(losses);
  expect(Math.min(...losses)).toBeGreaterThan(65);
});
