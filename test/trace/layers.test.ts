import * as tf from '@tensorflow/tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { interpret, stepContext } from '../../src/graph/interpreter';
import type { Graph } from '../../src/graph/ir';
import { traceFunction } from '../../src/graph/trace';

/** A layer's variable, whose tensor is looked up at each call. */
interface Weight {
  val: tf.Tensor;
}

const weightsOf = (model: tf.LayersModel): Weight[] =>
  model.layers.flatMap((layer) => layer.weights as unknown as Weight[]);

/** Runs the model on other weights than its own, by standing them in for its variables while it is applied. */
function applyWith(model: tf.LayersModel, weights: readonly tf.Tensor[], x: tf.Tensor, training: boolean): tf.Tensor {
  const variables = weightsOf(model);
  const own = variables.map(({ val }) => val);
  variables.forEach((variable, i) => (variable.val = weights[i]));
  try {
    return model.apply(x, { training }) as tf.Tensor;
  } finally {
    variables.forEach((variable, i) => (variable.val = own[i]));
  }
}

function dense(): tf.LayersModel {
  return tf.sequential({
    layers: [
      tf.layers.reshape({ inputShape: [6], targetShape: [2, 3] }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 5, activation: 'tanh' }),
      tf.layers.dense({ units: 4, useBias: false }),
      tf.layers.activation({ activation: 'elu' }),
      tf.layers.dense({ units: 3, activation: 'softmax' }),
    ],
  });
}

const values = (n: number, phase: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(3.7 * i + phase));
const run = (graph: Graph, feeds: number[][], t = 0): number[] => [
  ...interpret(
    graph,
    feeds.map((feed) => Float64Array.from(feed)),
    stepContext(1, 2, 3, t),
  )[0],
];

beforeAll(() => tf.setBackend('cpu'));

describe('a LayersModel', () => {
  test('of dense layers is traced with weights from outside it', () => {
    const model = dense();
    const before = tf.memory().numTensors;
    const shapes = weightsOf(model).map(({ val }) => val.shape);
    const weights = shapes.map((shape, i) =>
      values(
        shape.reduce((a, b) => a * b, 1),
        i,
      ),
    );
    const x = values(12, 0.3);
    const graph = traceFunction(
      'model',
      (input, ...leaves) => applyWith(model, leaves, input, true),
      [[2, 6], ...shapes].map((shape) => ({ shape, dtype: 'float32' })),
    );
    const expected = tf.tidy(() => [
      ...applyWith(
        model,
        weights.map((list, i) => tf.tensor(list, shapes[i])),
        tf.tensor(x, [2, 6]),
        true,
      ).dataSync(),
    ]);
    // Float32 roundings of tfjs's dozen kernels.
    run(graph, [x, ...weights]).forEach((value, i) => {
      expect(Math.abs(value - expected[i])).toBeLessThan(1e-6);
    });
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test('keeps its own weights as constants, in apply and in predict', () => {
    const model = dense();
    const x = values(12, 0.3);
    const expected = tf.tidy(() => [...(model.predict(tf.tensor(x, [2, 6])) as tf.Tensor).dataSync()]);
    for (const call of ['apply', 'predict'] as const) {
      const graph = traceFunction('model', (input) => model[call](input) as tf.Tensor, [
        { shape: [2, 6], dtype: 'float32' },
      ]);
      run(graph, [x]).forEach((value, i) => {
        expect(Math.abs(value - expected[i])).toBeLessThan(1e-6);
      });
    }
    model.dispose();
  });

  test('drops out when it trains, with masks keyed by step, also with a seed', () => {
    const model = tf.sequential({ layers: [tf.layers.dropout({ rate: 0.5, seed: 3, inputShape: [64] })] });
    const trace = (training: boolean): Graph =>
      traceFunction('dropout', (input) => model.apply(input, { training }) as tf.Tensor, [
        { shape: [1, 64], dtype: 'float32' },
      ]);
    const ones = [new Array<number>(64).fill(1)];
    const masks = [0, 1].map((t) => run(trace(true), ones, t));
    expect(masks[0]).not.toEqual(masks[1]);
    expect(new Set(masks.flat())).toEqual(new Set([0, 2]));
    expect(run(trace(false), ones)).toEqual(ones[0]);
  });

  test('normalises batches with its averages', () => {
    const model = tf.sequential({ layers: [tf.layers.batchNormalization({ inputShape: [3] })] });
    const graph = traceFunction('norm', (input) => model.apply(input, { training: false }) as tf.Tensor, [
      { shape: [2, 3], dtype: 'float32' },
    ]);
    const x = values(6, 1);
    run(graph, [x]).forEach((value, i) => {
      expect(Math.abs(value - x[i] / Math.sqrt(1 + 1e-3))).toBeLessThan(1e-7);
    });
    model.dispose();
  });

  test('whose averages would change is refused, and left as it was', () => {
    const model = tf.sequential({ layers: [tf.layers.batchNormalization({ inputShape: [3] })] });
    const before = weightsOf(model).map(({ val }) => [...val.dataSync()]);
    expect(() =>
      traceFunction('norm', (input) => model.apply(input, { training: true }) as tf.Tensor, [
        { shape: [2, 3], dtype: 'float32' },
      ]),
    ).toThrow(/moving_.* is assigned in a traced function/);
    expect(weightsOf(model).map(({ val }) => [...val.dataSync()])).toEqual(before);
    model.dispose();
  });
});

describe('another backend than cpu', () => {
  test('is read for constants and active again afterwards', async () => {
    setWasmPaths(require.resolve('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm').replace(/[^/\\]*$/, ''));
    await tf.setBackend('wasm');
    try {
      const outside = tf.tensor1d([1, 2, 3]).square();
      const graph = traceFunction('f', (x) => x.mul(outside), [{ shape: [3], dtype: 'float32' }]);
      expect(run(graph, [[1, 1, 2]])).toEqual([1, 4, 18]);
      expect(tf.getBackend()).toBe('wasm');
      expect(tf.engine().state.tensorInfo.get(outside.dataId)!.backend).toBe(tf.findBackend('wasm'));
      expect([...outside.add(1).dataSync()]).toEqual([2, 5, 10]);
    } finally {
      await tf.setBackend('cpu');
    }
  });
});
