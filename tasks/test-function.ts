/** The usual test functions of optimization, without data, from starts that the episode's key draws. */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { ConfigurationError, type Registrar, type Task } from '../src/contracts';
import { checkPositiveInteger } from './with-data';

interface TestFunction {
  /** Of a vector x [d]. */
  readonly value: (x: tf.Tensor1D) => tf.Tensor;
  /** A global minimum in d dimensions, one number for each or the same for all. */
  readonly minimum: number | readonly number[];
  /** Starts are uniform on this interval, in every coordinate. */
  readonly domain: readonly [number, number];
  /** Of d. */
  readonly dimensions: { readonly min: number; readonly max?: number };
}

const element = (x: tf.Tensor1D, i: number): tf.Tensor => tf.reshape(tf.slice(x, [i], [1]), []);
const head = (x: tf.Tensor1D): tf.Tensor1D => tf.slice(x, [0], [x.size - 1]);
const rest = (x: tf.Tensor1D): tf.Tensor1D => tf.slice(x, [1], [x.size - 1]);
const turns = (x: tf.Tensor, factor: number): tf.Tensor => tf.mul(x, factor * Math.PI);
const atLeastOne = { min: 1 } as const;
const two = { min: 2, max: 2 } as const;

/** Formulas and domains as in Surjanovic, Bingham, "Virtual library of simulation experiments: optimization test problems". */
const FUNCTIONS = {
  /** Σ 100(xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)² (Rosenbrock 1960): a curved valley. */
  rosenbrock: {
    value: (x) => {
      const bend = tf.square(tf.sub(rest(x), tf.square(head(x))));
      return tf.sum(tf.add(tf.mul(bend, 100), tf.square(tf.sub(1, head(x)))));
    },
    minimum: 1,
    domain: [-2.048, 2.048],
    dimensions: { min: 2 },
  },
  /** 10d + Σ xᵢ² − 10 cos 2πxᵢ: regular minima on a bowl. */
  rastrigin: {
    value: (x) => tf.add(tf.sum(tf.sub(tf.square(x), tf.mul(tf.cos(turns(x, 2)), 10))), 10 * x.size),
    minimum: 0,
    domain: [-5.12, 5.12],
    dimensions: atLeastOne,
  },
  /** −20 exp(−0.2 √(Σxᵢ²/d)) − exp(Σ cos 2πxᵢ/d) + 20 + e: a narrow funnel in a rough plain. */
  ackley: {
    value: (x) => {
      // √ has no slope at the minimum; the function there has a kink, of which 0 is the middle.
      const square = tf.mean(tf.square(x));
      const radius = tf.where(tf.greater(square, 0), tf.sqrt(square), 0);
      const funnel = tf.mul(tf.exp(tf.mul(radius, -0.2)), -20);
      return tf.add(tf.sub(funnel, tf.exp(tf.mean(tf.cos(turns(x, 2))))), 20 + Math.E);
    },
    minimum: 0,
    domain: [-32.768, 32.768],
    dimensions: atLeastOne,
  },
  /** ½ Σ xᵢ⁴ − 16xᵢ² + 5xᵢ: 2ᵈ minima, the least −39.16617·d. */
  'styblinski-tang': {
    value: (x) => {
      const square = tf.square(x);
      return tf.mul(tf.sum(tf.add(tf.sub(tf.square(square), tf.mul(square, 16)), tf.mul(x, 5))), 0.5);
    },
    minimum: -2.903534027771178,
    domain: [-5, 5],
    dimensions: atLeastOne,
  },
  /** 1 + Σ xᵢ²/4000 − Π cos(xᵢ/√i): a bowl with small, far-spread waves. */
  griewank: {
    value: (x) => {
      const product = Array.from({ length: x.size }, (_, i) =>
        tf.cos(tf.mul(element(x, i), 1 / Math.sqrt(i + 1))),
      ).reduce((a, b) => tf.mul(a, b));
      return tf.add(tf.sub(tf.mul(tf.sum(tf.square(x)), 1 / 4000), product), 1);
    },
    minimum: 0,
    domain: [-600, 600],
    dimensions: atLeastOne,
  },
  /** Levy, with w = 1 + (x − 1)/4. */
  levy: {
    value: (x) => {
      const w: tf.Tensor1D = tf.add(tf.mul(tf.sub(x, 1), 0.25), 1);
      const square = (y: tf.Tensor, sine: tf.Tensor): tf.Tensor =>
        tf.mul(tf.square(tf.sub(y, 1)), tf.add(tf.mul(tf.square(tf.sin(sine)), 10), 1));
      const [first, last] = [element(w, 0), element(w, w.size - 1)];
      const start = tf.square(tf.sin(turns(first, 1)));
      const end = tf.mul(tf.square(tf.sub(last, 1)), tf.add(tf.square(tf.sin(turns(last, 2))), 1));
      return tf.add(tf.add(start, tf.sum(square(head(w), tf.add(turns(head(w), 1), 1)))), end);
    },
    minimum: 1,
    domain: [-10, 10],
    dimensions: atLeastOne,
  },
  /** (x + 2y − 7)² + (2x + y − 5)². */
  booth: {
    value: (p) => {
      const [x, y] = [element(p, 0), element(p, 1)];
      const one = tf.sub(tf.add(x, tf.mul(y, 2)), 7);
      const other = tf.sub(tf.add(tf.mul(x, 2), y), 5);
      return tf.add(tf.square(one), tf.square(other));
    },
    minimum: [1, 3],
    domain: [-10, 10],
    dimensions: two,
  },
  /** (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)². */
  beale: {
    value: (p) => {
      const [x, y] = [element(p, 0), element(p, 1)];
      const powers = [y, tf.square(y), tf.mul(y, tf.square(y))];
      return [1.5, 2.25, 2.625]
        .map((c, i) => tf.square(tf.add(tf.sub(c, x), tf.mul(x, powers[i]))))
        .reduce((a, b) => tf.add(a, b));
    },
    minimum: [3, 0.5],
    domain: [-4.5, 4.5],
    dimensions: two,
  },
} as const satisfies Readonly<Record<string, TestFunction>>;

