/** Lorenz, Li et al. 2023 §5.1: 200 pairs, W=100, T=2000, σ=0.04, SGD; 1000 test starts. */
import { nres, sgd, truncatedEs } from '../../meta-trainers';
import { lorenz, lorenzTest, THETA_START } from '../support/lorenz';
import { metaTrain } from '../support/meta-train';
import { plainProgram } from '../support/plain-program';

const options = { pairs: 200, sigma: 0.04, window: 100 };
const testLoss = lorenzTest(1000);
const run = { start: THETA_START, seed: 1 };

it('starts from a test loss of about 312', () => {
  // 1000 other starts than the rerun's, so not the same digits.
  expect(Math.abs(testLoss(THETA_START) / 312 - 1)).toBeLessThan(0.01);
});

it('NRES is under 60 by iteration 1000', async () => {
  const optimizer = sgd({ learningRate: 1e-5 });
  const thetas = await metaTrain(plainProgram(lorenz()), nres(options), optimizer, { ...run, iterations: 1000 });
  expect(testLoss(thetas[999])).toBeLessThan(60);
});

it('truncated ES stays above 65 where it comes lowest (5000 iterations: test/full)', async () => {
  const optimizer = sgd({ learningRate: 3e-4 });
  const thetas = await metaTrain(plainProgram(lorenz()), truncatedEs(options), optimizer, { ...run, iterations: 500 });
  for (const i of [400, 450, 500]) {
    const loss = testLoss(thetas[i - 1]);
    expect(loss).toBeGreaterThan(65);
    // It has learned what it can, and not diverged.
    expect(loss).toBeLessThan(100);
  }
});
