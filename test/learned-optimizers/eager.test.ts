/** The form that architectures have for op after op: against plain float64, and within other optimizers. */
import * as tf from '@tensorflow/tfjs';
import { adafacMlp, clipGradients, perParameterMlp, withWeightDecay } from '../../learned-optimizers';
import { treeFlatten, treeLeaves, treeUnflatten, type LearnedOptimizer, type TensorTree } from '../../src/contracts';
import { createEngine } from '../../src/engines';
import { EagerRandom, normals, seedKey } from '../../src/random';
import { adafacMlpOracle, perParameterMlpOracle, type Oracle } from '../support/architecture-oracles';

/** A matrix, higher ones, two equal axes, a row, a column, a vector, a scalar, and one of zeros. */
const SHAPES = [[3, 5], [2, 3, 4], [2, 3, 1, 3], [4, 4], [1, 6], [6, 1], [7], [], [1], [5]];
const STEPS = 12;
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const start = (leaf: number, i: number): number =>
  leaf === SHAPES.length - 1 ? 0 : Math.fround(1.5 - 0.13 * i + 0.05 * leaf);
const gradientAt = (x: number, i: number): number => Math.fround(0.1 + 0.3 * (i % 4)) * x + Math.cos(x);

beforeAll(async () => {
  await tf.setBackend('cpu');
});

/** θ₀ moved by noise, so that nothing in it is zero. */
function thetaOf(optimizer: LearnedOptimizer): {
  readonly tree: TensorTree;
  readonly leaf: (path: string) => number[];
} {
  const drawn = optimizer.initTheta(new EagerRandom(seedKey(3)));
  const byPath = new Map<string, number[]>();
  const leaves = treeLeaves<tf.Tensor>(drawn).map(({ path, value }, i) => {
    const noise = normals([3, i], value.size);
    const moved = Array.from(value.dataSync(), (x, k) => Math.fround(x + 0.05 * noise[k]));
    byPath.set(path, moved);
    return tf.tensor(moved, value.shape);
  });
  return { tree: treeUnflatten(drawn, leaves), leaf: (path) => byPath.get(path)! };
}

const values = (tensors: readonly tf.Tensor[]): number[][] => tensors.map((tensor) => Array.from(tensor.dataSync()));

function startParams(): tf.Tensor[] {
  return SHAPES.map((shape, leaf) =>
    tf.tensor(
      Array.from({ length: sizeOf(shape) }, (_, i) => start(leaf, i)),
      shape,
    ),
  );
}

/** Parameters after each step by one of an optimizer's two forms. */
function follow(optimizer: LearnedOptimizer, theta: TensorTree, eager: boolean): number[][][] {
  const both = optimizer.optimizer(theta);
  if (both.eager === undefined) throw new Error('it has no eager form');
  const rule = eager ? both.eager : both;
  let params = startParams();
  let state = rule.init(params);
  return Array.from({ length: STEPS }, (_, t) => {
    const gradients = values(params).map((xs, leaf) => tf.tensor(xs.map(gradientAt), SHAPES[leaf]));
    const next = rule.update({
      params,
      gradients,
      state,
      t: tf.scalar(t, 'int32'),
      loss: tf.scalar(0),
      random: new EagerRandom(seedKey(t)),
    });
    params = treeFlatten<tf.Tensor>(next.params);
    state = next.state;
    return values(params);
  });
}

function expected(oracle: Oracle, leaf: (path: string) => readonly number[]): number[][] {
  const update = oracle(leaf);
  let params = SHAPES.map((shape, at) => ({
    shape,
    values: Array.from({ length: sizeOf(shape) }, (_, i) => start(at, i)),
  }));
  for (let t = 0; t < STEPS; t++) {
    const gradients = params.map((param) => param.values.map(gradientAt));
    const next = update({ params, gradients, t, loss: 0 });
    params = params.map(({ shape }, at) => ({ shape, values: next[at] }));
  }
  return params.map((param) => param.values);
}

/** Of float32: roundings of a number of the parameter's size, and what they and those of sums make of a step. */
function expectClose(got: readonly number[][], want: readonly number[][]): void {
  want.forEach((leaf, at) => {
    expect(got[at]).toHaveLength(leaf.length);
    leaf.forEach((x, i) => {
      const moved = Math.abs(x - start(at, i));
      expect(moved).toBeGreaterThan(0);
      expect(Math.abs(got[at][i] - x)).toBeLessThanOrEqual(2e-3 * moved + 4e-6 * Math.max(1, Math.abs(x)));
    });
  });
}

// Steps so large that nothing of them is lost in the tolerance's share of the parameter.
const large = { stepMultiplier: 0.05 };

test.each<[string, LearnedOptimizer, Oracle]>([
  ['cpu', perParameterMlp(), perParameterMlpOracle],
  ['cpu', adafacMlp(), adafacMlpOracle],
  // Whose products have forms of their own.
  ['wasm', perParameterMlp(), perParameterMlpOracle],
  ['wasm', adafacMlp(), adafacMlpOracle],
])('on %s, %j: every shape takes the steps of float64', async (backend, optimizer, oracle) => {
  const { engine } = await createEngine(`tfjs:${backend}`);
  await tf.setBackend(backend);
  const theta = thetaOf(optimizer);
  expectClose(follow(optimizer, theta.tree, true)[STEPS - 1], expected(oracle, theta.leaf));
  await tf.setBackend('cpu');
  await engine.dispose();
});

test.each<[LearnedOptimizer]>([
  [perParameterMlp(large)],
  [perParameterMlp({ ...large, hidden: [3], decays: [0.5, 0.9], timeScales: [2] })],
  [perParameterMlp({ ...large, hidden: [] })],
  [adafacMlp(large)],
  [adafacMlp({ ...large, hidden: [8], momentumDecays: [0.9], adafactorDecays: [0.99] })],
  [clipGradients({ optimizer: perParameterMlp(large), maxNorm: 1 })],
  [withWeightDecay({ optimizer: adafacMlp(large), weightDecay: 0.01 })],
])('%j: both forms take the same steps', (optimizer) => {
  const { tree } = thetaOf(optimizer);
  const [eager, traced] = [true, false].map((form) => follow(optimizer, tree, form));
  traced.forEach((params, t) => expectClose(eager[t], params));
});
