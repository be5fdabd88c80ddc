/**
 * Models of tf.layers trained by plain gradient descent within the engines, against the same models trained by
 * `model.trainOnBatch` outside: same start, same batches, the same losses and averages to float tolerance.
 */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { sgd } from '../../learned-optimizers';
import { SPLITS, type Dataset } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import { traceProblem } from '../../src/graph/trace';
import { unroll } from '../../src/outer/combinators/unroll';
import { drawWord, episodeKey, foldIn, integers, normals } from '../../src/random';
import { layersModelTask } from '../../tasks';
import { ENGINES } from '../support/engine-table';

const ROWS = 30;
const BATCH = 5;
const STEPS = 4;
const RATE = 0.2;
const SEED = 77;
const WORKER = 2;
const CLASSES = 3;

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const pictures = (...inputShape: number[]): Dataset =>
  arrayDataset({
    xs: normals([5, inputShape.length], ROWS * sizeOf(inputShape)),
    ys: Array.from({ length: ROWS }, (_, i) => (i * 7 + (i >> 2)) % CLASSES),
    inputShape,
    classes: CLASSES,
  });
/** Words as numbers below 11. */
const texts = arrayDataset({
  xs: Float32Array.from({ length: ROWS * 6 }, (_, i) => (i * i * 13 + 5 * i + 3) % 11),
  ys: Array.from({ length: ROWS }, (_, i) => (i * 5 + (i >> 3)) % CLASSES),
  inputShape: [6],
  classes: CLASSES,
});

const { layers } = tf;
const classify = (): tf.layers.Layer => layers.dense({ units: CLASSES, activation: 'softmax' });
const stack = (...parts: tf.layers.Layer[]): tf.Sequential => tf.sequential({ layers: [...parts, classify()] });

interface Row {
  readonly name: string;
  readonly data: Dataset;
  readonly model: () => tf.LayersModel;
}

const MODELS: readonly Row[] = [
  {
    name: 'a convolutional net with batch normalisation',
    data: pictures(8, 7, 2),
    model: () =>
      stack(
        layers.conv2d({ filters: 4, kernelSize: 3, padding: 'same', useBias: false, inputShape: [8, 7, 2] }),
        layers.batchNormalization({ momentum: 0.8 }),
        layers.activation({ activation: 'relu' }),
        layers.maxPooling2d({ poolSize: 2 }),
        layers.depthwiseConv2d({ kernelSize: [2, 3], depthMultiplier: 2, padding: 'same', activation: 'elu' }),
        layers.separableConv2d({ filters: 5, kernelSize: 2, strides: [2, 1] }),
        layers.batchNormalization({ axis: -1, epsilon: 0.01 }),
        layers.globalAveragePooling2d({}),
      ),
  },
  {
    name: 'pictures made larger and smaller',
    data: pictures(5, 6, 2),
    model: () =>
      stack(
        // First, since tfjs-cpu's gradient of it mixes up the pictures of a batch.
        layers.upSampling2d({ size: [1, 2], inputShape: [5, 6, 2] }),
        layers.zeroPadding2d({
          padding: [
            [1, 0],
            [0, 2],
          ],
        }),
        layers.conv2d({ filters: 3, kernelSize: 2, activation: 'tanh' }),
        layers.averagePooling2d({ poolSize: [3, 2], strides: [2, 3] }),
        layers.conv2dTranspose({ filters: 3, kernelSize: 3, strides: 2, padding: 'same', activation: 'tanh' }),
        layers.cropping2D({
          cropping: [
            [1, 0],
            [0, 1],
          ],
        }),
        layers.globalMaxPooling2d({}),
      ),
  },
  {
    name: 'convolutions along one axis',
    data: pictures(12, 3),
    model: () =>
      stack(
        layers.conv1d({ filters: 4, kernelSize: 3, padding: 'same', activation: 'relu', inputShape: [12, 3] }),
        layers.averagePooling1d({ poolSize: 2 }),
        layers.batchNormalization({}),
        layers.conv1d({ filters: 5, kernelSize: 2, strides: 2 }),
        layers.maxPooling1d({ poolSize: 2, strides: 1 }),
        layers.globalAveragePooling1d({}),
      ),
  },
  {
    name: 'an LSTM over embedded words',
    data: texts,
    model: () =>
      stack(
        layers.embedding({ inputDim: 11, outputDim: 4, inputLength: 6 }),
        layers.lstm({ units: 5, unitForgetBias: true, kernelRegularizer: 'l1l2' }),
      ),
  },
  {
    name: 'attention of tf.layers',
    data: pictures(5, 4),
    model: () => {
      const input = tf.input({ shape: [5, 4] });
      const projected = (): tf.SymbolicTensor =>
        layers.dense({ units: 3, useBias: false }).apply(input) as tf.SymbolicTensor;
      const scores = layers.dot({ axes: [2, 2] }).apply([projected(), projected()]);
      const shares = layers.softmax({ axis: -1 }).apply(scores) as tf.SymbolicTensor;
      const mixed = layers.dot({ axes: [2, 1] }).apply([shares, projected()]);
      const pooled = layers.globalAveragePooling1d({}).apply(mixed);
      return tf.model({ inputs: input, outputs: classify().apply(pooled) as tf.SymbolicTensor });
    },
  },
  {
    name: 'a GRU whose states a plain cell reads backwards',
    data: texts,
    model: () =>
      stack(
        layers.embedding({ inputDim: 11, outputDim: 4, inputLength: 6 }),
        layers.gru({ units: 4, returnSequences: true, recurrentActivation: 'sigmoid' }),
        layers.simpleRNN({ units: 5, goBackwards: true }),
      ),
  },
];

