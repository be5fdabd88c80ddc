/** The MLP's loss, gradient and accuracy against a float64 implementation that shares nothing with it. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { ConfigurationError } from '../../src/contracts';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { logisticRegression, mlp, type MlpActivation } from '../../tasks';
import { lossAndGradient } from '../support/run-problem';
import { normalQuantile } from '../support/statistics';

const WIDTHS = [3, 5, 2, 4];
const BATCH = 8;
const data = arrayDataset({ xs: normals([4, 4], 30), ys: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1], inputShape: [3], classes: 4 });
const xs = Array.from(normals([4, 1], BATCH * WIDTHS[0]));
const ys = Array.from({ length: BATCH }, (_, i) => (i * 3) % 4);

/** Φ(x) by Simpson's rule. */
function normalCdf(x: number): number {
  const n = 2000;
  const density = (u: number): number => Math.exp(-u * u * 0.5) / Math.sqrt(2 * Math.PI);
  let sum = density(0) + density(x);
  for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * density((x * i) / n);
  return 0.5 + (sum * x) / n / 3;
}

const density = (x: number): number => Math.exp(-x * x * 0.5) / Math.sqrt(2 * Math.PI);
const logistic = (x: number): number => 1 / (1 + Math.exp(-x));
/** Value and derivative. */
const ACTIVATIONS: Record<MlpActivation, (x: number) => [number, number]> = {
  relu: (x) => [Math.max(x, 0), x > 0 ? 1 : 0],
  tanh: (x) => [Math.tanh(x), 1 - Math.tanh(x) ** 2],
  sigmoid: (x) => [logistic(x), logistic(x) * (1 - logistic(x))],
  gelu: (x) => [x * normalCdf(x), normalCdf(x) + x * density(x)],
  // Hendrycks, Gimpel 2016: ½x(1 + tanh u), u = √(2/π)·(x + 0.044715x³).
  'gelu-tanh': (x) => {
    const tanh = Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));
    const slope = Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
    return [0.5 * x * (1 + tanh), 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * slope];
  },
  silu: (x) => [x * logistic(x), logistic(x) + x * logistic(x) * (1 - logistic(x))],
  swish: (x) => [x * logistic(x), logistic(x) * (1 + x * (1 - logistic(x)))],
  softplus: (x) => [Math.log(1 + Math.exp(x)), logistic(x)],
  elu: (x) => (x > 0 ? [x, 1] : [Math.exp(x) - 1, Math.exp(x)]),
  'leaky-relu': (x) => (x > 0 ? [x, 1] : [0.01 * x, 0.01]),
};

interface Layer {
  kernel: number[];
  bias: number[];
}

/** Backpropagation by hand, row by row: mean cross-entropy, its gradient, and the share of rows that are right. */
function reference(layers: Layer[], activation: MlpActivation) {
  const gradient = layers.map(({ kernel, bias }) => ({ kernel: kernel.map(() => 0), bias: bias.map(() => 0) }));
  let loss = 0;
  let right = 0;
  for (let row = 0; row < BATCH; row++) {
    const inputs: number[][] = [xs.slice(3 * row, 3 * row + 3)];
    const slopes: number[][] = [];
    layers.forEach(({ kernel, bias }, l) => {
      const z = bias.map((b, j) => b + inputs[l].reduce((sum, x, i) => sum + x * kernel[i * bias.length + j], 0));
      const pairs = z.map((value): [number, number] =>
        l + 1 < layers.length ? ACTIVATIONS[activation](value) : [value, 1],
      );
      inputs.push(pairs.map(([value]) => value));
      slopes.push(pairs.map(([, slope]) => slope));
    });
    const logits = inputs[layers.length];
    const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
    loss += (Math.log(total) - logits[ys[row]]) / BATCH;
    if (logits.indexOf(Math.max(...logits)) === ys[row]) right++;
    let error = logits.map((z, j) => (Math.exp(z) / total - (j === ys[row] ? 1 : 0)) / BATCH);
    for (let l = layers.length - 1; l >= 0; l--) {
      const delta = error.map((e, j) => e * slopes[l][j]);
      delta.forEach((d, j) => {
        gradient[l].bias[j] += d;
        inputs[l].forEach((x, i) => (gradient[l].kernel[i * delta.length + j] += x * d));
      });
      error = inputs[l].map((_, i) => delta.reduce((sum, d, j) => sum + d * layers[l].kernel[i * delta.length + j], 0));
    }
  }
  return { loss, gradient, accuracy: right / BATCH };
}

const layers: Layer[] = WIDTHS.slice(1).map((out, l) => ({
  kernel: Array.from(normals([5, l], WIDTHS[l] * out)),
  bias: Array.from(normals([6, l], out)),
}));
const batch = () => ({ xs: tf.tensor2d(xs, [BATCH, 3]), ys: tf.tensor1d(ys, 'int32') });

beforeAll(() => tf.setBackend('cpu'));

