/**
 * Convolutions and pools on every engine, against loops in float64 that share nothing with the graph; and the second
 * derivatives, which the reference engine has from the same graphs (test/trace/convolution.test.ts holds these against
 * differences).
 */
import * as tf from '@tensorflow/tfjs';
import type { Inner, TensorTree, UnrolledProblem } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
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
import { ENGINES } from '../support/engine-table';
import { expectNear, stateAfterStep } from '../support/one-step';
import { convolution } from '../support/traced-windows';

const numbers = (count: number, phase: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(2.17 * i + phase));
const tensor = (shape: readonly number[], phase: number): tf.Tensor =>
  tf.tensor(numbers(sizeOf(shape), phase), [...shape]);

interface Operands extends Record<string, TensorTree> {
  x: tf.Tensor;
  filter: tf.Tensor;
}

/** Twice differentiated here: their programs take long to compile, and all others consist of the same parts. */
const TWICE = ['same, strides', 'depthwise, multiplier and strides'];

/** Per setting: the output, both gradients of Σ g·y, and of some both gradients of |gradients of Σ tanh y|². */
function convolutions(settings: readonly Setting[]): UnrolledProblem {
  const results = (theta: Record<string, Operands>, inner: Inner | undefined): Record<string, TensorTree> =>
    Object.fromEntries(
      settings.map((setting, i) => {
        const run = convolution(setting);
        const twice = TWICE.includes(setting.name);
        const shapes = { y: outputShape(setting), x: setting.x, filter: setting.filter };
        if (inner === undefined) {
          const zeros = (shape: readonly number[]): tf.Tensor => tf.zeros([...shape]);
          const both = { x: zeros(shapes.x), filter: zeros(shapes.filter) };
          return [`s${i}`, { y: zeros(shapes.y), first: both, ...(twice && { second: both }) }];
        }
        const operands = theta[`s${i}`];
        const g = tensor(shapes.y, 4.1);
        const first = inner.grad<Operands>(({ x, filter }) => tf.sum(tf.mul(run(x, filter), g)))(operands);
        const second = inner.grad<Operands>((at) => {
          const gradient = inner.grad<Operands>(({ x, filter }) => tf.sum(tf.tanh(run(x, filter))))(at);
          return tf.add(tf.sum(tf.square(gradient.x)), tf.sum(tf.square(gradient.filter)));
        });
        return [`s${i}`, { y: run(operands.x, operands.filter), first, ...(twice && { second: second(operands) }) }];
      }),
    );
  return {
    name: 'convolutions',
    horizon: Infinity,
    initTheta: () =>
      Object.fromEntries(
        settings.map(({ x, filter }, i) => [`s${i}`, { x: tensor(x, 0.3), filter: tensor(filter, 1.9) }]),
      ),
    initState: (theta) => results(theta as Record<string, Operands>, undefined),
    step: (theta, _state, inner) => ({
      state: results(theta as Record<string, Operands>, inner),
      loss: tf.scalar(0),
    }),
  };
}

function pools(): UnrolledProblem {
  const results = (theta: Record<string, tf.Tensor>, inner: Inner | undefined): Record<string, TensorTree> =>
    Object.fromEntries(
      POOLS.map(({ size, strides, pad, x: shape }, i) => {
        const [by, step] = [[...size], [...strides]] as [[number, number], [number, number]];
        const x = theta[`s${i}`] as tf.Tensor4D;
        const of = (pool: typeof tf.maxPool) => ({
          y: inner === undefined ? tf.zerosLike(pool(x, by, step, pad)) : pool(x, by, step, pad),
          slope:
            inner === undefined
              ? tf.zeros([...shape])
              : inner.grad<tf.Tensor>((at) => tf.sum(tf.square(pool(at as tf.Tensor4D, by, step, pad))))(x),
        });
        return [`s${i}`, { max: of(tf.maxPool), mean: of(tf.avgPool) }];
      }),
    );
  return {
    name: 'pools',
    horizon: Infinity,
    initTheta: () => Object.fromEntries(POOLS.map(({ x }, i) => [`s${i}`, tensor(x, 0.7)])),
    initState: (theta) => results(theta as Record<string, tf.Tensor>, undefined),
    step: (theta, _state, inner) => ({
      state: results(theta as Record<string, tf.Tensor>, inner),
      loss: tf.scalar(0),
    }),
  };
}

/** Written out number by number in lanes, a larger one keeps the compiler busy for minutes. */
const SMALL = 300;

describe.each(ENGINES)('$name', ({ name, open, exact }) => {
  let engine: GraphEngine;
  let reference: GraphEngine;
  beforeAll(async () => {
    engine = await open();
    reference = await ENGINES[0].open();
  });
  afterAll(() => engine.dispose());
  // Sums of at most a few hundred float32 products; second derivatives are sums of such sums.
  const tolerance = exact ? 1e-13 : 5e-6;

  test('convolutions', async () => {
    const all = SETTINGS.filter(
      (setting) => name !== 'native, lane-major' || sizeOf(outputShape(setting)) * sizeOf(setting.filter) < SMALL,
    );
    expect(all.length).toBeGreaterThan(2);
    const [got, expected] = [
      await stateAfterStep(engine, convolutions(all)),
      await stateAfterStep(reference, convolutions(all)),
    ];
    all.forEach((setting, i) => {
      const [x, filter] = [numbers(sizeOf(setting.x), 0.3), numbers(sizeOf(setting.filter), 1.9)];
      const of = (leaf: string): number[] => got[`state.s${i}.${leaf}`];
      expectNear(of('y'), convolve(setting, x, filter), tolerance, setting.name);
      const [byX, byFilter] = gradients(setting, x, filter, numbers(sizeOf(outputShape(setting)), 4.1));
      expectNear(of('first.x'), byX, tolerance, `${setting.name}, by x`);
      expectNear(of('first.filter'), byFilter, tolerance, `${setting.name}, by the filter`);
      for (const leaf of TWICE.includes(setting.name) ? ['second.x', 'second.filter'] : [])
        expectNear(of(leaf), expected[`state.s${i}.${leaf}`], 4 * tolerance, `${setting.name}, ${leaf}`);
    });
  }, 300_000);

  test('pools', async () => {
    const [got, expected] = [await stateAfterStep(engine, pools()), await stateAfterStep(reference, pools())];
    POOLS.forEach((pool, i) => {
      const seen = poolWindows(pool, numbers(sizeOf(pool.x), 0.7));
      const largest = seen.map((list) => Math.max(...list));
      const mean = seen.map((list) => list.reduce((a, b) => a + b, 0) / list.length);
      expectNear(got[`state.s${i}.max.y`], largest, exact ? 0 : 2 ** -24, pool.name);
      expectNear(got[`state.s${i}.mean.y`], mean, tolerance, pool.name);
      for (const leaf of ['max.slope', 'mean.slope'])
        expectNear(got[`state.s${i}.${leaf}`], expected[`state.s${i}.${leaf}`], tolerance, `${pool.name}, ${leaf}`);
    });
  }, 300_000);
});
