import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { sgd } from '../../learned-optimizers';
import {
  ConfigurationError,
  treeFlatten,
  UserError,
  type Batch,
  type Task,
  type TensorTree,
} from '../../src/contracts';
import { prepareRun, resolveConfig } from '../../src/outer';
import { unroll } from '../../src/outer/combinators/unroll';
import { EagerRandom, foldIn, normals, seedKey } from '../../src/random';
import { augmented, mlp, quadraticCurvatures, quadraticTask, type AugmentOptions } from '../../tasks';
import { testContainer } from '../outer/support';
import { ENGINES } from '../support/engine-table';
import { lossAndGradient, runnerOf } from '../support/run-problem';

const f = Math.fround;
const RATE = 0.05;
const objective = { metric: 'loss', split: 'train', over: 'mean' } as const;
const trained = (task: Task, horizon: number) =>
  unroll({ task, optimizer: sgd({ learningRate: RATE }), objective, horizon });

const ROWS = 90;
const data = arrayDataset({
  xs: normals([4, 1], ROWS * 3),
  ys: Array.from({ length: ROWS }, (_, i) => i % 3),
  inputShape: [3],
  classes: 3,
});

const random = (i: number) => new EagerRandom(foldIn(seedKey(11), i));
const numbers = (tree: TensorTree): number[] => treeFlatten<tf.Tensor>(tree).flatMap((leaf) => [...leaf.dataSync()]);

beforeAll(() => tf.setBackend('cpu'));

describe('reparametrised weights', () => {
  const h = quadraticCurvatures({ size: 4, condition: 7 }).map(f);
  const plain = quadraticTask({ size: 4, condition: 7 });
  const run = runnerOf(trained(augmented(plain, { reparametrise: [0.5, 3] }), 6));

  test.each([0, 1, 2])('gradient descent moves w at c² times the rate, worker %d', (worker) => {
    const { states, losses, metrics } = run({ steps: 6, worker });
    const [c] = states[0]['task.scales.0'];
    expect(c).toBeGreaterThanOrEqual(0.5);
    expect(c).toBeLessThan(3);
    // x = 1 at the start, whatever c is: w_t = (1 − αc²hᵢ)^t.
    const weights = (t: number): number[] => h.map((curvature) => (1 - f(RATE) * c ** 2 * curvature) ** t);
    const lossAt = (t: number): number => weights(t).reduce((sum, w, i) => sum + 0.5 * h[i] * w ** 2, 0);
    states.forEach((state, t) => {
      expect(state['task.scales.0']).toEqual(states[0]['task.scales.0']);
      weights(t).forEach((w, i) => expect(state['params.x'][i]).toBeCloseTo(w / c, 12));
    });
    expect(metrics['batch loss'][0]).toBeCloseTo(h.reduce((a, b) => a + b) / 2, 12);
    losses.forEach((loss, t) => expect(loss).toBeCloseTo(lossAt(t + 1), 12));
  });

  test('each tensor has its own factor, another in every episode, log-uniform', () => {
    const [low, high] = [0.01, 100];
    const task = augmented(mlp({ data, hidden: [2] }), { reparametrise: [low, high] });
    const N = 250;
    const drawn = Array.from({ length: N }, (_, i) => {
      const { scales } = task.initState!(task.init(random(i)), random(N + i), random(i)) as { scales: tf.Tensor[] };
      return numbers(scales).map((c) => Math.log(c / low) / Math.log(high / low));
    });
    expect(drawn[0]).toHaveLength(4);
    const all = drawn.flat().sort((a, b) => a - b);
    expect(new Set(all).size).toBe(all.length);
    // Kolmogorov's distance from the uniform distribution: 1.95/√n is passed by chance once in 1000.
    const distance = Math.max(
      ...all.map((u, i) => Math.max(Math.abs(u - i / all.length), Math.abs(u - (i + 1) / all.length))),
    );
    expect(distance).toBeLessThan(1.95 / Math.sqrt(all.length));
  });

  test('params and state have the same factors, and the start is that of the task inside', () => {
    const network = mlp({ data, hidden: [2] });
    const task = augmented(network, { reparametrise: [0.1, 10] });
    const params = task.init(random(3));
    const { scales } = task.initState!(params, random(4), random(3)) as { scales: tf.Tensor[] };
    const own = treeFlatten<tf.Tensor>(network.init(random(3).foldIn(0)));
    treeFlatten<tf.Tensor>(params).forEach((v, i) => {
      const [w, back] = [own[i], tf.mul(v, scales[i])].map((tensor) => [...tensor.dataSync()]);
      // One division and one product, each half of the last place.
      w.forEach((x, k) => expect(Math.abs(back[k] - x)).toBeLessThanOrEqual(2 ** -23 * Math.abs(x)));
    });
  });
});

