/**
 * A per-parameter MLP as an optimizer (Metz et al. 2022 in the setting of Li et al. 2023, §5.2), on an MLP with GELU:
 * written here as a plain problem, so that the bench stands on nothing but the graph's ops.
 */
import * as tf from '@tensorflow/tfjs';
import { mnist } from '../../datasets';
import { tableDataset } from '../../datasets/table-dataset';
import type { Batch, Dataset, DataSplit, Split, TensorTree, UnrolledProblem } from '../../src/contracts';
import { EagerRandom, seedKey } from '../../src/random';
import { crossEntropy } from '../../tasks/classification';

const MOMENTA = [0.1, 0.5, 0.9, 0.99, 0.999, 0.9999] as const;
const TIMES = [1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5] as const;
/** Gradient, parameter and momenta: what differs between the parameters of a tensor. */
export const OWN_FEATURES = 2 + MOMENTA.length;
const FEATURES = OWN_FEATURES + TIMES.length;
export const HIDDEN = 32;
/** Under the root of the mean square. */
const EPSILON = 1e-5;
/** Multiplies the step and, in the exponent, the magnitude. */
const SCALE = 0.001;

interface Layer extends Record<string, TensorTree> {
  bias: tf.Tensor;
  kernel: tf.Tensor;
}
interface Network extends Record<string, TensorTree> {
  layers: Layer[];
}
interface LoptState extends Record<string, TensorTree> {
  params: Layer[];
  /** One of the parameters' shapes for each decay. */
  momenta: Layer[][];
}

/** x·Φ(x) in its tanh form (Hendrycks, Gimpel 2016). */
function gelu(x: tf.Tensor): tf.Tensor {
  const cubic = tf.mul(tf.mul(tf.mul(x, x), x), 0.044715);
  const inner = tf.mul(tf.add(x, cubic), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

function forward(layers: readonly Layer[], xs: tf.Tensor, activation: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  return layers.reduce((x, { kernel, bias }, i) => {
    const z = tf.add(tf.matMul(x as tf.Tensor2D, kernel as tf.Tensor2D), bias);
    return i + 1 < layers.length ? activation(z) : z;
  }, xs);
}

/** Divided by its root mean square over the tensor, as a column [size, 1]. */
function feature(x: tf.Tensor): tf.Tensor {
  const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x)), EPSILON));
  return tf.reshape(tf.mul(x, scale), [x.size, 1]);
}

/** One tensor's update: features [size, 19] → direction and magnitude [size, 2]. */
function update(net: Network, time: tf.Tensor, p: tf.Tensor, g: tf.Tensor, momenta: readonly tf.Tensor[]): tf.Tensor {
  const shared = tf.broadcastTo(tf.reshape(time, [1, TIMES.length]), [p.size, TIMES.length]);
  const features = tf.concat([...[g, p, ...momenta].map(feature), shared], 1);
  const out = forward(net.layers, features, tf.relu);
  const direction = tf.reshape(tf.slice(out, [0, 0], [p.size, 1]), p.shape);
  const magnitude = tf.reshape(tf.slice(out, [0, 1], [p.size, 1]), p.shape);
  return tf.sub(p, tf.mul(tf.mul(direction, SCALE), tf.exp(tf.mul(magnitude, SCALE))));
}

/** Kernels N(0, 1/fanIn), biases 0. */
function layersOf(
  widths: readonly number[],
  normal: (layer: number, shape: [number, number], std: number) => tf.Tensor,
): Layer[] {
  return widths.slice(1).map((out, i) => ({
    bias: tf.zeros([out]),
    kernel: normal(i, [widths[i], out], 1 / Math.sqrt(widths[i])),
  }));
}

export interface LoptOptions {
  /** Inputs, hidden layers, classes of the inner MLP. */
  readonly widths: readonly number[];
  readonly data: Dataset;
  readonly batchSize?: number;
  readonly horizon?: number;
}

