/** Conformance of tasks: a row each. */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset, textDataset } from '../../datasets';
import {
  treeLeaves,
  treeUnflatten,
  type Batch,
  type DataColumn,
  type Task,
  type TensorTree,
} from '../../src/contracts';
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
import { lossAndGradient, runnerOf } from '../support/run-problem';

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

/** A fixed batch, made anew in every trace. Four rows: the mean's 1/4 is exact in float32, as constants are. */
function batchOf(task: Task): Batch {
  if (task.dataset === undefined) return { xs: tf.tensor([], [0]), ys: tf.tensor([], [0]) };
  const rowsOf = ({ table, decode }: DataColumn): tf.Tensor => {
    const shape = [4, ...table.rowShape];
    const count = shape.reduce((a, b) => a * b, 1);
    const isInteger = decode === undefined && table.dtype !== 'float32';
    return tf.tensor(Array.from(table.values.subarray(0, count)), shape, isInteger ? 'int32' : 'float32');
  };
  const { xs, ys } = task.dataset.splits.train;
  return { xs: rowsOf(xs), ys: rowsOf(ys) };
}

interface Leaf {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Fresh parameters: their structure, and their numbers in its order. */
function parametersOf(task: Task, seed = 0): { tree: TensorTree; leaves: Leaf[] } {
  const tree = task.init(new EagerRandom(seedKey(seed)));
  const leaves = treeLeaves<tf.Tensor>(tree).map(({ value }) => ({
    shape: [...value.shape],
    values: Array.from(value.dataSync()),
  }));
  return { tree, leaves };
}

/** Of a task that has one: as it is beside the params of the same seed. */
function stateOf(task: Task, params: TensorTree, seed = 0): TensorTree | undefined {
  return task.initState?.(params, new EagerRandom(seedKey(seed + 1)), new EagerRandom(seedKey(seed)));
}

beforeAll(() => tf.setBackend('cpu'));

describe.each(rows)('$name', ({ make }) => {
  // p00, p01 …: names whose order is that of the tree.
  const name = (i: number): string => `p${String(i).padStart(2, '0')}`;
  const named = <T>(values: readonly T[]): Record<string, T> =>
    Object.fromEntries(values.map((value, i) => [name(i), value]));

  test('loss is finite, and its gradient is that of central differences in float64', () => {
    const task = make();
    const { tree, leaves } = parametersOf(task);
    const unflatten = (given: Readonly<Record<string, tf.Tensor>>): TensorTree =>
      treeUnflatten(
        tree,
        leaves.map((_, i) => given[name(i)]),
      );
    const state = stateOf(task, tree);
    // One key for every evaluation: dropout keeps its masks.
    const random = new EagerRandom(seedKey(5));
    const { loss, gradient } = lossAndGradient(
      named(leaves),
      (params) => task.loss(params, batchOf(task), random.foldIn(0), state),
      unflatten,
    );
    expect(Number.isFinite(loss)).toBe(true);
    const run = runnerOf({
      name: 'loss',
      horizon: 1,
      initTheta: () => named(leaves.map(({ shape, values }) => tf.tensor([...values], [...shape]))),
      initState: () => ({}),
      step: (theta, empty) => ({
        state: empty,
        loss: task.loss(unflatten(theta as Record<string, tf.Tensor>), batchOf(task), random.foldIn(0), state),
      }),
    });
    const at = leaves.map(({ values }) => values);
    const STEP = 1e-5;
    const scale = Math.max(...Object.values(gradient).flatMap((leaf) => Array.from(leaf, Math.abs)));
    leaves.forEach(({ values }, leaf) => {
      values.forEach((value, k) => {
        const moved = (by: number): number =>
          run({
            steps: 1,
            theta: at.map((x, i) => (i === leaf ? x.map((y, j) => (j === k ? value + by : y)) : x)),
          }).losses[0];
        const difference = (moved(STEP) - moved(-STEP)) / (2 * STEP);
        // Truncation h²f'''/6 and rounding 2⁻⁵³/h stay below 1e-9; constants of derivative rules (2/√π of erf) are
        // float32, 2⁻²⁴ off.
        expect(Math.abs(gradient[name(leaf)][k] - difference)).toBeLessThan(1e-9 + 2 ** -23 * scale);
      });
    });
  });

  test('init is decided by the key, and every weight matrix by its own numbers', () => {
    const [a, again, other] = [0, 0, 1].map((seed) => parametersOf(make(), seed).leaves);
    expect(a).toEqual(again);
    a.forEach(({ shape, values }, i) => {
      if (shape.length < 2) return;
      expect(other[i].values).not.toEqual(values);
      expect(new Set(values).size).toBe(values.length);
    });
  });

  test('metrics are finite scalars; an accuracy is a share of the rows', () => {
    const task = make();
    tf.tidy(() => {
      const params = task.init(new EagerRandom(seedKey(0)));
      const metrics = task.metrics?.(params, batchOf(task), stateOf(task, params)) ?? {};
      for (const [metric, tensor] of Object.entries(metrics)) {
        expect([metric, tensor.shape]).toEqual([metric, []]);
        const value = tensor.dataSync()[0];
        expect(Number.isFinite(value)).toBe(true);
        const labels = batchOf(task).ys.size;
        if (metric === 'accuracy') expect(value * labels).toBeCloseTo(Math.round(value * labels), 4);
      }
    });
  });

  test('leaks no tensors when it runs eagerly', () => {
    const task = make();
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const params = task.init(new EagerRandom(seedKey(0)));
      const batch = batchOf(task);
      const state = stateOf(task, params);
      task.loss(params, batch, new EagerRandom(seedKey(1)), state);
      task.metrics?.(params, batch, state);
    });
    expect(tf.memory().numTensors).toBe(before);
  });
});
