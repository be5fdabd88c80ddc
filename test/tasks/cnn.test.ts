/** The convolutional network's loss against float64 loops that go from tap to tap. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { treeFlatten } from '../../src/contracts';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { cnn, type CnnOptions } from '../../tasks';
import { lossAndGradient } from '../support/run-problem';

const CLASSES = 3;
const BATCH = 4;
const [HEIGHT, WIDTH, COLOURS] = [7, 6, 2];
const size = HEIGHT * WIDTH * COLOURS;
const labels = Array.from({ length: 30 }, (_, i) => (i * 7) % CLASSES);
const data = arrayDataset({
  xs: normals([9, 1], 30 * size),
  ys: labels,
  inputShape: [HEIGHT, WIDTH, COLOURS],
  classes: CLASSES,
});

/** [row][column][channel] */
type Image = readonly (readonly (readonly number[])[])[];

interface Layer {
  readonly kernel: readonly number[];
  readonly bias: readonly number[];
}

/** 'same': as many zeros before as behind, or one fewer (as TensorFlow has it). */
function convolved(image: Image, { kernel, bias }: Layer, side: number, stride: number): Image {
  const [height, width, inputs] = [image.length, image[0].length, image[0][0].length];
  const out = [height, width].map((extent) => Math.ceil(extent / stride));
  const before = [height, width].map((extent, axis) =>
    Math.floor(Math.max(0, (out[axis] - 1) * stride + side - extent) / 2),
  );
  return Array.from({ length: out[0] }, (_, y) =>
    Array.from({ length: out[1] }, (_unused, x) =>
      bias.map((b, o) => {
        let sum = b;
        for (let p = 0; p < side; p++) {
          for (let q = 0; q < side; q++) {
            const row = image[y * stride + p - before[0]] as Image[number] | undefined;
            const pixel = row?.[x * stride + q - before[1]];
            if (pixel === undefined) continue;
            pixel.forEach((value, c) => (sum += value * kernel[((p * side + q) * inputs + c) * bias.length + o]));
          }
        }
        return Math.tanh(sum);
      }),
    ),
  );
}

