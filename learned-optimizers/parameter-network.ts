/** Networks that see one parameter at a time, with the same weights for all, and tell where each goes. */
import * as tf from '@tensorflow/tfjs';
import { treeFlatten, treeUnflatten, type TensorTree } from '../src/contracts';
import { column, denseNetwork, everyRow, normalised, stepOf, stepped, type Dense, type StepScales } from './features';

export interface ParameterNetwork extends StepScales {
  /** From the features of a parameter, and behind them those of time, to outputs of which the first two count. */
  readonly layers: readonly Dense[];
  /** Features that all parameters have alike, a vector. */
  readonly time: tf.Tensor;
}

/** A parameter tensor less its steps. Each of its features is divided by its root mean square, and broadcasts over it. */
export function networkStep(param: tf.Tensor, features: readonly tf.Tensor[], network: ParameterNetwork): tf.Tensor {
  const own = features.map((x) => column(tf.broadcastTo(normalised(x), param.shape)));
  const out = denseNetwork(network.layers, tf.concat([...own, everyRow(network.time, param.size)], 1));
  return stepped(param, out, network);
}

/** The numbers of all leaves, [1, size]. */
export function inOneRow(tree: TensorTree): tf.Tensor {
  const leaves = treeFlatten<tf.Tensor>(tree).map((x) => tf.reshape(x, [1, x.size]));
  return tf.concat(leaves, 1);
}

/** What `inOneRow` put together, for several rows at once: [rows, size of the leaf] each. */
export function partsOfRows(rows: tf.Tensor, like: TensorTree): tf.Tensor[] {
  return tf.split(
    rows,
    treeFlatten<tf.Tensor>(like).map(({ size }) => size),
    1,
  );
}

/**
 * `networkStep` of all tensors at once, in ops that TensorFlow.js' backends are fast at: a feature lies in one piece, since
 * slices and concatenations of columns take many times as long as the network, and what depends on time alone is added
 * to the first layer's bias.
 * @param features of each tensor, as `featureRows` gives them
 */
export function networkSteps(
  params: TensorTree,
  features: readonly tf.Tensor[],
  network: ParameterNetwork,
): TensorTree {
  const leaves = treeFlatten<tf.Tensor>(params);
  const out = tf.transpose(fusedNetwork(network, tf.concat([...features], 1)));
  const output = (i: number): tf.Tensor => tf.slice(out, [i, 0], [1, -1]);
  const parts = partsOfRows(stepOf(output(0), output(1), network), params);
  const next = leaves.map((param, i) => tf.sub(param, tf.reshape(parts[i], param.shape)));
  return treeUnflatten(params, next);
}

/**
 * [features, size] of a tensor, each divided by its root mean square.
 * @param blocks several features each, [features, …] with shapes that broadcast to the tensor's, of its rank
 */
export function featureRows(blocks: readonly (readonly tf.Tensor[])[], shape: readonly number[]): tf.Tensor {
  const size = tf.util.sizeFromShape([...shape]);
  const rows = blocks.map((block) => {
    const [{ shape: first }] = block;
    const flat = block.map((x) => tf.reshape(x, [x.shape[0], x.size / x.shape[0]]));
    const scaled = normalised(tf.concat(flat, 0), 1);
    const [count, own] = scaled.shape;
    if (own === size) return scaled;
    // Not by broadcastTo, which takes the wasm backend a hundred times as long.
    const spread = tf.add(tf.reshape(scaled, [count, ...first.slice(1)]), tf.zeros([1, ...shape]));
    return tf.reshape(spread, [count, size]);
  });
  return tf.concat(rows, 0);
}

/** `denseNetwork` of rows without features of time, which are given as columns: [features, rows] → [rows, outputs]. */
function fusedNetwork({ layers: [first, ...others], time }: ParameterNetwork, columns: tf.Tensor): tf.Tensor {
  const [own, ofTime] = tf.split(first.kernel, [columns.shape[0], time.size], 0);
  const bias = tf.add(first.bias, tf.dot(time, ofTime));
  const [inputs, outputs] = own.shape;
  // Rows and columns change places where they are fewer: transposing so many numbers takes longer than a narrow layer. But the
  // wasm backend packs what it multiplies by, which it need not do again for weights, and would for the numbers of every update.
  // `transposeA` would spare the transposition, but gives other numbers there (4.22).
  const narrows = others.length > 0 && outputs < inputs && tf.getBackend() !== 'wasm';
  const layers = narrows ? others : [{ kernel: own, bias }, ...others];
  const begin = narrows ? tf.relu(tf.add(tf.matMul(tf.transpose(own), columns), column(bias))) : columns;
  return layers.reduce(
    (x, { kernel, bias: b }, i) =>
      tf.fused.matMul({ a: x, b: kernel, bias: b, activation: i + 1 < layers.length ? 'relu' : 'linear' }),
    tf.transpose(begin),
  );
}