test.each(Object.keys(ACTIVATIONS) as MlpActivation[])('%s', (activation) => {
  const task = mlp({ data, hidden: WIDTHS.slice(1, -1), activation });
  const expected = reference(layers, activation);
  const leaves = Object.fromEntries(
    layers.flatMap(({ kernel, bias }, l) => [
      [`bias${l}`, { shape: [WIDTHS[l + 1]], values: bias }],
      [`kernel${l}`, { shape: [WIDTHS[l], WIDTHS[l + 1]], values: kernel }],
    ]),
  );
  const { loss, gradient } = lossAndGradient(
    leaves,
    (params) => task.loss(params, batch(), new EagerRandom(seedKey(0))),
    (given) => layers.map((_, l) => ({ bias: given[`bias${l}`], kernel: given[`kernel${l}`] })),
  );
  // Float64 both; GELU's 1/√2 and 2/√π and the slope 0.01 are float32 constants in the graph (2⁻²⁵ relative each).
  const tolerance = activation.startsWith('gelu') || activation === 'leaky-relu' ? 2 ** -22 : 1e-12;
  expect(Math.abs(loss - expected.loss)).toBeLessThan(tolerance);
  layers.forEach((_, l) => {
    expected.gradient[l].kernel.forEach((g, i) =>
      expect(Math.abs(gradient[`kernel${l}`][i] - g)).toBeLessThan(tolerance),
    );
    expected.gradient[l].bias.forEach((g, i) => expect(Math.abs(gradient[`bias${l}`][i] - g)).toBeLessThan(tolerance));
  });
  tf.tidy(() => {
    const params = layers.map(({ kernel, bias }, l) => ({
      kernel: tf.tensor2d(kernel, [WIDTHS[l], WIDTHS[l + 1]]),
      bias: tf.tensor1d(bias),
    }));
    expect(task.metrics!(params, batch()).accuracy.dataSync()[0]).toBeCloseTo(expected.accuracy, 6);
  });
});

test('cross-entropy stays finite for logits beyond what exp can hold', () => {
  const task = mlp({ data, hidden: [] });
  const { loss, gradient } = lossAndGradient(
    {
      bias: { shape: [4], values: [2000, 0, -1000, 500] },
      kernel: { shape: [3, 4], values: Array.from({ length: 12 }, () => 0) },
    },
    (params) => task.loss([params], batch(), new EagerRandom(seedKey(0))),
  );
  const mean = ys.reduce((sum, y) => sum + 2000 - [2000, 0, -1000, 500][y], 0) / BATCH;
  expect(loss).toBeCloseTo(mean, 9);
  expect([...gradient.bias].every(Number.isFinite)).toBe(true);
});

test.each([
  ['lecun', 1 / 60],
  ['he', 2 / 60],
  ['glorot', 2 / 110],
] as const)('%s: kernels are normal with the variance of that name, biases zero', (init, variance) => {
  const wide = arrayDataset({
    xs: new Float32Array(600),
    ys: [...Array(10).keys()].map(() => 0),
    inputShape: [60],
    classes: 2,
  });
  const params = mlp({ data: wide, hidden: [50], init }).init(new EagerRandom(seedKey(3)));
  const [{ kernel, bias }] = params as { kernel: tf.Tensor; bias: tf.Tensor }[];
  const values = Array.from(kernel.dataSync());
  expect(values).toHaveLength(3000);
  const [scaled] = mlp({ data: wide, hidden: [50], init, initScale: 0.25 }).init(
    new EagerRandom(seedKey(3)),
  ) as never[];
  const quarter = Array.from((scaled as { kernel: tf.Tensor }).kernel.dataSync());
  quarter.forEach((value, i) => expect(Math.abs(value - values[i] / 4)).toBeLessThan(1e-7));
  const z = normalQuantile(1e-4);
  const mean = values.reduce((a, b) => a + b, 0) / 3000;
  const sample = values.reduce((sum, x) => sum + x * x, 0) / 3000;
  expect(Math.abs(mean)).toBeLessThan(z * Math.sqrt(variance / 3000));
  expect(Math.abs(sample - variance)).toBeLessThan(z * variance * Math.sqrt(2 / 3000));
  expect(Math.max(...bias.dataSync().map(Math.abs))).toBe(0);
});

test.each([
  ['task.hidden.1: expected a positive integer, got 0', { hidden: [3, 0] }],
  ['task.hidden.0: expected a positive integer, got 2.5', { hidden: [2.5] }],
  ['task.batchSize: expected a positive integer, got -1', { batchSize: -1 }],
  ['task.initScale: expected a positive number, got 0', { initScale: 0 }],
])('%s', (message, options) => {
  expect(() => mlp({ data, ...options })).toThrow(ConfigurationError);
  expect(() => mlp({ data, ...options })).toThrow(message);
});

test('a data set without class labels is refused', () => {
  const plain = arrayDataset({ xs: new Float32Array(10), ys: new Float32Array(10), inputShape: [] });
  expect(() => mlp({ data: plain })).toThrow('data: expected a data set with class labels for the task "mlp"');
});

test('logistic regression has one layer', () => {
  const task = logisticRegression({ data });
  expect(task.name).toBe('logistic-regression');
  expect(task.init(new EagerRandom(seedKey(0)))).toHaveLength(1);
});
