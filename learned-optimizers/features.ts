/** What the learned architectures share: features, small networks, and walking several trees at once. */
import * as tf from '@tensorflow/tfjs';
import { treeFlatten, treeMap, treeMap2, treeUnflatten, type KeyedRandom, type TensorTree } from '../src/contracts';

/** τ of the time features (Metz et al. 2019, "Understanding and correcting pathologies in the training of learned optimizers"). */
export const TIME_SCALES: readonly number[] = [1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5];

/** Added to the mean square under the root of `normalised`. */
const EPSILON = 1e-5;

/** `fn` of the leaves that stand at one place in all trees; the result has the first tree's structure. */
export function mapTrees(
  trees: readonly TensorTree[],
  fn: (leaves: readonly tf.Tensor[], index: number) => tf.Tensor,
): TensorTree {
  const leaves = trees.map((tree) => treeFlatten<tf.Tensor>(tree));
  const mapped = leaves[0].map((_, i) =>
    fn(
      leaves.map((list) => list[i]),
      i,
    ),
  );
  return treeUnflatten(trees[0], mapped);
}

/** A tree of zeros for each of `count` accumulators. */
export function zeroTrees(params: TensorTree, count: number): TensorTree[] {
  return Array.from({ length: count }, () => treeMap(params, (p: tf.Tensor) => tf.zerosLike(p)) as TensorTree);
}

/** d·before + (1 − d)·x; `rest` is 1 − d. */
export function moved(before: tf.Tensor, x: tf.Tensor, decay: number | tf.Tensor, rest?: tf.Tensor): tf.Tensor {
  const other = rest ?? (typeof decay === 'number' ? 1 - decay : tf.sub(1, decay));
  return tf.add(tf.mul(before, decay), tf.mul(x, other));
}

/** The accumulators of all decays after one more tree of gradients. */
export function movedTrees(
  before: readonly TensorTree[],
  gradients: TensorTree,
  decays: readonly number[],
): TensorTree[] {
  return decays.map(
    (decay, k) => treeMap2(before[k], gradients, (m: tf.Tensor, g: tf.Tensor) => moved(m, g, decay)) as TensorTree,
  );
}

/** x/√(mean x² + 1e-5), the mean over all of the tensor, or for each index of the others along an axis. */
export function normalised(x: tf.Tensor, axis?: number): tf.Tensor {
  return tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), axis, axis !== undefined), EPSILON)));
}

/** [numbers, 1] */
export function columnOf(numbers: readonly number[]): tf.Tensor {
  return tf.tensor2d([...numbers], [numbers.length, 1]);
}

/** Any tensor as [size, 1]: a row a parameter. */
export function column(x: tf.Tensor): tf.Tensor {
  return tf.reshape(x, [x.size, 1]);
}

/** tanh(t/τ − 1) for each τ, [scales]. */
export function tanhTime(t: tf.Scalar, scales: readonly number[] = TIME_SCALES): tf.Tensor {
  return tf.tanh(tf.sub(tf.div(tf.cast(t, 'float32'), tf.tensor1d([...scales])), 1));
}

/** A vector as every row of [rows, size]. */
export function everyRow(features: tf.Tensor, rows: number): tf.Tensor {
  return tf.broadcastTo(tf.reshape(features, [1, features.size]), [rows, features.size]);
}

/** Columns begin … begin + size of a matrix. */
export function columns(x: tf.Tensor, begin: number, size = 1): tf.Tensor {
  return tf.slice(x, [0, begin], [x.shape[0], size]);
}

/** How outputs of a network become steps. */
export interface StepScales {
  readonly stepMultiplier: number;
  readonly magnitudeMultiplier: number;
}

/** stepMultiplier·direction·exp(magnitudeMultiplier·magnitude) */
export function stepOf(direction: tf.Tensor, magnitude: tf.Tensor, scales: StepScales): tf.Tensor {
  const { stepMultiplier, magnitudeMultiplier } = scales;
  return tf.mul(tf.mul(direction, stepMultiplier), tf.exp(tf.mul(magnitude, magnitudeMultiplier)));
}