describe('smaller batches', () => {
  /** Mean of w·x over rows: a row's weight in the mean is the derivative by its x. */
  const linear = (batchSize: number): Task => ({
    name: 'linear',
    dataset: data,
    batchSize,
    init: () => ({ w: tf.scalar(2) }),
    loss: (params, { xs }) => tf.mean(tf.mul((params as { w: tf.Tensor }).w, xs)),
    metrics: (_, { xs }) => ({ rows: tf.scalar(xs.shape[0]) }),
  });
  const xs = [1, 10, 100, 1000, 10000, 100000];
  const batch = (): Batch => ({ xs: tf.tensor1d(xs), ys: tf.tensor1d(xs) });

  test.each([
    [1, [6, 0, 0, 0, 0, 0]],
    [2, [3, 3, 0, 0, 0, 0]],
    [3, [2, 2, 2, 0, 0, 0]],
    // 6 = 4 + 2: the first two rows count twice.
    [4, [2, 2, 1, 1, 0, 0]],
    [5, [2, 1, 1, 1, 1, 0]],
    [6, [1, 1, 1, 1, 1, 1]],
  ])('b = %d of 6 rows: the first b, as often as they fit', (rows, times) => {
    const task = augmented(linear(6), { smallestBatch: 1 });
    const state = { scales: [], rows: tf.scalar(rows, 'int32') };
    const { loss, state: after } = task.lossWithState!({ w: tf.scalar(2) }, batch(), random(0), state);
    const expected = (2 * xs.reduce((sum, x, i) => sum + x * times[i], 0)) / 6;
    expect(loss.dataSync()[0]).toBeCloseTo(expected, 1);
    expect(after).toEqual(state);
    // Objectives and metrics: all rows.
    const whole = task.loss({ w: tf.scalar(2) }, batch(), random(0), state);
    expect(whole.dataSync()[0]).toBeCloseTo(111111 / 3, 1);
    expect(task.metrics!({ w: tf.scalar(2) }, batch(), state).rows.dataSync()[0]).toBe(6);
  });

  test('b is log-uniform over the integers of [low, B], and stays for the episode', () => {
    const [low, B, N] = [3, 8, 3000];
    const task = augmented(linear(B), { smallestBatch: low });
    const counts = new Map<number, number>();
    for (let i = 0; i < N; i++) {
      const [rows] = numbers(task.initState!({ w: tf.scalar(2) }, random(i), random(i)));
      counts.set(rows, (counts.get(rows) ?? 0) + 1);
    }
    const expected = Array.from(
      { length: B - low + 1 },
      (_, i) => Math.log((low + i + 1) / (low + i)) / Math.log((B + 1) / low),
    );
    const chi = expected.reduce((sum, p, i) => sum + ((counts.get(low + i) ?? 0) - N * p) ** 2 / (N * p), 0);
    expect([...counts.values()].reduce((a, b) => a + b)).toBe(N);
    expect([...counts.keys()].every((rows) => rows >= low && rows <= B)).toBe(true);
    // χ² of 5 degrees of freedom is above 20.5 once in 1000.
    expect(chi).toBeLessThan(20.5);
    const { states } = runnerOf(trained(task, 4))({ steps: 4 });
    expect(new Set(states.map((state) => state['task.rows'][0])).size).toBe(1);
  });
});

describe('noisy gradients', () => {
  const STD = 0.4;
  const task = augmented(quadraticTask({ size: 3 }), { gradientNoise: STD });

  test('the noise of each tensor is standard normal times s·rms(g), fresh at every step', () => {
    const N = 20_000;
    const gradients = { a: tf.fill([N], 3), b: tf.concat([tf.fill([N / 2], 1e-3), tf.fill([N / 2], -7e-3)]) };
    const given = task.gradients!(gradients, random(0)) as typeof gradients;
    const rms = { a: 3, b: Math.sqrt((1e-6 + 49e-6) / 2) };
    const residuals = (['a', 'b'] as const).map((name) => {
      const [noisy, g] = [given[name], gradients[name]].map((tensor) => [...tensor.dataSync()]);
      return noisy.map((x, i) => (x - g[i]) / (STD * rms[name]));
    });
    for (const z of residuals) {
      const mean = z.reduce((a, b) => a + b) / N;
      const variance = z.reduce((sum, x) => sum + x * x, 0) / N;
      // Four standard errors: 1/√N of the mean, √(2/N) of the variance.
      expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(N));
      expect(Math.abs(variance - 1)).toBeLessThan(4 * Math.sqrt(2 / N));
    }
    const correlation = residuals[0].reduce((sum, x, i) => sum + x * residuals[1][i], 0) / N;
    expect(Math.abs(correlation)).toBeLessThan(4 / Math.sqrt(N));
    const { states, metrics } = runnerOf(trained(task, 2))({ steps: 2 });
    const h = quadraticCurvatures({ size: 3 }).map(f);
    const noise = [0, 1].map((t) => {
      const [before, after] = [states[t], states[t + 1]].map((state) => [...state['params.x']]);
      return before.map((x, i) => (x - after[i]) / f(RATE) - h[i] * x);
    });
    expect(noise[0].every((x) => x !== 0)).toBe(true);
    noise[0].forEach((x, i) => expect(noise[1][i]).not.toBeCloseTo(x, 6));
    // The loss is that of the params, whatever the noise.
    const x = [...states[1]['params.x']];
    expect(metrics['batch loss'][1]).toBeCloseTo(
      x.reduce((sum, xi, i) => sum + 0.5 * h[i] * xi * xi, 0),
      12,
    );
  });

  test('a gradient of zeros stays, and has a finite derivative', () => {
    const { loss, gradient } = lossAndGradient({ g: { shape: [3], values: [0, 0, 0] } }, (params) =>
      tf.sum((task.gradients!(params, random(0)) as { g: tf.Tensor }).g),
    );
    expect(loss).toBe(0);
    expect([...gradient.g]).toEqual([1, 1, 1]);
  });
});

