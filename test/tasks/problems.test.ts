import * as tf from '@tensorflow/tfjs';
import { normals } from '../../src/random';
import { influenceBalancing, lorenz, quadraticClosedForm, quadraticProblem } from '../../tasks';
import { runnerOf, runProblem } from '../support/run-problem';
import { meanTest } from '../support/statistics';

// Constants enter graphs in float32, also where the interpreter computes in float64.
const f = Math.fround;

beforeAll(() => tf.setBackend('cpu'));

describe('influence balancing (Vicol et al. 2021, §5.1)', () => {
  /** s⁽¹⁾ after `steps` from s = 1. */
  function firstState(theta: number, steps: number): number {
    let s = Array.from({ length: 23 }, () => 1);
    for (let t = 0; t < steps; t++) {
      const before = s;
      s = before.map((value, i) => 0.5 * value + 0.5 * (i < 22 ? before[i + 1] : 0) + (i < 10 ? theta : -theta));
    }
    return s[0];
  }

  test.each([0.5, -0.3])('follows the linear system at θ = %d', (theta) => {
    const { losses, states } = runProblem(influenceBalancing(), { steps: 40, theta: [[theta]] });
    losses.forEach((loss, t) => {
      expect(loss).toBeCloseTo(0.5 * (firstState(theta, t + 1) - 1) ** 2, 12);
    });
    expect(states[40].s[0]).toBeCloseTo(firstState(theta, 40), 12);
  });

  test('the logged loss, after 500 fresh steps, is 8 at θ₀, 0 at −1/6, and has the gradient 36θ + 6', () => {
    const { problem, measure, metric } = influenceBalancing().evaluation!;
    expect([problem.horizon, measure, metric]).toEqual([500, 'last', 'loss after 500 steps']);
    const run = runnerOf(problem);
    const logged = (theta: number): number => run({ steps: 500, theta: [[theta]] }).losses[499];
    expect(run({ steps: 500 }).losses[499]).toBeCloseTo(8, 12);
    expect(logged(-1 / 6)).toBeLessThan(1e-20);
    for (const theta of [0.5, 0, -1]) {
      // The loss is quadratic in θ: central differences are exact but for rounding.
      expect((logged(theta + 0.5) - logged(theta - 0.5)) / 1).toBeCloseTo(36 * theta + 6, 10);
    }
  });

  test('never resets', () => expect(influenceBalancing().horizon).toBe(Infinity));
});

