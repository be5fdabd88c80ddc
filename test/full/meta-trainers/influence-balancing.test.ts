/** The rest of the influence-balancing table: 3000 iterations, and more seeds of PES. */
import { pes, sgd, truncatedEs, uoro } from '../../../meta-trainers';
import { influenceBalancing, loggedLoss, pesRange, rtrl, THETA_START } from '../../support/influence-balancing';
import { metaTrain } from '../../support/meta-train';
import { plainProgram } from '../../support/plain-program';
import { meanTest } from '../../support/statistics';

const options = { pairs: 500, sigma: 0.1, window: 1 };
const program = plainProgram(influenceBalancing);
const optimizer = sgd({ learningRate: 1e-4 });
const start = [THETA_START];

it('PES, 4 seeds: at most one lies outside the range of 40 others at any iteration of the table', async () => {
  const outside = pesRange.map(() => 0);
  for (let seed = 11; seed <= 14; seed++) {
    const thetas = await metaTrain(program, pes(options), optimizer, { start, iterations: 3000, seed });
    pesRange.forEach(([i, least, most], line) => {
      const loss = loggedLoss(thetas[i - 1][0]);
      if (loss < least || loss > most) outside[line]++;
    });
  }
  // Each is outside with probability 2/41: two of four with probability 1.3 %, before the fixed seeds were chosen.
  expect(Math.max(...outside)).toBeLessThanOrEqual(1);
}, 600_000);

it('truncated ES: 22.3 at iteration 1000, 68.8 at iteration 2000, 211 at 3000', async () => {
  const thetas = await metaTrain(program, truncatedEs(options), optimizer, { start, iterations: 3000, seed: 1 });
  expect(Math.abs(loggedLoss(thetas[999][0]) / 22.3 - 1)).toBeLessThan(0.01);
  expect(Math.abs(loggedLoss(thetas[1999][0]) / 68.8 - 1)).toBeLessThan(0.01);
  expect(Math.abs(loggedLoss(thetas[2999][0]) / 211 - 1)).toBeLessThan(0.01);
}, 600_000);

// A worker's noise is eleven times the gradient and lasts for tens of steps: 100 workers a seed.
it('UORO at 1e-5, 10 seeds: θ after 3000 iterations is that of RTRL in the mean', async () => {
  const exact = rtrl(1e-5, 3000)[2999];
  const found: number[] = [];
  for (let seed = 1; seed <= 10; seed++) {
    const slow = sgd({ learningRate: 1e-5 });
    const estimator = uoro({ workers: 100, window: 1 });
    const thetas = await metaTrain(program, estimator, slow, { start, iterations: 3000, seed });
    found.push(thetas[2999][0]);
  }
  const { z, mean, standardError } = meanTest(found, exact);
  // |t| with 9 degrees of freedom is over 6.6 with probability 1e-4.
  expect(Math.abs(z)).toBeLessThan(6.6);
  expect(standardError).toBeLessThan(0.1 * (THETA_START - exact));
  // Most of the way to θ* = −1/6.
  expect(loggedLoss(mean)).toBeLessThan(0.25 * loggedLoss(THETA_START));
}, 600_000);
