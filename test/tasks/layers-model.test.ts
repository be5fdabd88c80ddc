import * as tf from '@tensorflow/tfjs';
import { arrayDataset } from '../../datasets';
import { sgd } from '../../learned-optimizers';
import { ConfigurationError, treeLeaves, type Task, type TensorTree } from '../../src/contracts';
import { unroll } from '../../src/outer/combinators/unroll';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { layersModelTask, type LayersModelTaskOptions } from '../../tasks';
import { orthogonal, truncatedNormal } from '../../tasks/layers/initializers';
import { runProblem } from '../support/run-problem';
import { normalQuantile } from '../support/statistics';

const ROWS = 40;
const data = arrayDataset({
  xs: normals([9, 1], ROWS * 4),
  ys: Array.from({ length: ROWS }, (_, i) => (i * 5) % 3),
  inputShape: [4],
  classes: 3,
});

function network(): tf.Sequential {
  return tf.sequential({
    layers: [
      tf.layers.dense({ units: 6, activation: 'relu', inputShape: [4], kernelInitializer: 'heNormal' }),
      tf.layers.dropout({ rate: 0.4 }),
      tf.layers.dense({ units: 3, activation: 'softmax' }),
    ],
  });
}

const taskOf = (model: tf.LayersModel, options: Partial<LayersModelTaskOptions> = {}): Task =>
  layersModelTask(() => model, { loss: 'categoricalCrossentropy', ...options, data });

const weightsOf = (model: tf.LayersModel): number[][] =>
  model.getWeights().map((weight) => Array.from(weight.dataSync()));
const leavesOf = (tree: TensorTree): number[][] =>
  treeLeaves<tf.Tensor>(tree).map(({ value }) => Array.from(value.dataSync()));
const batch = (count: number): { xs: tf.Tensor; ys: tf.Tensor } => {
  const { xs, ys } = data.splits.train;
  return {
    xs: tf.tensor(Array.from(xs.table.values.subarray(0, 4 * count)), [count, 4]),
    ys: tf.tensor(Array.from(ys.table.values.subarray(0, count)), [count], 'int32'),
  };
};
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const number = (tensor: tf.Tensor): number => tensor.dataSync()[0];

beforeAll(() => tf.setBackend('cpu'));

describe('the model is left as it was', () => {
  test('weights bit for bit, read through its own methods, after being traced and trained', () => {
    const model = network();
    const before = weightsOf(model);
    const input = batch(5).xs;
    const predicted = Array.from((model.predict(input) as tf.Tensor).dataSync());
    const optimizer = sgd({ learningRate: 0.5 });
    const problem = unroll({
      task: taskOf(model),
      optimizer,
      objective: { metric: 'accuracy', split: 'validation', over: 'mean' },
      horizon: 5,
    });
    const { states } = runProblem(problem, { steps: 5 });
    expect(states[5]['params.layer0.kernel']).not.toEqual(states[0]['params.layer0.kernel']);
    expect(weightsOf(model)).toEqual(before);
    expect(Array.from((model.predict(input) as tf.Tensor).dataSync())).toEqual(predicted);
    expect((model.optimizer as unknown) ?? null).toBeNull();
    for (const layer of model.layers) {
      expect(Object.keys(layer)).not.toContain('call');
      expect(Object.getOwnPropertyNames(layer)).not.toContain('call');
      for (const weight of layer.weights) expect(Object.getOwnPropertyNames(weight)).not.toContain('read');
    }
  });

  test('also when the loss throws', () => {
    const model = network();
    const before = weightsOf(model);
    const task = taskOf(model);
    const params = task.init(new EagerRandom(seedKey(1)));
    const wrong = { xs: tf.ones([2, 7]), ys: tf.zeros([2], 'int32') };
    expect(() => task.loss(params, wrong, new EagerRandom(seedKey(2)))).toThrow();
    expect(weightsOf(model)).toEqual(before);
  });
});