describe('Lorenz (Li et al. 2023, §5.1)', () => {
  const [DT, B] = [f(0.005), f(8 / 3)];
  const euler = ([x, y, z]: number[], a: number, r: number): number[] => [
    x + DT * (a * (y - x)),
    y + DT * (x * (r - z) - y),
    z + DT * (x * y - B * z),
  ];
  function losses(start: number[], a: number, r: number, steps: number): number[] {
    let [s, target] = [start, start];
    return Array.from({ length: steps }, () => {
      s = euler(s, a, r);
      target = euler(target, 10, 28);
      return (s[2] - target[2]) ** 2;
    });
  }

  test('losses are those of a plain loop', () => {
    const got = runProblem(lorenz(), { steps: 400, theta: [[3.116], [3.7]] }).losses;
    const expected = losses([f(1.2), f(1.3), f(1.6)], Math.exp(3.116), Math.exp(3.7), 400);
    // Chaos (Lyapunov exponent about 0.9 in 2 units of time) and different orders of rounding: far below 1e-8.
    got.forEach((loss, t) => expect(Math.abs(loss - expected[t])).toBeLessThan(1e-8));
    expect(Math.max(...expected)).toBeGreaterThan(100);
  });

  test('the true constants have no loss', () => {
    const got = runProblem(lorenz(), { steps: 50, theta: [[Math.log(10)], [Math.log(28)]] }).losses;
    expect(Math.max(...got)).toBeLessThan(1e-20);
  });

  test('θ₀ is (ln a, ln r) = (3.116, 3.7)', () => {
    const problem = lorenz();
    const theta = problem.initTheta({} as never);
    const { values } = problem.describeTheta!(theta);
    expect(values.a).toBeCloseTo(Math.exp(3.116), 4);
    expect(values.r).toBeCloseTo(Math.exp(3.7), 4);
  });

  test('is evaluated from starts of its own, each against the true trajectory from there: about 312 at θ₀', () => {
    const { problem, measure, particles } = lorenz().evaluation!;
    expect([measure, particles, problem.horizon]).toEqual(['mean', 1000, 2000]);
    const starts: number[][] = [];
    const run = runnerOf(problem);
    for (let worker = 0; worker < 400; worker++) {
      const [{ 'position.x': x, 'position.y': y, 'position.z': z, ...rest }] = run({ steps: 0, worker }).states;
      starts.push([x[0], y[0], z[0]]);
      expect([rest['target.x'][0], rest['target.y'][0], rest['target.z'][0]]).toEqual(starts[worker]);
    }
    // Mean and variance of N(start, 1) over 400 starts: 4 standard errors are 0.2 and 0.283, two-sided error 6e-5 each.
    [1.2, 1.3, 1.6].forEach((centre, axis) => {
      const mean = starts.reduce((sum, s) => sum + s[axis], 0) / starts.length;
      const variance = starts.reduce((sum, s) => sum + (s[axis] - mean) ** 2, 0) / (starts.length - 1);
      expect(Math.abs(mean - centre)).toBeLessThan(0.2);
      expect(Math.abs(variance - 1)).toBeLessThan(0.283);
    });
    const means = starts.map((s) => losses(s, Math.exp(3.116), Math.exp(3.7), 2000).reduce((a, b) => a + b, 0) / 2000);
    // 312 is the reruns', to three digits, from 1000 starts: 4 standard errors of both means and the rounding.
    const { mean, standardError } = meanTest(means, 312);
    expect(Math.abs(mean - 312)).toBeLessThan(4 * standardError * Math.sqrt(1 + means.length / 1000) + 0.5);
    expect(standardError).toBeLessThan(5);
  });
});

describe('the closed-form quadratic', () => {
  const A = [
    [f(0.9), f(0.2)],
    [f(-0.2), f(0.9)],
  ];
  const B = [
    [f(0.5), 0],
    [f(0.2), f(0.4)],
  ];
  const HORIZON = 100;
  const thetas = [0, 1, 2].map((i) => Array.from(normals([7, i], 2)) as [number, number]);

  function meanLoss(theta: readonly number[]): number {
    let s = [1, -1];
    let sum = 0;
    for (let t = 0; t < HORIZON; t++) {
      s = [0, 1].map((i) => A[i][0] * s[0] + A[i][1] * s[1] + B[i][0] * theta[0] + B[i][1] * theta[1]);
      sum += ((s[0] - 1) ** 2 + (s[1] - 0.5) ** 2) / 2;
    }
    return sum / HORIZON;
  }

  test.each(thetas)('the problem is the linear system (θ = %d, %d)', (...theta) => {
    const { losses } = runProblem(quadraticProblem(), { steps: HORIZON, theta: [theta] });
    const mean = losses.reduce((a, b) => a + b, 0) / HORIZON;
    expect(mean / meanLoss(theta) - 1).toBeCloseTo(0, 12);
  });

  test.each(thetas)('the closed form is its mean loss and gradient (θ = %d, %d)', (...theta) => {
    const { meanLoss: closed, gradient } = quadraticClosedForm(theta, HORIZON);
    // The closed form has float64 constants, the problem float32 ones: 2⁻²⁴ each, amplified by 1/(1 − 0.92) at most.
    expect(Math.abs(closed / meanLoss(theta) - 1)).toBeLessThan(1e-5);
    [0, 1].forEach((i) => {
      const moved = (by: number): number => meanLoss(theta.map((x, k) => (k === i ? x + by : x)));
      const difference = (moved(1) - moved(-1)) / 2;
      expect(Math.abs(gradient[i] - difference)).toBeLessThan(1e-5 * Math.abs(difference) + 1e-5);
    });
  });
});
