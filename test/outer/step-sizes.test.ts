/** Effective step sizes: SGD's learning rate, Adam's first step, momentum by a recurrence of its own. */
import * as tf from '@tensorflow/tfjs';
import { treeLeaves, type LearnedOptimizer, type Task, type TensorTree } from '../../src/contracts';
import { createEngine } from '../../src/engines';
import { createEvaluator, unroll, type StepSizes } from '../../src/outer';
import { StepSizeRecorder } from '../../src/outer/step-sizes';
import { adam, sgd } from '../../learned-optimizers';

/** Engines, and what their precision allows: relative, of steps that are a tenth of what they change or more. */
const ENGINES = [
  { name: 'reference', tolerance: 1e-6 },
  { name: 'tfjs:cpu', tolerance: 1e-5 },
  { name: 'tfjs:wasm', tolerance: 1e-5 },
  { name: 'native', tolerance: 1e-5 },
] as const;

const MATRIX = [1, -2, 3, -4, 5, -6];
const VECTOR = [0.5, 0.25];
/** ½Σk·x² of the k-th element, from 1: the gradient is k·x. */
const bowl = (init: Task['init']): Task => ({
  name: 'bowl',
  init,
  loss: (params: TensorTree) =>
    treeLeaves<tf.Tensor>(params)
      .map(({ value: x }) => tf.sum(tf.mul(tf.reshape(tf.range(1, x.size + 1), x.shape), tf.mul(tf.square(x), 0.5))))
      .reduce((a, b) => tf.add(a, b)),
});
const fixedStart = bowl(() => ({ layer: [{ kernel: tf.tensor2d(MATRIX, [3, 2]) }], bias: tf.tensor1d(VECTOR) }));
const NAMES = ['bias', 'layer.0.kernel'];

async function measured(engineName: string, task: Task, optimizer: LearnedOptimizer, horizon: number) {
  const objective = { metric: 'loss', split: 'train', over: 'mean' } as const;
  const { evaluation } = unroll({ task, optimizer, objective, horizon, evaluation: { particles: 3 } });
  const { engine } = await createEngine(engineName);
  const evaluator = await createEvaluator(engine, evaluation!, 0, { seed: 1 });
  try {
    return (await evaluator.measure(new Float64Array(0))).stepSizes!;
  } finally {
    await evaluator.dispose();
    await engine.dispose();
  }
}

const courseOf = ({ tensors }: StepSizes, name: string) => tensors.find((tensor) => tensor.name === name)!;

describe.each(ENGINES)('on $name', ({ name, tolerance }) => {
  const near = (found: number, expected: number): void =>
    expect(Math.abs(found / expected - 1)).toBeLessThan(tolerance);

  test('SGD: the learning rate, of every tensor at every step, whatever the start', async () => {
    const rate = 0.125;
    const random = bowl((given) => ({ a: given.foldIn(0).normal([4, 3]), b: given.foldIn(1).normal([]) }));
    const sizes = await measured(name, random, sgd({ learningRate: rate }), 30);
    expect(sizes.t).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(sizes.tensors.map((tensor) => tensor.name)).toEqual(['a', 'b']);
    for (const { mean, factor } of sizes.tensors) {
      expect(mean).toHaveLength(30);
      for (const value of mean) near(value, rate);
      for (const value of factor) near(value, 1);
    }
  });

  test("Adam's first step is η for every element (Kingma, Ba 2015, Alg. 1): η over the gradient's root mean square", async () => {
    const sizes = await measured(name, fixedStart, adam({ learningRate: 0.5 }), 1);
    expect(sizes.tensors.map((tensor) => tensor.name)).toEqual(NAMES);
    [VECTOR, MATRIX].forEach((start, k) => {
      const square = start.reduce((sum, x, i) => sum + ((i + 1) * x) ** 2, 0) / start.length;
      near(sizes.tensors[k].mean[0], 0.5 / Math.sqrt(square));
    });
  });

  test('momentum, and points of several steps', async () => {
    const [rate, decay, horizon] = [0.0625, 0.875, 250];
    const sizes = await measured(name, fixedStart, sgd({ learningRate: rate, momentum: decay }), horizon);
    expect(sizes.t.length).toBeLessThanOrEqual(100);
    expect(sizes.t.at(-1)).toBe(horizon);
    [VECTOR, MATRIX].forEach((start, k) => {
      const x = [...start];
      const v = x.map(() => 0);
      let t = 0;
      sizes.t.forEach((end, point) => {
        let [updates, gradients] = [0, 0];
        for (; t < end; t++) {
          x.forEach((value, i) => {
            const g = (i + 1) * value;
            v[i] = decay * v[i] + g;
            x[i] -= rate * v[i];
            updates += (rate * v[i]) ** 2;
            gradients += g ** 2;
          });
        }
        // float32 loses a start's digits in so many steps; it may not lose what the course is.
        const found = courseOf(sizes, NAMES[k]).mean[point];
        const bound = name === 'reference' ? 1e-6 : 1e-3;
        expect(Math.abs(found / Math.sqrt(updates / gradients) - 1)).toBeLessThan(bound);
      });
    });
  });
});

test('parameters that are one tensor have a name too', async () => {
  const sizes = await measured(
    'reference',
    bowl((random) => random.normal([2])),
    sgd({ learningRate: 0.25 }),
    2,
  );
  expect(sizes.tensors.map(({ name }) => name)).toEqual(['parameters']);
});

test('geometric mean and standard error of the logarithm over starts; starts without a ratio are left out', () => {
  const names = ['loss', 'squared update of w', 'squared gradient of w'];
  const recorder = new StepSizeRecorder(names, 3, 200);
  const sums = (update: number[], gradient: number[]) => ({
    loss: new Float64Array(3),
    'squared update of w': Float64Array.from(update),
    'squared gradient of w': Float64Array.from(gradient),
  });
  // Ratios 4 and 1 by the sums of two windows: 2, and ln 4/√2 over √2 is ln 2. The third has no gradient.
  recorder.add(sums([6, 3, 1], [0.5, 1, 0]), 1);
  recorder.add(sums([10, 1, 1], [0.5, 3, 0]), 2);
  recorder.add(sums([0, NaN, 1], [1, 1, 0]), 200);
  const { t, tensors } = recorder.result()!;
  expect(t).toEqual([2, 200]);
  expect(tensors[0].name).toBe('w');
  expect(tensors[0].mean[0]).toBeCloseTo(2, 12);
  expect(tensors[0].factor[0]).toBeCloseTo(2, 12);
  expect(tensors[0].mean[1]).toBeNaN();
  expect(new StepSizeRecorder(['loss'], 3, 200).result()).toBeUndefined();
});