describe("init: 'keep'", () => {
  test('starts from the weights, with the losses and outputs of the model itself', () => {
    const model = network();
    const task = taskOf(model, { init: 'keep' });
    const params = task.init(new EagerRandom(seedKey(1)));
    const leaves = Object.fromEntries(treeLeaves<tf.Tensor>(params).map(({ path, value }) => [path, value.dataSync()]));
    const [kernel0, bias0, kernel2, bias2] = model.getWeights().map((weight) => weight.dataSync());
    expect(leaves).toEqual({
      'layer0.bias': bias0,
      'layer0.kernel': kernel0,
      'layer2.bias': bias2,
      'layer2.kernel': kernel2,
    });
    const { xs, ys } = batch(10);
    model.compile({ optimizer: 'sgd', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
    const [loss, accuracy] = (model.evaluate(xs, tf.oneHot(ys as tf.Tensor1D, 3)) as tf.Scalar[]).map(number);
    const metrics = task.metrics!(params, { xs, ys });
    // The same float32 kernels in the same order, but for the mean.
    expect(Math.abs(number(metrics.loss) / loss - 1)).toBeLessThan(2 ** -22);
    expect(number(metrics.accuracy)).toBeCloseTo(accuracy, 6);
  });

  test('keeps the weights of the moment the task was made', () => {
    const model = network();
    const task = taskOf(model, { init: 'keep' });
    const before = weightsOf(model)[0];
    model.setWeights(model.getWeights().map((weight) => tf.zerosLike(weight)));
    const params = task.init(new EagerRandom(seedKey(1))) as Record<string, Record<string, tf.Tensor>>;
    expect(Array.from(params.layer0.kernel.dataSync())).toEqual(before);
  });
});

test('weights that are not trainable stay as they are and are no params', () => {
  const model = network();
  model.layers[0].trainable = false;
  const task = taskOf(model);
  const params = task.init(new EagerRandom(seedKey(1)));
  expect(treeLeaves(params).map(({ path }) => path)).toEqual(['layer2.bias', 'layer2.kernel']);
  const { xs, ys } = batch(6);
  const output = tf.softmax(
    tf.add(
      tf.matMul(
        model.layers[0].apply(xs) as tf.Tensor2D,
        (params as Record<string, Record<string, tf.Tensor2D>>).layer2.kernel,
      ),
      0,
    ),
  );
  const expected = number(tf.mean(tf.metrics.categoricalCrossentropy(tf.oneHot(ys as tf.Tensor1D, 3), output)));
  expect(number(task.metrics!(params, { xs, ys }).loss)).toBeCloseTo(expected, 6);
});

test('dropout draws from the key: the same masks for one key, others for another, none in metrics', () => {
  const task = taskOf(network());
  const params = task.init(new EagerRandom(seedKey(1)));
  const rows = batch(10);
  const loss = (seed: number): number => number(task.loss(params, rows, new EagerRandom(seedKey(seed))));
  expect(loss(3)).toBe(loss(3));
  expect(loss(3)).not.toBe(loss(4));
  const [a, b] = [1, 2].map(() => number(task.metrics!(params, rows).loss));
  expect(a).toBe(b);
});

describe('what training remembers and draws', () => {
  const sequences = tf.layers.reshape({ targetShape: [4, 1], inputShape: [4] });
  test('averages are state: fresh ones from their initialisers, moved by the loss, read by the metrics', () => {
    const model = tf.sequential({
      layers: [
        tf.layers.batchNormalization({ inputShape: [4], momentum: 0.75, movingMeanInitializer: 'ones' }),
        tf.layers.dense({ units: 3, activation: 'softmax' }),
      ],
    });
    const before = weightsOf(model);
    const task = taskOf(model);
    const params = task.init(new EagerRandom(seedKey(1)));
    expect(treeLeaves(params).map(({ path }) => path)).toEqual([
      ...['layer0.beta', 'layer0.gamma', 'layer1.bias', 'layer1.kernel'],
    ]);
    const state = task.initState!(params, new EagerRandom(seedKey(1)), new EagerRandom(seedKey(1)));
    expect(leavesOf(state)).toEqual([
      [1, 1, 1, 1],
      [1, 1, 1, 1],
    ]);
    const rows = batch(8);
    const random = new EagerRandom(seedKey(2));
    const after = task.lossWithState!(params, rows, random, state);
    expect(number(after.loss)).toBe(number(task.loss(params, rows, random)));
    const { mean, variance } = tf.moments(rows.xs, 0);
    const [movedMean, movedVariance] = leavesOf(after.state);
    const close = (got: number[], expected: tf.Tensor): void =>
      expected.dataSync().forEach((value, i) => expect(got[i]).toBeCloseTo(value, 6));
    // 0.75 of what was, 0.25 of the batch's.
    close(movedMean, tf.add(tf.mul(mean, 0.25), 0.75));
    close(movedVariance, tf.add(tf.mul(variance, 0.25), 0.75));
    const judged = number(task.metrics!(params, rows, after.state).loss);
    expect(judged).not.toBe(number(task.metrics!(params, rows, state).loss));
    expect(weightsOf(model)).toEqual(before);
  });

  test('a recurrent layer drops inputs and states out by the key, in training only, and keeps its own masks', () => {
    const model = tf.sequential({
      layers: [
        sequences,
        tf.layers.lstm({ units: 4, dropout: 0.5, recurrentDropout: 0.25 }),
        tf.layers.dense({ units: 3, activation: 'softmax' }),
      ],
    });
    const task = taskOf(model);
    const params = task.init(new EagerRandom(seedKey(1)));
    const rows = batch(10);
    const { cell } = model.layers[1] as unknown as { readonly cell: { dropoutMask: unknown } };
    const own = cell.dropoutMask;
    const tensors = tf.memory().numTensors;
    const loss = (seed: number): number =>
      tf.tidy(() => number(task.loss(params, rows, new EagerRandom(seedKey(seed)))));
    expect(loss(3)).toBe(loss(3));
    expect(loss(3)).not.toBe(loss(4));
    const judged = (): number => tf.tidy(() => number(task.metrics!(params, rows).loss));
    expect(judged()).toBe(judged());
    expect(cell.dropoutMask).toBe(own);
    expect(tf.memory().numTensors).toBe(tensors);
  });

  test('spatial dropout takes whole channels', () => {
    const model = tf.sequential({
      layers: [tf.layers.spatialDropout1d({ rate: 0.5, inputShape: [6, 40] }), tf.layers.flatten()],
    });
    const ones = arrayDataset({ xs: new Float32Array(10 * 240), ys: new Float32Array(10), inputShape: [6, 40] });
    let output: number[] = [];
    const task = layersModelTask(() => model, {
      data: ones,
      loss: (_, yPred) => {
        output = Array.from(yPred.dataSync());
        return yPred;
      },
    });
    task.loss({}, { xs: tf.ones([1, 6, 40]), ys: tf.zeros([1]) }, new EagerRandom(seedKey(3)));
    const channels = output.slice(0, 40);
    expect(new Set(channels)).toEqual(new Set([0, 2]));
    for (let row = 0; row < 6; row++) expect(output.slice(row * 40, row * 40 + 40)).toEqual(channels);
  });
});

test('dropout keeps the expectation and drops the share that its rate says', () => {
  // One linear layer after the dropout, all weights 1: the output sums what is left of 4000 ones, each scaled by 1/0.6.
  const width = 4000;
  const model = tf.sequential({
    layers: [
      tf.layers.dropout({ rate: 0.4, inputShape: [width] }),
      tf.layers.dense({ units: 1, kernelInitializer: 'ones', useBias: false }),
    ],
  });
  const ones = arrayDataset({
    xs: new Float32Array(10 * width).fill(1),
    ys: new Float32Array(10),
    inputShape: [width],
  });
  const task = layersModelTask(() => model, { data: ones, loss: (_, yPred) => yPred });
  const params = task.init(new EagerRandom(seedKey(1)));
  const rows = { xs: tf.ones([8, width]), ys: tf.zeros([8]) };
  const kept = number(task.loss(params, rows, new EagerRandom(seedKey(3)))) / (width / 0.6);
  // A binomial share of 32000 draws; two-sided error 1e-4 with a fixed seed.
  expect(Math.abs(kept - 0.6)).toBeLessThan(normalQuantile(1e-4) * Math.sqrt((0.6 * 0.4) / (8 * width)));
});

type Initializer = ReturnType<typeof tf.initializers.zeros>;
/** The class that initialisers of tf.layers extend, which it does not export. */
const AnyInitializer = Object.getPrototypeOf(tf.initializers.zeros().constructor) as new () => Initializer;

/** A user's initialiser, which tf.layers knows nothing of. */
class Sevens extends AnyInitializer {
  static readonly className = 'Sevens';
  override apply(shape: number[]): tf.Tensor {
    return tf.fill(shape, 7);
  }
}

describe('initialisers', () => {
  test('orthogonal: orthonormal columns or rows, times the gain, with the moments of uniform ones', () => {
    for (const shape of [
      [24, 24],
      [3, 20, 8],
      [12, 48],
    ]) {
      const columns = shape[shape.length - 1];
      const rows = sizeOf(shape) / columns;
      const [long, short] = [Math.max(rows, columns), Math.min(rows, columns)];
      const draws = Array.from({ length: 40 }, (_, seed) => {
        const matrix = tf.reshape(orthogonal(shape, new EagerRandom(seedKey(seed))), [rows, columns]);
        const gram = rows < columns ? tf.matMul(matrix, matrix, false, true) : tf.matMul(matrix, matrix, true);
        // Float32 products of up to 60 terms.
        expect(number(tf.max(tf.abs(tf.sub(gram, tf.eye(short)))))).toBeLessThan(2e-6);
        return Array.from(matrix.dataSync());
      });
      // A uniform unit vector of n numbers: mean 0, x² has mean 1/n, x⁴ has 3/(n(n + 2)); rows and columns alike.
      const all = draws.map((values) => values[0]);
      const mean = (f: (x: number) => number): number => all.reduce((sum, x) => sum + f(x), 0) / all.length;
      const z = normalQuantile(1e-4);
      expect(Math.abs(mean((x) => x))).toBeLessThan(z * Math.sqrt(1 / long / all.length));
      const spread = 3 / (long * (long + 2)) - 1 / long ** 2;
      expect(Math.abs(mean((x) => x * x) - 1 / long)).toBeLessThan(z * Math.sqrt(spread / all.length));
    }
    const model = tf.sequential({
      layers: [
        tf.layers.dense({
          units: 4,
          inputShape: [4],
          kernelInitializer: tf.initializers.orthogonal({ gain: 3, seed: 1 }),
        }),
      ],
    });
    const params = taskOf(model).init(new EagerRandom(seedKey(11))) as Record<string, Record<string, tf.Tensor>>;
    expect(number(tf.sum(tf.square(params.layer0.kernel)))).toBeCloseTo(4 * 9, 4);
  });

  test('the forget gate of an LSTM starts open', () => {
    const model = tf.sequential({
      layers: [
        tf.layers.reshape({ targetShape: [2, 2], inputShape: [4] }),
        tf.layers.lstm({ units: 3, unitForgetBias: true, biasInitializer: tf.initializers.constant({ value: 0.5 }) }),
      ],
    });
    const params = taskOf(model).init(new EagerRandom(seedKey(2))) as Record<string, Record<string, tf.Tensor>>;
    expect([...params.layer1.bias.dataSync()]).toEqual([0.5, 0.5, 0.5, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
    // Those of tf.layers itself, for gates in the order i, f, c, o.
    expect([...model.layers[1].getWeights()[2].dataSync()]).toEqual([...params.layer1.bias.dataSync()]);
    const recurrent = params.layer1.recurrent_kernel as tf.Tensor2D;
    const gram = tf.matMul(recurrent, recurrent, false, true);
    expect(number(tf.max(tf.abs(tf.sub(gram, tf.eye(3)))))).toBeLessThan(2e-6);
  });

  const SHAPE = [60, 50];
  const COUNT = 3000;
  /** Variance of a standard normal conditioned on |z| < 2: 1 − 4φ(2)/erf(√2). */
  const TRUNCATED = 1 - (4 * Math.exp(-2)) / Math.sqrt(2 * Math.PI) / 0.9544997361036416;
  // Excess kurtosis: what the variance of a sample variance depends on. Uniform −1.2; normal 0; truncated normal −0.64.
  const rows: readonly {
    readonly name: string;
    readonly initializer: Parameters<typeof tf.layers.dense>[0]['kernelInitializer'];
    readonly mean?: number;
    readonly variance: number;
    readonly bound?: number;
  }[] = [
    { name: 'zeros', initializer: 'zeros', variance: 0 },
    { name: 'ones', initializer: 'ones', mean: 1, variance: 0 },
    { name: 'constant', initializer: tf.initializers.constant({ value: 0.25 }), mean: 0.25, variance: 0 },
    { name: 'randomNormal', initializer: tf.initializers.randomNormal({ mean: 1, stddev: 2 }), mean: 1, variance: 4 },
    {
      name: 'randomUniform',
      initializer: tf.initializers.randomUniform({ minval: -1, maxval: 3 }),
      mean: 1,
      variance: 16 / 12,
      bound: 2,
    },
    {
      name: 'truncatedNormal',
      initializer: tf.initializers.truncatedNormal({ mean: -1, stddev: 0.5 }),
      mean: -1,
      variance: 0.25 * TRUNCATED,
      bound: 1,
    },
    { name: 'glorotUniform', initializer: 'glorotUniform', variance: 2 / 110, bound: Math.sqrt(6 / 110) },
    {
      name: 'glorotNormal',
      initializer: 'glorotNormal',
      variance: (2 / 110) * TRUNCATED,
      bound: 2 * Math.sqrt(2 / 110),
    },
    { name: 'heNormal', initializer: 'heNormal', variance: (2 / 60) * TRUNCATED, bound: 2 * Math.sqrt(2 / 60) },
    { name: 'heUniform', initializer: 'heUniform', variance: 2 / 60, bound: Math.sqrt(6 / 60) },
    { name: 'leCunNormal', initializer: 'leCunNormal', variance: (1 / 60) * TRUNCATED, bound: 2 * Math.sqrt(1 / 60) },
    { name: 'leCunUniform', initializer: 'leCunUniform', variance: 1 / 60, bound: Math.sqrt(3 / 60) },
    {
      name: 'varianceScaling, fan out',
      initializer: tf.initializers.varianceScaling({ scale: 3, mode: 'fanOut', distribution: 'uniform' }),
      variance: 3 / 50,
      bound: Math.sqrt(9 / 50),
    },
  ];

  test.each(rows)('$name', ({ initializer, mean = 0, variance, bound }) => {
    const wide = arrayDataset({ xs: new Float32Array(600), ys: new Float32Array(10), inputShape: [60] });
    const model = tf.sequential({
      layers: [tf.layers.dense({ units: 50, inputShape: [60], kernelInitializer: initializer })],
    });
    const task = layersModelTask(() => model, { data: wide, loss: (_, yPred) => yPred });
    const kernel = (task.init(new EagerRandom(seedKey(11))) as Record<string, Record<string, tf.Tensor>>).layer0.kernel;
    expect(kernel.shape).toEqual(SHAPE);
    const values = Array.from(kernel.dataSync());
    const sampleMean = values.reduce((a, b) => a + b, 0) / COUNT;
    const sampleVariance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / COUNT;
    // Two-sided error 1e-4 each, with a fixed seed; the kurtosis of all of these is at most a normal's.
    const z = normalQuantile(1e-4);
    expect(Math.abs(sampleMean - mean)).toBeLessThanOrEqual(z * Math.sqrt(variance / COUNT));
    expect(Math.abs(sampleVariance - variance)).toBeLessThanOrEqual(z * variance * Math.sqrt(2 / COUNT));
    if (bound !== undefined) {
      const largest = Math.max(...values.map((x) => Math.abs(x - mean)));
      expect(largest).toBeLessThanOrEqual(bound * (1 + 1e-6));
      expect(largest).toBeGreaterThan(0.95 * bound);
    }
  });

  test('identity', () => {
    const square = arrayDataset({ xs: new Float32Array(40), ys: new Float32Array(10), inputShape: [4] });
    const kernelInitializer = tf.initializers.identity({ gain: 2 });
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 4, inputShape: [4], kernelInitializer })] });
    const task = layersModelTask(() => model, { data: square, loss: (_, yPred) => yPred });
    const [, kernel] = leavesOf(task.init(new EagerRandom(seedKey(11))));
    expect(kernel).toEqual([2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2]);
  });

  test('truncated normal draws invert the distribution function', () => {
    // Uniform draws that are known: 401 evenly spread over the range that is asked for.
    const points = 401;
    let range: [number, number] = [0, 0];
    const evenly = {
      uniform: (_: readonly number[], { low = 0, high = 1 } = {}) => {
        range = [low, high];
        return tf.tensor1d(Array.from({ length: points }, (__, i) => low + ((high - low) * i) / (points - 1)));
      },
    } as unknown as EagerRandom;
    const z = Array.from(truncatedNormal([points], evenly).dataSync());
    // 2(Φ(z) − ½) by Simpson's rule on the density: exact to 1e-10 for |z| ≤ 2.
    const centred = (x: number): number => {
      const n = 200;
      const density = (u: number): number => Math.exp(-u * u * 0.5) / Math.sqrt(2 * Math.PI);
      let sum = density(0) + density(x);
      for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * density((x * i) / n);
      return (2 * sum * x) / n / 3;
    };
    // The range is that of |z| < 2.
    expect(range[1]).toBeCloseTo(centred(2), 9);
    expect(range[0]).toBe(-range[1]);
    z.forEach((value, i) => {
      const uniform = range[0] + ((range[1] - range[0]) * i) / (points - 1);
      // Single precision: Giles states a relative error below 3.5e-7 for erf⁻¹, to which some roundings of 2⁻²⁴ add.
      expect(Math.abs(centred(value) - uniform)).toBeLessThan(1e-6);
    });
  });

  test('each weight of the model has numbers of its own', () => {
    const model = tf.sequential({
      layers: [
        tf.layers.dense({ units: 4, inputShape: [4] }),
        tf.layers.dense({ units: 4 }),
        tf.layers.dense({ units: 3 }),
      ],
    });
    const kernels = leavesOf(taskOf(model).init(new EagerRandom(seedKey(1)))).filter((_, i) => i % 2 === 1);
    expect(new Set(kernels.flat()).size).toBe(16 + 16 + 12);
  });
});