test('all of it is trained alike on every engine', async () => {
  const network = mlp({ data, hidden: [4], activation: 'tanh', batchSize: 6 });
  const task = augmented(network, { reparametrise: [0.5, 2], smallestBatch: 1, gradientNoise: 0.2 });
  const { evaluation: _, ...problem } = trained(task, 4);
  const ALL = Int32Array.of(0, 1, 2);
  const results: Record<string, number[]> = {};
  for (const { name, open } of ENGINES.filter(({ name }) => name !== 'native, lane-major')) {
    const engine = await open();
    const program = await engine.compile(problem);
    const population = await program.createPopulation({ size: 3, seed: 5 });
    const request = { particles: ALL, perturbation: { form: 'none', theta: new Float64Array(0) } as const };
    await population.reset({ ...request, workers: ALL, episodes: ALL });
    results[name] = [...(await population.advance({ ...request, steps: 4 })).lossSum];
    await program.dispose();
    await engine.dispose();
  }
  const expected = results[ENGINES[0].name];
  expect(new Set(expected).size).toBe(3);
  for (const [name, sums] of Object.entries(results)) {
    sums.forEach((sum, i) => expect([name, Math.abs(sum - expected[i]) < 1e-5]).toEqual([name, true]));
  }
}, 300_000);

describe('bad input', () => {
  const network = mlp({ data, batchSize: 8 });
  test.each<[AugmentOptions, string]>([
    [{}, 'task: expected one or more of reparametrise, smallestBatch and gradientNoise, got none.'],
    [{ reparametrise: [2, 1] }, 'task.reparametrise: expected two numbers [low, high], 0 < low ≤ high, got [2,1].'],
    [{ reparametrise: [0, 1] }, 'got [0,1].'],
    [{ smallestBatch: 9 }, 'task.smallestBatch: expected at most 8 rows, got 9.'],
    [{ smallestBatch: 1.5 }, 'task.smallestBatch: expected a positive integer, got 1.5.'],
    [{ gradientNoise: -1 }, 'task.gradientNoise: expected a positive number, got -1.'],
  ])('%j', (options, message) => {
    expect(() => augmented(network, options)).toThrow(ConfigurationError);
    expect(() => augmented(network, options)).toThrow(message);
  });

  test('batches of a task without data', () => {
    expect(() => augmented(quadraticTask(), { smallestBatch: 2 })).toThrow(
      'task.smallestBatch: expected batches (a task with a data set), got 2.',
    );
  });

  const container = testContainer();
  const config = (task: object) =>
    resolveConfig(
      { task, optimizer: 'sgd', horizon: 10, estimator: { name: 'nres', pairs: 1, sigma: 1, window: 10 } } as never,
      [],
      container,
    );

  test('a configuration names the field, and what stands inside', async () => {
    const range = { name: 'augmented', task: 'quadratic', reparametrise: [1] };
    expect(() => config(range)).toThrow(
      'task.reparametrise: expected two numbers [low, high], 0 < low ≤ high, got [1].',
    );
    expect(() => config({ name: 'augmented', task: 3 })).toThrow('task.task: expected a task: its name, or {name, …}');
    const inside = config({ name: 'augmented', task: { name: 'quadratic', size: 0 }, gradientNoise: 0.1 });
    await expect(prepareRun(inside, container)).rejects.toThrow(UserError);
    await expect(prepareRun(inside, container)).rejects.toThrow('task.task.size: expected a positive integer, got 0.');
    const { plan } = await prepareRun(
      config({ name: 'augmented', task: { name: 'quadratic', size: 2 }, gradientNoise: 0.1 }),
      container,
    );
    expect(plan.problem.name).toBe('sgd on augmented quadratic');
  });
});
