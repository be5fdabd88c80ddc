/** Traced convolutions and pools against loops in float64, and their derivatives against central differences. */
import * as tf from '@tensorflow/tfjs';
import type { Inner } from '../../src/contracts';
import { interpret, stepContext } from '../../src/graph/interpreter';
import { traceFunction, traceInnerFunction } from '../../src/graph/trace';
import { vjpGraph } from '../../src/graph/vjp';
import {
  convolve,
  gradients,
  outputShape,
  poolWindows,
  POOLS,
  SETTINGS,
  sizeOf,
  type Setting,
} from '../support/direct-windows';
import { expectDerivatives, float, withOutputs } from '../support/jacobian';
import { convolution } from '../support/traced-windows';

const numbers = (count: number, phase: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.sin(2.17 * i + phase));
const CONTEXT = stepContext(0, 0, 0, 0);

/** Float64 sums of at most 4·3·9 products of numbers up to 1, in another order. */
const TOLERANCE = 1e-13;

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance = TOLERANCE): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) expect(Math.abs(got[i] - expected[i])).toBeLessThanOrEqual(tolerance);
}

beforeAll(() => tf.setBackend('cpu'));

describe.each(SETTINGS)('convolution: $name', (setting) => {
  const types = [float(...setting.x), float(...setting.filter)];
  const [x, filter] = [numbers(sizeOf(setting.x), 0.3), numbers(sizeOf(setting.filter), 1.9)];
  const y = outputShape(setting);
  const g = numbers(sizeOf(y), 4.1);

  test('values', () => {
    const graph = traceFunction('f', (a, b) => convolution(setting)(a, b), types);
    expect(graph.nodes[graph.outputs[0]].type.shape).toEqual(y);
    expectClose(interpret(graph, [x, filter], CONTEXT)[0], convolve(setting, x, filter));
  });

  const weighted = (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
    tf.sum(tf.mul(convolution(setting)(a, b), tf.tensor(Float32Array.from(g), y)));
  const rounded = Float64Array.from(g, Math.fround);

  test('gradients by input and filter', () => {
    const f = (inner: Inner, a: tf.Tensor, b: tf.Tensor): tf.Tensor[] => {
      const gradient = inner.grad((p: { a: tf.Tensor; b: tf.Tensor }) => weighted(p.a, p.b))({ a, b });
      return [gradient.a, gradient.b];
    };
    const found = interpret(traceInnerFunction('f', f, types), [x, filter], CONTEXT);
    gradients(setting, x, filter, rounded).forEach((expected, i) => expectClose(found[i], expected));
  });

  // TensorFlow.js has no gradient of a dilated convolution.
  const derived = setting.dilations.every((d) => d === 1);
  (derived ? test : test.skip)("gradients by TensorFlow.js' own tape", () => {
    const graph = traceFunction('f', (a, b) => tf.grads(weighted)([a, b]), types);
    const found = interpret(graph, [x, filter], CONTEXT);
    gradients(setting, x, filter, rounded).forEach((expected, i) => expectClose(found[i], expected));
  });
});

describe('derivatives', () => {
  const small: readonly Setting[] = [
    { name: '', x: [1, 4, 3, 2], filter: [2, 3, 2, 2], strides: [1, 1], dilations: [1, 1], pad: 'same' },
    { name: '', x: [1, 5, 4, 1], filter: [2, 2, 1, 2], strides: [1, 1], dilations: [2, 1], pad: 'valid' },
    {
      name: '',
      x: [1, 4, 3, 2],
      filter: [3, 2, 2, 2],
      strides: [2, 1],
      dilations: [1, 1],
      pad: 'same',
      depthwise: true,
    },
  ];
  test.each(small)('first and second = central differences ($strides, $dilations, $pad)', (setting) => {
    const graph = traceFunction('conv', (a, b) => tf.tanh(convolution(setting)(a, b)), [
      float(...setting.x),
      float(...setting.filter),
    ]);
    const feeds = [numbers(sizeOf(setting.x), 0.3), numbers(sizeOf(setting.filter), 1.9)];
    expectDerivatives(graph, feeds);
    const reverse = vjpGraph(graph);
    const g = numbers(sizeOf(outputShape(setting)), 4.1);
    expectDerivatives(withOutputs(reverse, reverse.outputs.slice(1)), [...feeds, g]);
  });

  test.each(POOLS.slice(0, 4))('of pools, $name', ({ x, size, strides, pad }) => {
    const shape = [1, x[1], x[2], 1];
    for (const pool of [tf.maxPool, tf.avgPool]) {
      const graph = traceFunction('pool', (a) => pool(tf.sin(a) as tf.Tensor4D, [...size], [...strides], pad), [
        float(...shape),
      ]);
      const feeds = [numbers(sizeOf(shape), 0.3)];
      expectDerivatives(graph, feeds);
      const reverse = vjpGraph(graph);
      const g = numbers(sizeOf(graph.nodes[graph.outputs[0]].type.shape), 4.1);
      expectDerivatives(withOutputs(reverse, reverse.outputs.slice(1)), [...feeds, g]);
    }
  });
});

describe.each(POOLS)('pools: $name', (pool) => {
  const x = numbers(sizeOf(pool.x), 0.7);
  const [size, strides] = [[...pool.size], [...pool.strides]] as [[number, number], [number, number]];
  const seen = poolWindows(pool, x);

  test('largest and mean', () => {
    const graph = traceFunction(
      'pools',
      (a) => [
        tf.maxPool(a as tf.Tensor4D, size, strides, pool.pad),
        tf.avgPool(a as tf.Tensor4D, size, strides, pool.pad),
      ],
      [float(...pool.x)],
    );
    const [largest, mean] = interpret(graph, [x], CONTEXT);
    expectClose(
      largest,
      seen.map((list) => Math.max(...list)),
    );
    expectClose(
      mean,
      seen.map((list) => list.reduce((a, b) => a + b, 0) / list.length),
    );
  });
});

test.each([
  ['conv2d', (x: tf.Tensor) => tf.conv2d(x as tf.Tensor4D, tf.ones([1, 1, 3, 2]), 1, 'same', 'NCHW')],
  ['depthwiseConv2d', (x: tf.Tensor) => tf.depthwiseConv2d(x as tf.Tensor4D, tf.ones([1, 1, 3, 2]), 1, 'same', 'NCHW')],
])('%s with channels first is refused by name', (_, fn) => {
  expect(() => traceFunction('f', fn, [float(1, 3, 4, 4)])).toThrow(/NHWC.*channels last.*'NCHW'/);
});