/** θ: the weights of the per-parameter network, 1762 numbers. Loss: cross-entropy of a validation batch after the update. */
export function perParameterMlp({ widths, data, batchSize = 128, horizon = 1000 }: LoptOptions): UnrolledProblem {
  const loss = (layers: readonly Layer[], { xs, ys }: Batch): tf.Tensor => crossEntropy(forward(layers, xs, gelu), ys);
  return {
    name: `per-parameter MLP on ${widths.join('-')}`,
    horizon,
    dataset: data,
    batchSize,
    initTheta: (random) => ({
      layers: layersOf([FEATURES, HIDDEN, HIDDEN, 2], (_, shape, std) => random.normal(shape, { std })),
    }),
    initState: (_, random) => {
      const params = layersOf(widths, (i, shape, std) => random.foldIn(i).normal(shape, { std }));
      const zeros = (): Layer[] =>
        params.map(({ bias, kernel }) => ({ bias: tf.zerosLike(bias), kernel: tf.zerosLike(kernel) }));
      return { params, momenta: MOMENTA.map(zeros) };
    },
    step: (theta, state, inner) => {
      const { params, momenta: before } = state as LoptState;
      const batch = inner.batch('train');
      const gradients = inner.grad((layers: Layer[]) => loss(layers, batch))(params);
      const momenta = MOMENTA.map((decay, k) =>
        gradients.map((gradient, i) => {
          const moved = (leaf: 'bias' | 'kernel'): tf.Tensor =>
            tf.add(tf.mul(before[k][i][leaf], decay), tf.mul(gradient[leaf], 1 - decay));
          return { bias: moved('bias'), kernel: moved('kernel') };
        }),
      );
      const time = tf.tanh(tf.sub(tf.div(tf.cast(inner.t, 'float32'), tf.tensor1d([...TIMES])), 1));
      const next = params.map((layer, i) => {
        const updated = (leaf: 'bias' | 'kernel'): tf.Tensor =>
          update(
            theta as Network,
            time,
            layer[leaf],
            gradients[i][leaf],
            momenta.map((moment) => moment[i][leaf]),
          );
        return { bias: updated('bias'), kernel: updated('kernel') };
      });
      return { state: { params: next, momenta }, loss: loss(next, inner.batch('validation')) };
    },
  };
}

/** Images of noise, 8 × 8 grey ones in the number and split of Fashion-MNIST's: only the shape matters to the time. */
export async function noiseImages(
  inputShape: readonly number[] = [64],
  rows: Readonly<Record<Split, number>> = { train: 48000, validation: 12000, test: 10000 },
): Promise<Dataset> {
  const size = inputShape.reduce((a, b) => a * b, 1);
  const random = new EagerRandom(seedKey(0));
  const splitOf = async (split: Split, stream: number): Promise<DataSplit> => {
    const draw = async (offset: number, shape: number[], high: number): Promise<Uint8Array> => {
      const drawn = random.foldIn(2 * stream + offset).integer(shape, 0, high);
      const values = Uint8Array.from(await drawn.data());
      drawn.dispose();
      return values;
    };
    const count = rows[split];
    return {
      rows: count,
      xs: {
        table: {
          name: `noise/${split}/xs`,
          values: await draw(0, [count, size], 256),
          dtype: 'uint8',
          rows: count,
          rowShape: [...inputShape],
        },
        decode: { scale: 1 / 255, offset: 0 },
      },
      ys: {
        table: {
          name: `noise/${split}/ys`,
          values: await draw(1, [count], 10),
          dtype: 'uint8',
          rows: count,
          rowShape: [],
        },
      },
    };
  };
  const splits = {
    train: await splitOf('train', 0),
    validation: await splitOf('validation', 1),
    test: await splitOf('test', 2),
  };
  return tableDataset({ name: 'noise', inputShape, classes: 10, splits });
}

/** The published inner MLP, on images of its size. */
export async function smallLopt(): Promise<UnrolledProblem> {
  return perParameterMlp({ widths: [64, 32, 32, 32, 10], data: await noiseImages() });
}

/** On MNIST as it is. */
export async function largeLopt(): Promise<UnrolledProblem> {
  return perParameterMlp({ widths: [784, 32, 10], data: await mnist({ normalise: 'unit' }) });
}
