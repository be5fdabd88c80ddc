/** Conformance of tasks: a row each. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset, textDataset } from '../../datasets';
import { batchOf, parametersOf, stateOf, TASK_PROPERTIES } from '../../src/conformance';
import type { Task } from '../../src/contracts';
import { EagerRandom, normals, seedKey } from '../../src/random';
import {
  augmented,
  autoencoder,
  charRnn,
  cnn,
  layersModelTask,
  mlp,
  quadraticTask,
  TEST_FUNCTIONS,
  testFunction,
  type MlpActivation,
} from '../../tasks';

const ROWS = 60;
const CLASSES = 3;
const features = normals([3, 1], ROWS * 4);
const labels = Array.from({ length: ROWS }, (_, i) => (i * 7) % CLASSES);
const flat = arrayDataset({ xs: features, ys: labels, inputShape: [4], classes: CLASSES });
const image = arrayDataset({ xs: features, ys: labels, inputShape: [2, 2], classes: CLASSES });
const regression = arrayDataset({ xs: features, ys: normals([3, 2], ROWS), inputShape: [4] });

const dense = (units: number, more: object = {}) => tf.layers.dense({ units, ...more });
const sequential = (...layers: tf.layers.Layer[]) => tf.sequential({ layers });

const text = textDataset({ text: 'a cad bade a bad cab, a dab, a bed. '.repeat(4), length: 4 });

const activations: MlpActivation[] = [
  'tanh',
  'gelu',
  'gelu-tanh',
  'sigmoid',
  'relu',
  'silu',
  'softplus',
  'elu',
  'leaky-relu',
];
const rows: readonly { name: string; make: () => Task }[] = [
  { name: 'quadratic', make: () => quadraticTask({ size: 3, condition: 5 }) },
  { name: 'mlp without hidden layers', make: () => mlp({ data: flat, hidden: [] }) },
  {
    name: 'mlp on images, Glorot',
    make: () => mlp({ data: image, hidden: [5, 3], init: 'glorot', activation: 'tanh' }),
  },
  ...activations.map((activation) => ({
    name: `mlp, ${activation}, He`,
    make: () => mlp({ data: flat, hidden: [5], activation, init: 'he' as const }),
  })),
  {
    name: 'augmented mlp',
    make: () =>
      augmented(mlp({ data: flat, hidden: [3], activation: 'tanh' as const, batchSize: 4 }), {
        reparametrise: [0.5, 2],
        smallestBatch: 2,
        gradientNoise: 0.1,
      }),
  },
  {
    name: 'cnn, strides',
    make: () => cnn({ data: image, channels: [3, 2], kernelSize: 2, strides: [1, 2], activation: 'tanh' }),
  },
  {
    name: 'cnn, average pools, all numbers',
    make: () =>
      cnn({ data: image, channels: [2], strides: [1], pooling: 'average', features: 'flatten', activation: 'gelu' }),
  },
  {
    name: 'autoencoder on images',
    make: () => autoencoder({ data: image, hidden: [3, 2, 3], activation: 'tanh', initScale: 0.5 }),
  },
  ...TEST_FUNCTIONS.map((name) => ({
    name: `test function, ${name}`,
    make: () => testFunction({ function: name, dimensions: 2 }),
  })),
  ...(['lstm', 'gru'] as const).map((cell) => ({
    name: `character model, ${cell}`,
    make: () => charRnn({ data: text, cell, embedding: 2, hidden: 3 }),
  })),
  {
    name: 'LayersModel, softmax and cross-entropy',
    make: () =>
      layersModelTask(
        () =>
          sequential(
            dense(5, { activation: 'tanh', inputShape: [4] }),
            dense(CLASSES, { activation: 'softmax', kernelInitializer: 'heUniform' }),
          ),
        { data: flat, loss: 'categoricalCrossentropy' },
      ),
  },
  {
    name: 'LayersModel, sparse cross-entropy, dropout, regulariser',
    make: () =>
      layersModelTask(
        () =>
          sequential(
            tf.layers.flatten({ inputShape: [2, 2] }),
            dense(6, { activation: 'elu', kernelRegularizer: tf.regularizers.l2({ l2: 0.1 }) }),
            tf.layers.dropout({ rate: 0.5 }),
            dense(CLASSES, { activation: 'softmax' }),
          ),
        { data: image, loss: 'sparseCategoricalCrossentropy' },
      ),
  },
  {
    name: 'LayersModel, mean squared error',
    make: () =>
      layersModelTask(() => sequential(dense(4, { activation: 'sigmoid', inputShape: [4] }), dense(1)), {
        data: regression,
        loss: 'meanSquaredError',
      }),
  },
  {
    name: 'LayersModel, functional, loss as a function',
    make: () =>
      layersModelTask(
        () => {
          const input = tf.input({ shape: [4] });
          const left = dense(3, { activation: 'tanh' }).apply(input) as tf.SymbolicTensor;
          const right = dense(3).apply(input) as tf.SymbolicTensor;
          const joined = tf.layers.concatenate().apply([left, right]) as tf.SymbolicTensor;
          const normal = tf.layers.layerNormalization().apply(joined) as tf.SymbolicTensor;
          return tf.model({ inputs: input, outputs: dense(1).apply(normal) as tf.SymbolicTensor });
        },
        { data: regression, loss: (yTrue, yPred) => tf.abs(tf.sub(yPred, tf.reshape(yTrue, yPred.shape))) },
      ),
  },
];

beforeAll(() => tf.setBackend('cpu'));

describe.each(rows)('$name', ({ make }) => {
  test.each(TASK_PROPERTIES)('$name', async (property) => {
    const inapplicable = await property.check(make);
    if (inapplicable !== undefined) {
      expect([property.name, 'metrics' in make()]).toEqual(['metrics are finite scalars', false]);
    }
  });

  test('every weight matrix has its own numbers, others by another key', () => {
    const [a, other] = [0, 1].map((seed) => parametersOf(make(), seed).leaves);
    a.forEach(({ shape, values }, i) => {
      if (shape.length < 2) return;
      expect(other[i].values).not.toEqual(values);
      expect(new Set(values).size).toBe(values.length);
    });
  });

  test('an accuracy is a share of the rows', () => {
    const task = make();
    tf.tidy(() => {
      const params = task.init(new EagerRandom(seedKey(0)));
      const { accuracy } = task.metrics?.(params, batchOf(task), stateOf(task, params)) ?? {};
      const labels = batchOf(task).ys.size;
      const value = (accuracy as tf.Tensor | undefined)?.dataSync()[0] ?? 0;
      expect(value * labels).toBeCloseTo(Math.round(value * labels), 4);
    });
  });

  test('leaks no tensors when it runs eagerly, metrics included', () => {
    const task = make();
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const params = task.init(new EagerRandom(seedKey(0)));
      task.metrics?.(params, batchOf(task), stateOf(task, params));
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});
