/** Influence balancing by gradients (Vicol et al. 2021, rerun in float64): W steps an update, SGD 1e-4, never reset. */
import type { GradientEstimator, UnrollProgram } from '../../src/contracts';
import { createEngine } from '../../src/engines';
import { rtrl, sgd, tbptt, uoro } from '../../meta-trainers';
import { influenceBalancing as problem } from '../../tasks';
import { influenceBalancing, influenceStep, loggedLoss, SIZE, THETA_START } from '../support/influence-balancing';
import { metaTrain } from '../support/meta-train';
import { plainProgram } from '../support/plain-program';
import { normalQuantile } from '../support/statistics';

const RATE = 1e-4;
const ITERATIONS = [500, 1000, 2000, 3000];
const start = [THETA_START];

async function reference(): Promise<UnrollProgram> {
  return (await createEngine('reference')).engine.compile(problem());
}

/** Logged losses at the iterations of the table. */
async function logged(program: UnrollProgram, estimator: GradientEstimator, rate = RATE): Promise<number[]> {
  const optimizer = sgd({ learningRate: rate });
  const thetas = await metaTrain(program, estimator, optimizer, { start, iterations: 3000, seed: 1 });
  return ITERATIONS.map((i) => loggedLoss(thetas[i - 1][0]));
}

/** Within half a unit of the last digit of the table's numbers, which are given as text. */
function expectTable(losses: readonly number[], table: readonly string[]): void {
  const printed = losses.map((loss, i) => {
    const digits = table[i].replace(/e.*/, '').replace('.', '').replace(/^0+/, '').length;
    return Number(loss.toPrecision(digits));
  });
  expect(printed).toEqual(table.map(Number));
}

describe('on the float64 engine', () => {
  it('RTRL: 1.04e-2, 1.3e-5, 2.2e-11, 3.7e-17', async () => {
    const program = await reference();
    expectTable(await logged(program, rtrl({ window: 1 })), ['1.04e-2', '1.3e-5', '2.2e-11', '3.7e-17']);
  });

  it('TBPTT-1: 12.65, 22.2, 68.5, 211', async () => {
    const program = await reference();
    expectTable(await logged(program, tbptt({ window: 1, windowLoss: 'last' })), ['12.65', '22.2', '68.5', '211']);
  });
});

describe('on the plain program', () => {
  const program = plainProgram(influenceBalancing);
  it.each([
    [10, 'last', ['2.0e3', '5.7e5', '4.5e10', '3.5e15']],
    [100, 'last', ['0.217', '5.9e-3', '4.3e-6', '3.2e-9']],
    [100, 'mean', ['11.2', '15.8', '31.5', '62.9']],
  ] as const)('TBPTT-%d, %s loss: %j', async (window, windowLoss, table) => {
    expectTable(await logged(program, tbptt({ window, windowLoss })), table);
  });
});

/** At a θ that stands still; every line at 1e-4 (two-sided, Bonferroni), with a seed that was fixed once. */
it('UORO with 1000 workers: the mean gradient is the exact one after 3, 20 and 60 steps', async () => {
  const program = plainProgram(influenceBalancing);
  const estimator = uoro({ workers: 1000, window: 1 });
  const theta = Float64Array.of(THETA_START);
  const population = await estimator.populate(program, 1);
  const z = normalQuantile(1e-4 / 3);
  const state = new Float64Array(SIZE).fill(1);
  const tangent = new Float64Array(SIZE);
  for (let t = 1; t <= 60; t++) {
    const { gradient, diagnostics } = await estimator.estimate(theta, population, t);
    influenceStep(THETA_START, state);
    // dS' = A dS + sign.
    influenceStep(1, tangent);
    const exact = (state[0] - 1) * tangent[0];
    if (![3, 20, 60].includes(t)) continue;
    const standardError = Math.abs(gradient[0]) / diagnostics.signalToNoise;
    expect(Math.abs(gradient[0] - exact)).toBeLessThan(z * standardError);
    // The noise grows with the state's memory: by step 60 a worker's is ten times the gradient.
    if (t <= 20) expect(standardError).toBeLessThan(0.1 * Math.abs(exact));
  }
});
