import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { Registrar, TensorTree } from '../src/contracts';
import { accuracy, crossEntropy } from './classification';
import { checkPositiveInteger, classesOf, withData, type MaybeLoading, type TaskOn } from './with-data';

/** Activations by name. GELU is the exact one, x·Φ(x). */
const ACTIVATIONS = {
  relu: (x: tf.Tensor) => tf.relu(x),
  tanh: (x: tf.Tensor) => tf.tanh(x),
  sigmoid: (x: tf.Tensor) => tf.sigmoid(x),
  gelu: (x: tf.Tensor) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
} as const;
export type MlpActivation = keyof typeof ACTIVATIONS;

/** Variance of a kernel's normal draws: LeCun et al. 1998 (1/fanIn), He et al. 2015 (2/fanIn), Glorot, Bengio 2010. */
const VARIANCES = {
  lecun: (fanIn: number) => 1 / fanIn,
  he: (fanIn: number) => 2 / fanIn,
  glorot: (fanIn: number, fanOut: number) => 2 / (fanIn + fanOut),
} as const;
export type MlpInit = keyof typeof VARIANCES;

export interface MlpOptions<D extends MaybeLoading = MaybeLoading> {
  /** Any data set with class labels; inputs are flattened. */
  readonly data: D;
  /** Widths of the hidden layers; [] is softmax regression. */
  readonly hidden?: readonly number[];
  readonly activation?: MlpActivation;
  readonly init?: MlpInit;
  readonly batchSize?: number;
}

interface MlpLayer extends Record<string, TensorTree> {
  bias: tf.Tensor;
  kernel: tf.Tensor;
}
type MlpParams = readonly MlpLayer[];

const DEFAULTS = { hidden: [32] as readonly number[], activation: 'relu', init: 'lecun', batchSize: 100 } as const;

/**
 * A multi-layer perceptron on class labels: cross-entropy loss, metric `accuracy`. Parameters: an array of layers
 * {kernel [in, out], bias [out]}; kernels are normal with the variance that `init` names (LeCun's by default, which the
 * reruns of the papers use for every activation), biases zero.
 * @throws ConfigurationError for widths or a batch size that are no positive integers, or a data set without labels.
 */
export function mlp<D extends MaybeLoading>(options: MlpOptions<D>): TaskOn<D> {
  const { hidden, activation, init, batchSize } = { ...DEFAULTS, ...options };
  hidden.forEach((width, i) => checkPositiveInteger(`task.hidden.${i}`, width));
  checkPositiveInteger('task.batchSize', batchSize);
  return withData(options.data, (dataset) => {
    const inputs = dataset.inputShape.reduce((a, b) => a * b, 1);
    const widths = [inputs, ...hidden, classesOf('mlp', dataset)];
    const logits = (params: MlpParams, xs: tf.Tensor): tf.Tensor =>
      params.reduce(
        (x, { kernel, bias }, i) => {
          const z = tf.add(tf.matMul(x as tf.Tensor2D, kernel as tf.Tensor2D), bias);
          return i + 1 < params.length ? ACTIVATIONS[activation](z) : z;
        },
        xs.shape.length === 2 ? xs : tf.reshape(xs, [xs.shape[0], inputs]),
      );
    return {
      name: 'mlp',
      dataset,
      batchSize,
      init: (random) =>
        widths.slice(1).map((out, i) => ({
          kernel: random.normal([widths[i], out], { std: Math.sqrt(VARIANCES[init](widths[i], out)) }),
          bias: tf.zeros([out]),
        })),
      loss: (params, { xs, ys }) => crossEntropy(logits(params as MlpParams, xs), ys),
      metrics: (params, { xs, ys }) => ({ accuracy: accuracy(logits(params as MlpParams, xs), ys) }),
    };
  });
}

export function registerMlp({ task }: Registrar): void {
  const width = z.int().positive();
  task('mlp', {
    description: 'multi-layer perceptron on a data set with class labels',
    options: z.strictObject({
      hidden: z.array(width).default([...DEFAULTS.hidden]),
      activation: z.enum(Object.keys(ACTIVATIONS) as [MlpActivation]).default(DEFAULTS.activation),
      init: z.enum(Object.keys(VARIANCES) as [MlpInit]).default(DEFAULTS.init),
      batchSize: width.default(DEFAULTS.batchSize),
    }),
    create: async (options, context) => mlp({ ...options, data: await context.data() }),
  });
}