/** p less its step, from an output's first two columns, a row a parameter. */
export function stepped(p: tf.Tensor, out: tf.Tensor, scales: StepScales): tf.Tensor {
  const direction = tf.reshape(columns(out, 0), p.shape);
  const magnitude = tf.reshape(columns(out, 1), p.shape);
  return tf.sub(p, stepOf(direction, magnitude, scales));
}

/** kernel [in, out], bias [out]. */
export interface Dense extends Record<string, TensorTree> {
  bias: tf.Tensor;
  kernel: tf.Tensor;
}

/** Kernels N(0, scale²/in) (LeCun et al. 1998), biases 0; `lastScale` is the last layer's scale, 1 that of the others. */
export function denseTheta(widths: readonly number[], random: KeyedRandom, lastScale = 1): Dense[] {
  return widths.slice(1).map((out, i) => ({
    bias: tf.zeros([out]),
    kernel: random.normal([widths[i], out], {
      std: (i + 2 === widths.length ? lastScale : 1) / Math.sqrt(widths[i]),
    }),
  }));
}

/** xs·kernel + bias, [rows, in] → [rows, out]. */
export function dense({ kernel, bias }: Dense, xs: tf.Tensor): tf.Tensor {
  return tf.add(tf.matMul(xs as tf.Tensor2D, kernel as tf.Tensor2D), bias);
}

/** Layers with ReLU between them, none after the last. */
export function denseNetwork(layers: readonly Dense[], xs: tf.Tensor): tf.Tensor {
  return layers.reduce((x, layer, i) => {
    const z = dense(layer, x);
    return i + 1 < layers.length ? tf.relu(z) : z;
  }, xs);
}

/** h and c, [rows, units] each. */
export interface LstmState extends Record<string, TensorTree> {
  cell: tf.Tensor;
  hidden: tf.Tensor;
}

/** Weights of a cell over [x, h]: N(0, 1/(inputs + units)), biases 0. */
export function lstmTheta(inputs: number, units: number, random: KeyedRandom): Dense {
  return denseTheta([inputs + units, 4 * units], random)[0];
}

/**
 * One step of an LSTM (Hochreiter, Schmidhuber 1997, with a forget gate whose bias is 1 more than learned: Jozefowicz et
 * al. 2015). Gates of [x, h]·kernel + bias in the order i, g, f, o: c = σ(f + 1)·c + σ(i)·tanh g, h = σ(o)·tanh c.
 */
export function lstm(theta: Dense, xs: tf.Tensor, { cell, hidden }: LstmState): LstmState {
  const units = hidden.shape[1]!;
  const z = dense(theta, tf.concat([xs, hidden], 1));
  const gate = (i: number): tf.Tensor => columns(z, i * units, units);
  const next = tf.add(tf.mul(tf.sigmoid(tf.add(gate(2), 1)), cell), tf.mul(tf.sigmoid(gate(0)), tf.tanh(gate(1))));
  return { cell: next, hidden: tf.mul(tf.sigmoid(gate(3)), tf.tanh(next)) };
}

/** ln(|x| + 1e-8), clipped at ±5. */
export function logSize(x: tf.Tensor): tf.Tensor {
  return tf.clipByValue(tf.log(tf.add(tf.abs(x), 1e-8)), -5, 5);
}

/** Mean and variance over the whole tensor. */
export function momentsOf(x: tf.Tensor): { readonly mean: tf.Tensor; readonly variance: tf.Tensor } {
  const mean = tf.mean(x);
  return { mean, variance: tf.mean(tf.square(tf.sub(x, mean))) };
}

/** √Σx²; its derivative at 0 is 0. */
export function lengthOf(x: tf.Tensor): tf.Tensor {
  return tf.sqrt(tf.maximum(tf.sum(tf.square(x)), 1e-30));
}
