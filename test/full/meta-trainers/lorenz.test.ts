import { sgd, truncatedEs } from '../../../meta-trainers';
import { lorenz, lorenzTest, THETA_START } from '../../support/lorenz';
import { metaTrain } from '../../support/meta-train';
import { plainProgram } from '../../support/plain-program';

it('truncated ES on Lorenz stays above 65 over 5000 iterations', async () => {
  const testLoss = lorenzTest(1000);
  const estimator = truncatedEs({ pairs: 200, sigma: 0.04, window: 100 });
  const optimizer = sgd({ learningRate: 3e-4 });
  const thetas = await metaTrain(plainProgram(lorenz()), estimator, optimizer, {
    start: THETA_START,
    iterations: 5000,
    seed: 1,
  });
  const losses = thetas.filter((_, i) => (i + 1) % 50 === 0).map(testLoss);
  expect(losses).toHaveLength(100);
  expect(Math.min(...losses)).toBeGreaterThan(65);
}, 600_000);