describe('refused, with the reason', () => {
  const dense = (more: object = {}) => tf.layers.dense({ units: 3, inputShape: [4], ...more });
  const rows: readonly { readonly what: string; readonly model: () => tf.LayersModel; readonly message: RegExp }[] = [
    {
      what: 'unsupported layers, all of them named',
      model: () =>
        tf.sequential({
          layers: [
            tf.layers.dense({ units: 4, inputShape: [4] }),
            tf.layers.masking({ name: 'mask' }),
            tf.layers.reshape({ targetShape: [4, 1] }),
            tf.layers.bidirectional({ layer: tf.layers.lstm({ units: 3 }), mergeMode: 'sum', name: 'both' }),
          ],
        }),
      message: /^model: expected layers among InputLayer, Dense.*got "mask" \(Masking\), "both" \(Bidirectional\)\./,
    },
    {
      what: 'an initialiser of its own',
      model: () => tf.sequential({ layers: [dense({ name: 'first', kernelInitializer: new Sevens() })] }),
      message: /^model\.first\.kernel: expected an initialiser among Zeros.*got Sevens.*init: 'keep'/,
    },
    {
      what: 'a recurrent layer that remembers from batch to batch',
      model: () =>
        tf.sequential({
          layers: [
            tf.layers.embedding({ inputDim: 5, outputDim: 2, batchInputShape: [2, 4] }),
            tf.layers.gru({ units: 3, stateful: true, name: 'memory' }),
            tf.layers.dense({ units: 3, activation: 'softmax' }),
          ],
        }),
      message: /^model\.memory\.stateful: expected false/,
    },
    {
      what: 'batch normalisation that TensorFlow.js cannot train',
      model: () =>
        tf.sequential({ layers: [tf.layers.batchNormalization({ inputShape: [4], scale: false, name: 'norm' })] }),
      message: /^model\.norm\.scale: expected true/,
    },
    {
      what: 'a constraint',
      model: () => tf.sequential({ layers: [dense({ name: 'bound', kernelConstraint: 'nonNeg' })] }),
      message: /^model\.bound\.kernelConstraint: expected no constraint/,
    },
    {
      what: 'a model without layers',
      model: () => tf.sequential(),
      message: /^model: expected a model with an input shape/,
    },
    {
      what: 'another input shape than the data',
      model: () => tf.sequential({ layers: [tf.layers.dense({ units: 3, inputShape: [5] })] }),
      message: /^data: expected inputs of the model's shape \[5\], got ".*" with \[4\]/,
    },
    {
      what: 'two outputs',
      model: () => {
        const input = tf.input({ shape: [4] });
        const outputs = [1, 2].map(() => tf.layers.dense({ units: 3 }).apply(input) as tf.SymbolicTensor);
        return tf.model({ inputs: input, outputs });
      },
      message: /^model: expected one input and one output, got 1 and 2/,
    },
    {
      what: 'something else',
      model: () => ({}) as tf.LayersModel,
      message: /^model: expected a function that returns/,
    },
  ];
  test.each(rows)('$what', ({ model, message }) => {
    const make = (): unknown => taskOf(model());
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
  });

  test('an unknown loss', () => {
    const make = (): unknown => taskOf(network(), { loss: 'crossEntropy' as never });
    expect(make).toThrow('task.loss: expected a function (yTrue, yPred) or one of categoricalCrossentropy');
  });

  test("an orthogonal initialiser is fine with init: 'keep'", () => {
    const model = tf.sequential({ layers: [dense({ kernelInitializer: 'orthogonal' })] });
    expect(leavesOf(taskOf(model, { init: 'keep' }).init(new EagerRandom(seedKey(0))))[1]).toEqual(weightsOf(model)[0]);
  });
});

test('data that is still being loaded makes a promise of the task', async () => {
  const task = layersModelTask(network, { data: Promise.resolve(data), loss: 'categoricalCrossentropy' });
  expect(task).toBeInstanceOf(Promise);
  expect((await task).dataset).toBe(data);
});
