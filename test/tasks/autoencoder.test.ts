/** The autoencoder's loss against a float64 loop. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { autoencoder } from '../../tasks';
import { lossAndGradient } from '../support/run-problem';

const BATCH = 4;
const WIDTHS = [6, 5, 2, 6];
const data = arrayDataset({ xs: normals([9, 1], 60), ys: new Float32Array(10), inputShape: [2, 3] });
const xs = Array.from(normals([9, 2], BATCH * 6));
const layers = WIDTHS.slice(1).map((out, l) => ({
  kernel: Array.from(normals([9, 3 + l], WIDTHS[l] * out)),
  bias: Array.from(normals([9, 9 + l], out)),
}));

/** Mean over rows and pixels of (output − input)². */
function reference(last: (z: number) => number): number {
  let sum = 0;
  for (let row = 0; row < BATCH; row++) {
    const input = xs.slice(6 * row, 6 * row + 6);
    let x = input;
    layers.forEach(({ kernel, bias }, l) => {
      const z = bias.map((b, j) => b + x.reduce((total, value, i) => total + value * kernel[i * bias.length + j], 0));
      x = l + 1 < layers.length ? z.map(Math.tanh) : z.map(last);
    });
    x.forEach((value, i) => (sum += (value - input[i]) ** 2));
  }
  return sum / (BATCH * 6);
}

beforeAll(() => tf.setBackend('cpu'));

test.each([
  ['linear', (z: number) => z],
  ['sigmoid', (z: number) => 1 / (1 + Math.exp(-z))],
] as const)('output %s: mean squared error per pixel', (output, last) => {
  const task = autoencoder({ data, hidden: [5, 2], activation: 'tanh', output });
  const leaves = Object.fromEntries(
    layers.flatMap(({ kernel, bias }, l) => [
      [`bias${l}`, { shape: [WIDTHS[l + 1]], values: bias }],
      [`kernel${l}`, { shape: [WIDTHS[l], WIDTHS[l + 1]], values: kernel }],
    ]),
  );
  const { loss } = lossAndGradient(
    leaves,
    (params) =>
      task.loss(params, { xs: tf.tensor(xs, [BATCH, 2, 3]), ys: tf.zeros([BATCH]) }, new EagerRandom(seedKey(0))),
    (given) => layers.map((_, l) => ({ bias: given[`bias${l}`], kernel: given[`kernel${l}`] })),
  );
  expect(Math.abs(loss - reference(last))).toBeLessThan(1e-12);
});

test.each([
  ['task.hidden.0: expected a positive integer, got 0', { hidden: [0] }],
  ['task.initScale: expected a positive number, got -1', { initScale: -1 }],
])('%s', (message, options) => {
  expect(() => autoencoder({ data, ...options })).toThrow(message);
});
