/** Test functions against their formulas in float64, and at their minima. */
import * as tf from '@tensorflow/tfjs';
import { EagerRandom, seedKey, uniforms } from '../../src/random';
import { TEST_FUNCTIONS, testFunction, testFunctionMinimum, type TestFunctionName } from '../../tasks';
import { lossAndGradient } from '../support/run-problem';

const { cos, exp, sin, sqrt, PI, E } = Math;
const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);

/** Written from Surjanovic, Bingham; the least values as published there. */
const FORMULAS: Readonly<
  Record<
    TestFunctionName,
    { f: (x: number[]) => number; dimensions: number[]; least: (d: number) => number; domain: number }
  >
> = {
  rosenbrock: {
    f: (x) => sum(x.slice(1).map((next, i) => 100 * (next - x[i] ** 2) ** 2 + (x[i] - 1) ** 2)),
    dimensions: [2, 5],
    least: () => 0,
    domain: 2.048,
  },
  rastrigin: {
    f: (x) => 10 * x.length + sum(x.map((v) => v ** 2 - 10 * cos(2 * PI * v))),
    dimensions: [1, 4],
    least: () => 0,
    domain: 5.12,
  },
  ackley: {
    f: (x) => {
      const d = x.length;
      return (
        -20 * exp(-0.2 * sqrt(sum(x.map((v) => v * v)) / d)) - exp(sum(x.map((v) => cos(2 * PI * v))) / d) + 20 + E
      );
    },
    dimensions: [1, 4],
    least: () => 0,
    domain: 32.768,
  },
  'styblinski-tang': {
    f: (x) => sum(x.map((v) => v ** 4 - 16 * v ** 2 + 5 * v)) / 2,
    dimensions: [1, 3],
    least: (d) => -39.16616570377142 * d,
    domain: 5,
  },
  griewank: {
    f: (x) => sum(x.map((v) => v * v)) / 4000 - x.map((v, i) => cos(v / sqrt(i + 1))).reduce((a, b) => a * b) + 1,
    dimensions: [1, 4],
    least: () => 0,
    domain: 600,
  },
  levy: {
    f: (x) => {
      const w = x.map((v) => 1 + (v - 1) / 4);
      const last = w[w.length - 1];
      return (
        sin(PI * w[0]) ** 2 +
        sum(w.slice(0, -1).map((v) => (v - 1) ** 2 * (1 + 10 * sin(PI * v + 1) ** 2))) +
        (last - 1) ** 2 * (1 + sin(2 * PI * last) ** 2)
      );
    },
    dimensions: [1, 2, 4],
    least: () => 0,
    domain: 10,
  },
  booth: {
    f: ([x, y]) => (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2,
    dimensions: [2],
    least: () => 0,
    domain: 10,
  },
  beale: {
    f: ([x, y]) => (1.5 - x + x * y) ** 2 + (2.25 - x + x * y ** 2) ** 2 + (2.625 - x + x * y ** 3) ** 2,
    dimensions: [2],
    least: () => 0,
    domain: 4.5,
  },
};

const rows = TEST_FUNCTIONS.flatMap((name) => FORMULAS[name].dimensions.map((d) => [name, d] as const));

function at(name: TestFunctionName, x: readonly number[]) {
  const task = testFunction({ function: name, dimensions: x.length });
  const none = { xs: tf.zeros([0]), ys: tf.zeros([0]) };
  const { loss, gradient } = lossAndGradient({ x: { shape: [x.length], values: x } }, (params) =>
    task.loss(params, none, new EagerRandom(seedKey(0))),
  );
  return { loss, gradient: [...gradient.x] };
}

beforeAll(() => tf.setBackend('cpu'));

describe.each(rows)('%s in %i dimensions', (name, d) => {
  const { f, least, domain } = FORMULAS[name];

  test('has the values of its formula, and their slopes', () => {
    for (let point = 0; point < 3; point++) {
      const x = Array.from(uniforms([7, point], d), (u) => (2 * u - 1) * domain);
      const { loss, gradient } = at(name, x);
      // Constants that are no float32 (0.2, π, 1/√3) are 2⁻²⁵ off in the graph; they are multiplied by up to x.
      const tolerance = 2 ** -22 * Math.max(1, domain);
      expect(Math.abs(loss - f(x))).toBeLessThan(tolerance * Math.max(1, Math.abs(f(x))));
      gradient.forEach((slope, i) => {
        const h = 1e-5;
        const moved = (by: number): number => f(x.map((v, k) => (k === i ? v + by : v)));
        const expected = (moved(h) - moved(-h)) / (2 * h);
        expect(Math.abs(slope - expected)).toBeLessThan(8 * tolerance * Math.max(1, Math.abs(expected)));
      });
    }
  });

  test('is least, and flat, at its minimum', () => {
    const minimum = testFunctionMinimum({ function: name, dimensions: d });
    const { loss, gradient } = at(name, minimum);
    expect(Math.abs(loss - least(d))).toBeLessThan(1e-5);
    gradient.forEach((slope) => expect(Math.abs(slope)).toBeLessThan(1e-4));
    for (let point = 0; point < 5; point++) {
      const near = Array.from(uniforms([8, point], d), (u, i) => minimum[i] + 0.2 * u - 0.1);
      expect(f(near)).toBeGreaterThan(least(d));
    }
  });

  test('starts are within its domain, decided by the key, and as far from the minimum as the metric says', () => {
    const task = testFunction({ function: name, dimensions: d });
    const start = (seed: number): number[] => {
      const { x } = task.init(new EagerRandom(seedKey(seed))) as { x: tf.Tensor };
      return Array.from(x.dataSync());
    };
    expect(start(1)).toEqual(start(1));
    expect(start(1)).not.toEqual(start(2));
    const all = Array.from({ length: 100 }, (_, seed) => start(seed)).flat();
    expect(Math.max(...all.map(Math.abs))).toBeLessThanOrEqual(domain);
    // Of 100 uniform draws the largest is above 0.9 of the domain but for 0.95^100.
    expect(Math.max(...all)).toBeGreaterThan(0.9 * domain);
    const x = start(3);
    const { distance } = task.metrics!({ x: tf.tensor1d(x) }, { xs: tf.zeros([0]), ys: tf.zeros([0]) });
    const minimum = testFunctionMinimum({ function: name, dimensions: d });
    expect(distance.dataSync()[0] / Math.hypot(...x.map((v, i) => v - minimum[i]))).toBeCloseTo(1, 5);
  });
});

test.each([
  ['task.dimensions: expected 2 for the function "booth", got 3', { function: 'booth', dimensions: 3 }],
  ['task.dimensions: expected at least 2 for the function "rosenbrock", got 1', { dimensions: 1 }],
  ['task.dimensions: expected a positive integer, got 0', { function: 'ackley', dimensions: 0 }],
] as const)('%s', (message, options) => {
  expect(() => testFunction(options)).toThrow(message);
});