const POOLS = {
  max: (values: readonly number[]) => Math.max(...values),
  average: (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length,
};

function pooled(image: Image, join: (values: readonly number[]) => number): Image {
  const half = (extent: number): number => Math.floor(extent / 2);
  return Array.from({ length: half(image.length) }, (_, y) =>
    Array.from({ length: half(image[0].length) }, (_unused, x) =>
      image[0][0].map((_value, c) =>
        join([0, 1].flatMap((dy) => [0, 1].map((dx) => image[2 * y + dy][2 * x + dx][c]))),
      ),
    ),
  );
}

const channelOf = (image: Image, c: number): number[] => image.flat().map((pixel) => pixel[c]);
const FEATURES: Readonly<Record<string, (image: Image) => number[]>> = {
  mean: (image) => image[0][0].map((_, c) => POOLS.average(channelOf(image, c))),
  max: (image) => image[0][0].map((_, c) => POOLS.max(channelOf(image, c))),
  flatten: (image) => image.flat(2),
};

beforeAll(() => tf.setBackend('cpu'));

test.each<[string, Omit<CnnOptions, 'data'>]>([
  ['default strides, mean', { channels: [3, 2] }],
  ['strides, maximum', { channels: [3, 2], strides: [1, 2], features: 'max' }],
  ['5 × 5 taps, all numbers', { channels: [2], strides: [3], kernelSize: 5, features: 'flatten' }],
  ['max pools, all numbers', { channels: [3, 2], strides: [1, 1], pooling: 'max', features: 'flatten' }],
  ['average pools', { channels: [3, 2], strides: [1, 1], pooling: 'average' }],
])('%s', (_, options) => {
  const { channels = [], strides = [2, 1], kernelSize: side = 3, pooling = 'none', features = 'mean' } = options;
  const task = cnn({ data, activation: 'tanh', ...options });
  const shapes = (task.init(new EagerRandom(seedKey(0))) as { bias: tf.Tensor; kernel: tf.Tensor }[]).map((layer) => ({
    bias: layer.bias.shape,
    kernel: layer.kernel.shape,
  }));
  const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
  const layers = shapes.map(({ kernel, bias }, l) => ({
    kernel: Array.from(normals([9, 3 + l], count(kernel)), (x) => 0.5 * x),
    bias: [...normals([9, 9 + l], count(bias))],
  }));
  const xs = [...normals([9, 2], BATCH * size)];
  const ys = [2, 0, 1, 2];

  let expected = 0;
  ys.forEach((label, row) => {
    let image: Image = Array.from({ length: HEIGHT }, (_y, y) =>
      Array.from({ length: WIDTH }, (_x, x) => {
        const at = row * size + (y * WIDTH + x) * COLOURS;
        return xs.slice(at, at + COLOURS);
      }),
    );
    channels.forEach((_c, l) => {
      image = convolved(image, layers[l], side, strides[l]);
      if (pooling !== 'none') image = pooled(image, POOLS[pooling]);
    });
    const seen = FEATURES[features](image);
    const { kernel, bias } = layers[layers.length - 1];
    const logits = bias.map((b, o) => b + seen.reduce((sum, x, i) => sum + x * kernel[i * CLASSES + o], 0));
    expected += Math.log(logits.reduce((sum, z) => sum + Math.exp(z), 0)) - logits[label];
  });

  const { loss } = lossAndGradient(
    Object.fromEntries(
      layers.flatMap(({ kernel, bias }, l) => [
        [`bias${l}`, { shape: shapes[l].bias, values: bias }],
        [`kernel${l}`, { shape: shapes[l].kernel, values: kernel }],
      ]),
    ),
    (params) =>
      task.loss(
        params,
        { xs: tf.tensor(xs, [BATCH, HEIGHT, WIDTH, COLOURS]), ys: tf.tensor(ys, [BATCH], 'int32') },
        new EagerRandom(seedKey(0)),
      ),
    (given) => layers.map((_layer, l) => ({ bias: given[`bias${l}`], kernel: given[`kernel${l}`] })),
  );
  expect(Math.abs(loss - expected / BATCH)).toBeLessThan(1e-12);
});

test('kernels have the variance of their initialisation: 2/fanIn by default, 2/(fanIn + fanOut) with taps counted', () => {
  for (const [init, variance] of [
    ['he', 2 / (9 * 32)],
    ['glorot', 2 / (9 * 64)],
  ] as const) {
    const task = cnn({ data, init });
    const [, second] = treeFlatten<tf.Tensor>(task.init(new EagerRandom(seedKey(1)))).filter(({ rank }) => rank === 4);
    expect(second.shape).toEqual([3, 3, 32, 32]);
    const values = Array.from(second.dataSync());
    const mean = values.reduce((sum, x) => sum + x * x, 0) / values.length;
    // 9216 draws: a standard error of √(2/9216); four of them.
    expect(Math.abs(mean / variance - 1)).toBeLessThan(4 * Math.sqrt(2 / 9216));
  }
});

test('grey images need no axis of colours', () => {
  const grey = arrayDataset({ xs: normals([9, 1], 30 * 16), ys: labels, inputShape: [4, 4], classes: CLASSES });
  const task = cnn({ data: grey, channels: [2] });
  const params = task.init(new EagerRandom(seedKey(0)));
  expect(treeFlatten<tf.Tensor>(params)[1].shape).toEqual([3, 3, 1, 2]);
  const batch = { xs: tf.tensor(normals([1, 1], 32), [2, 4, 4]), ys: tf.tensor([0, 1], [2], 'int32') };
  expect(Number.isFinite(task.loss(params, batch, new EagerRandom(seedKey(0))).dataSync()[0])).toBe(true);
});

const flat = arrayDataset({ xs: normals([9, 1], 120), ys: labels, inputShape: [4], classes: CLASSES });
const unlabelled = arrayDataset({ xs: normals([9, 1], 30 * size), ys: normals([9, 5], 30), inputShape: [7, 6, 2] });
test.each<[string, Partial<CnnOptions>]>([
  ['task.channels.1: expected a positive integer, got 0', { channels: [2, 0] }],
  ['task.channels: expected at least one convolution, got none', { channels: [] }],
  ['task.strides: expected 2 numbers, one a convolution, got 1', { channels: [2, 2], strides: [1] }],
  ['task.pooling: expected at least 2 places a side', { channels: [2, 2, 2], pooling: 'max' }],
  ['data: expected images [height, width] or [height, width, colours] for the task "cnn", got', { data: flat }],
  ['data: expected a data set with class labels', { data: unlabelled }],
])('%s', (message, options) => {
  expect(() => cnn({ data, ...options })).toThrow(message);
});