export type TestFunctionName = keyof typeof FUNCTIONS;
export const TEST_FUNCTIONS = Object.keys(FUNCTIONS) as [TestFunctionName, ...TestFunctionName[]];

export interface TestFunctionOptions {
  readonly function?: TestFunctionName;
  /** 2 by default; Booth's and Beale's functions have no others. */
  readonly dimensions?: number;
}

/** A point where the function has its least value. */
export function testFunctionMinimum({
  function: name = 'rosenbrock',
  dimensions = 2,
}: TestFunctionOptions = {}): number[] {
  const { minimum }: TestFunction = FUNCTIONS[name];
  return typeof minimum === 'number' ? new Array<number>(dimensions).fill(minimum) : [...minimum];
}

/**
 * A test function of x [dimensions] as a task: the loss is its value, the metric `distance` how far x is from the global
 * minimum; starts are uniform on the function's usual domain.
 * @throws ConfigurationError for a number of dimensions that the function does not have.
 */
export function testFunction(options: TestFunctionOptions = {}): Task {
  const { function: name = 'rosenbrock', dimensions = 2 } = options;
  const { value, domain, dimensions: allowed }: TestFunction = FUNCTIONS[name];
  checkPositiveInteger('task.dimensions', dimensions);
  const { min, max = Infinity } = allowed;
  if (dimensions < min || dimensions > max) {
    const expected = min === max ? String(min) : `at least ${min}`;
    throw new ConfigurationError('task.dimensions', `${expected} for the function "${name}"`, String(dimensions));
  }
  const [low, high] = domain;
  const vector = (params: unknown): tf.Tensor1D => (params as { x: tf.Tensor1D }).x;
  return {
    name: `test-function ${name}`,
    init: (random) => ({ x: random.uniform([dimensions], { low, high }) }),
    loss: (params) => value(vector(params)),
    metrics: (params) => {
      const away = tf.sub(vector(params), tf.tensor1d(testFunctionMinimum({ function: name, dimensions })));
      return { distance: tf.sqrt(tf.sum(tf.square(away))) };
    },
  };
}

export function registerTestFunction({ task }: Registrar): void {
  task('test-function', {
    description: `a test function of optimization, from random starts: ${TEST_FUNCTIONS.join(', ')}`,
    options: z.strictObject({
      function: z.enum(TEST_FUNCTIONS).default('rosenbrock'),
      dimensions: z.int().positive().default(2),
    }),
    create: testFunction,
  });
}
