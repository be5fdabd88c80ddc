import { gridThetas, measureThetas, spread } from '../../src/outer';
import { linearProgram, linearSystem, meanLoss } from '../support/linear-program';
import { plainProgram } from '../support/plain-program';

const T = 12;

/** θ[0]·(worker + 1) + θ[1]·t; not a number where θ[0] > 2, infinite where it is 2. */
const sloped = plainProgram({
  name: 'sloped',
  horizon: T,
  thetaSize: 3,
  stateSize: 1,
  init: (_theta, state) => state.fill(0),
  step: (theta, _state, t, worker) => {
    if (theta[0] >= 2) return theta[0] === 2 ? Infinity : NaN;
    return theta[0] * (worker + 1) + theta[1] * t;
  },
});

test('a grid: x moves fastest, other coordinates stay', () => {
  const x = { coordinate: 2, values: spread(0, 1, 3) };
  const y = { coordinate: 0, values: spread(-1, 1, 2) };
  expect(Array.from(gridThetas(Float64Array.of(7, 8, 9), x, y))).toEqual(
    [0, 0.5, 1]
      .map((a) => [-1, 8, a])
      .concat([0, 0.5, 1].map((a) => [1, 8, a]))
      .flat(),
  );
});

test('the loss of a linear system at every grid point, by its closed form', async () => {
  const system = linearSystem('quadratic', T);
  const x = { coordinate: 0, values: spread(-1, 2, 7) };
  const y = { coordinate: 1, values: spread(-3, 1, 4) };
  const thetas = gridThetas(new Float64Array(2), x, y);
  const { mean, standardError } = await measureThetas(linearProgram(system), { thetas, steps: T, workers: 1, seed: 0 });
  y.values.forEach((b, j) => {
    x.values.forEach((a, i) => expect(mean[j * 7 + i]).toBeCloseTo(meanLoss(system, [a, b]), 12));
  });
  expect(Array.from(standardError)).toEqual(new Array(28).fill(0));
});

test('all points have the same episodes, whose losses are averaged; only the steps asked for are run', async () => {
  const thetas = Float64Array.of(1, 0, 0, 0, 1, 0, 1, 10, 5);
  const seen: number[] = [];
  const options = { thetas, steps: 5, workers: 3, seed: 0, onSteps: (done: number) => seen.push(done) };
  const { mean, standardError } = await measureThetas(sloped, options);
  // Workers 0, 1, 2 have slopes 1, 2, 3; the mean of t over five steps is 2.
  expect(Array.from(mean)).toEqual([2, 2, 22]);
  expect(standardError[0]).toBeCloseTo(1 / Math.sqrt(3), 12);
  expect(standardError[1]).toBe(0);
  expect(standardError[2]).toBeCloseTo(1 / Math.sqrt(3), 12);
  expect(seen).toEqual([0, 1, 2, 3, 4, 5]);
});

test('points whose loss is not finite say so and leave the others alone', async () => {
  const thetas = Float64Array.of(2, 0, 0, 3, 0, 0, 1, 0, 0);
  const { mean, standardError } = await measureThetas(sloped, { thetas, steps: T, workers: 2, seed: 0 });
  expect(Array.from(mean)).toEqual([Infinity, NaN, 1.5]);
  expect(Array.from(standardError)).toEqual([NaN, NaN, 0.5]);
});

test('more numbers than can be perturbed at once are refused before anything runs', async () => {
  const run = measureThetas(sloped, { thetas: new Float64Array(3 * 4), steps: 1, workers: 2 ** 26, seed: 0 });
  await expect(run).rejects.toThrow(/at most 268435456 numbers in all, got 805306368\. Take a coarser grid/);
});