/** Rows that `inner.batch('train')` draws in step t (conventions.md, "What a problem sees"). */
function drawn(rows: number, t: number): Int32Array {
  let key = foldIn(episodeKey(SEED, 'batch', WORKER, 0), t);
  for (const word of [SPLITS.indexOf('train'), drawWord(0)]) key = foldIn(key, word);
  return integers(key, BATCH, 0, rows);
}

interface Trained {
  readonly losses: readonly number[];
  /** moving_mean and moving_variance of every batch normalisation, in order. */
  readonly averages: readonly number[][];
}

/** TensorFlow.js' own training, which changes the model. */
async function outside(data: Dataset, model: tf.LayersModel): Promise<Trained> {
  model.compile({ optimizer: tf.train.sgd(RATE), loss: 'categoricalCrossentropy' });
  const { xs, ys, rows } = data.splits.train;
  const inputs = tf.tensor(Float32Array.from(xs.table.values), [rows, ...data.inputShape]);
  const labels = tf.oneHot(tf.tensor1d(Int32Array.from(ys.table.values), 'int32'), CLASSES);
  const losses: number[] = [];
  for (let t = 0; t < STEPS; t++) {
    const index = tf.tensor1d(drawn(rows, t), 'int32');
    losses.push((await model.trainOnBatch(tf.gather(inputs, index), tf.gather(labels, index))) as number);
  }
  const averages = model.layers.flatMap((layer) =>
    layer.getClassName() === 'BatchNormalization' ? layer.getWeights().slice(2) : [],
  );
  return { losses, averages: averages.map((tensor) => Array.from(tensor.dataSync())) };
}

const ONE = Int32Array.of(0);

async function inside(engine: GraphEngine, data: Dataset, model: tf.LayersModel): Promise<Trained> {
  const task = layersModelTask(() => model, { data, loss: 'categoricalCrossentropy', batchSize: BATCH, init: 'keep' });
  const problem = unroll({
    task,
    optimizer: sgd({ learningRate: RATE }),
    objective: { metric: 'loss', split: 'validation', over: 'mean' },
    horizon: STEPS,
  });
  const program = await engine.compileTraced(traceProblem(problem));
  const population = await program.createPopulation({ size: 1, seed: SEED });
  const perturbation = { form: 'none', theta: new Float64Array(0) } as const;
  await population.reset({ particles: ONE, perturbation, workers: Int32Array.of(WORKER), episodes: ONE });
  const losses: number[] = [];
  for (let t = 0; t < STEPS; t++) {
    const { metricSums } = await population.advance({ particles: ONE, perturbation, steps: 1 });
    losses.push(metricSums['batch loss'][0]);
  }
  const saved = await population.save();
  await program.dispose();
  // layer1 before layer10, mean before variance.
  const names = Object.keys(saved)
    .filter((name) => name.startsWith('state.task.'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return { losses, averages: names.map((name) => Array.from(saved[name].data)) };
}

/** Relative to what is expected, or to 1. */
function expectClose(got: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(got.length).toBe(expected.length);
  got.forEach((value, i) => {
    expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(expected[i])));
  });
}

beforeAll(() => tf.setBackend('cpu'));

/** Nobody's cost rule takes networks like these lane by lane: their code would be written out number by number. */
const USUAL = ENGINES.filter(({ name }) => name !== 'native, lane-major');

describe.each(MODELS)('$name', ({ data, model: make }) => {
  let expected: Trained;
  let start: tf.Tensor[];
  let model: tf.LayersModel;
  beforeAll(async () => {
    model = make();
    start = model.getWeights().map((weight) => weight.clone());
    const trained = make();
    trained.setWeights(start);
    expected = await outside(data, trained);
    expect(new Set(expected.losses).size).toBe(STEPS);
  });

  test.each(USUAL)(
    'on $name',
    async ({ open }) => {
      const engine = await open();
      const tensors = tf.memory().numTensors;
      const got = await inside(engine, data, model);
      await engine.dispose();
      // Four steps of float32 sums in another order; tfjs-cpu itself rounds each.
      expectClose(got.losses, expected.losses, 2e-5);
      expect(got.averages.length).toBe(expected.averages.length);
      got.averages.forEach((values, i) => expectClose(values, expected.averages[i], 2e-5));
      model.getWeights().forEach((weight, i) => expect(weight.dataSync()).toEqual(start[i].dataSync()));
      expect(tf.memory().numTensors).toBe(tensors);
    },
    300_000,
  );
});
