/** Convolutional networks on images with class labels. */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import { ConfigurationError, type ConfigObject, type Dataset, type Registrar, type TensorTree } from '../src/contracts';
import { accuracy, crossEntropy } from './classification';
import {
  ACTIVATION_NAMES,
  ACTIVATIONS,
  denseForward,
  INIT_NAMES,
  kernelOf,
  type Activation,
  type DenseLayer,
  type Init,
} from './dense';
import {
  checkPositiveInteger,
  checkPositiveNumber,
  classesOf,
  withData,
  type MaybeLoading,
  type TaskOn,
} from './with-data';

const POOLINGS = ['none', 'max', 'average'] as const;
const FEATURES = ['mean', 'max', 'flatten'] as const;

export interface CnnOptions<D extends MaybeLoading = MaybeLoading> {
  /** Any data set of images with class labels: inputs [height, width] or [height, width, colours]. */
  readonly data: D;
  /** Of each convolution's result. */
  readonly channels?: readonly number[];
  /** Of each convolution; by default 2 for the first and 1 for the others. */
  readonly strides?: readonly number[];
  /** Side of the filters; padding is 'same'. */
  readonly kernelSize?: number;
  /** After each activation, over 2 × 2 places with stride 2. */
  readonly pooling?: (typeof POOLINGS)[number];
  /** What the linear layer sees of the last channels: their mean or maximum over all places, or all numbers. */
  readonly features?: (typeof FEATURES)[number];
  readonly activation?: Activation;
  readonly init?: Init;
  /** Factor of the initialisation's standard deviation; 1 by default. */
  readonly initScale?: number;
  readonly batchSize?: number;
}

const DEFAULTS = {
  channels: [32, 32, 32, 32] as readonly number[],
  kernelSize: 3,
  pooling: 'none',
  features: 'mean',
  activation: 'relu',
  init: 'he',
  initScale: 1,
  batchSize: 32,
} as const;

/** @throws ConfigurationError if inputs are no images. */
function imageShape({ name, inputShape }: Dataset): readonly [number, number, number] {
  const [height, width, colours = 1] = inputShape;
  if (inputShape.length === 2 || inputShape.length === 3) return [height, width, colours];
  throw new ConfigurationError(
    'data',
    'images [height, width] or [height, width, colours] for the task "cnn"',
    `inputs of the shape [${inputShape.join(', ')}] of "${name}"`,
    'Set data.flatten=false if they are images.',
  );
}

/** Side of the places after convolution and pooling. @throws ConfigurationError where a pool has less than two places. */
function sideAfter(side: number, strides: readonly number[], pooled: boolean): number {
  return strides.reduce((before, stride, i) => {
    const after = Math.ceil(before / stride);
    if (!pooled) return after;
    if (after < 2) {
      throw new ConfigurationError(
        'task.pooling',
        `at least 2 places a side after every convolution`,
        `${after} after number ${i + 1}`,
        'Take fewer layers, smaller strides, or no pooling.',
      );
    }
    return Math.floor(after / 2);
  }, side);
}

/**
 * Convolutions with 'same' padding, each with bias and activation, then `features` and a linear layer: cross-entropy loss,
 * metric `accuracy`. As it is by default, on CIFAR-10, it is in the form of learned_optimization's Conv_Cifar10 tasks (Metz et
 * al. 2022): 3 × 3 filters, the first of stride 2, ReLU, the mean over all places. Parameters: an array of layers {kernel
 * [side, side, in, out], bias [out]}, the last {kernel [in, classes], bias}; biases start at zero.
 * @throws ConfigurationError for numbers that are no positive integers, strides of another number than channels, a data set
 * that is not of labelled images, or pooling that nothing is left of.
 */
export function cnn<D extends MaybeLoading>(options: CnnOptions<D>): TaskOn<D> {
  const { channels, kernelSize, pooling, features, activation, init, initScale, batchSize } = {
    ...DEFAULTS,
    ...options,
  };
  const strides = options.strides ?? channels.map((_, i) => (i === 0 ? 2 : 1));
  channels.forEach((count, i) => checkPositiveInteger(`task.channels.${i}`, count));
  strides.forEach((stride, i) => checkPositiveInteger(`task.strides.${i}`, stride));
  if (channels.length === 0) throw new ConfigurationError('task.channels', 'at least one convolution', 'none');
  if (strides.length !== channels.length) {
    throw new ConfigurationError('task.strides', `${channels.length} numbers, one a convolution`, `${strides.length}`);
  }
  checkPositiveInteger('task.kernelSize', kernelSize);
  checkPositiveNumber('task.initScale', initScale);
  checkPositiveInteger('task.batchSize', batchSize);
  return withData(options.data, (dataset) => {
    const classes = classesOf('cnn', dataset);
    const [height, width, colours] = imageShape(dataset);
    const pooled = pooling !== 'none';
    const places = sideAfter(height, strides, pooled) * sideAfter(width, strides, pooled);
    const last = channels[channels.length - 1] * (features === 'flatten' ? places : 1);
    const shapes = [
      ...channels.map((out, i) => [kernelSize, kernelSize, i === 0 ? colours : channels[i - 1], out]),
      [last, classes],
    ];
    const logits = (params: TensorTree, xs: tf.Tensor): tf.Tensor => {
      const layers = params as unknown as DenseLayer[];
      const images: tf.Tensor4D = tf.reshape(tf.cast(xs, 'float32'), [xs.shape[0], height, width, colours]);
      const seen = strides.reduce((x, stride, i) => {
        const { kernel, bias } = layers[i];
        const z = tf.add(tf.conv2d(x, kernel as tf.Tensor4D, stride, 'same'), bias);
        const a = ACTIVATIONS[activation](z) as tf.Tensor4D;
        if (pooling === 'none') return a;
        return pooling === 'max' ? tf.maxPool(a, 2, 2, 'valid') : tf.avgPool(a, 2, 2, 'valid');
      }, images);
      return denseForward(layers.slice(-1), featuresOf(seen, features), activation);
    };
    return {
      name: 'cnn',
      dataset,
      batchSize,
      init: (random) =>
        shapes.map((shape) => ({
          kernel: kernelOf(random, shape, init, initScale),
          bias: tf.zeros([shape[shape.length - 1]]),
        })),
      loss: (params, { xs, ys }) => crossEntropy(logits(params, xs), ys),
      metrics: (params, { xs, ys }) => ({ accuracy: accuracy(logits(params, xs), ys) }),
    };
  });
}

/** [batch, height, width, channels] → [batch, …]. */
function featuresOf(x: tf.Tensor4D, features: (typeof FEATURES)[number]): tf.Tensor {
  if (features === 'mean') return tf.mean(x, [1, 2]);
  // Flattened by the linear layer.
  return features === 'max' ? tf.max(x, [1, 2]) : x;
}

/** The CIFAR-10 variant of Li et al. 2023, §5.2; what that does not say is as in `lopt-fashion8`. */
const LOPT: ConfigObject = {
  data: { name: 'cifar-10', normalise: 'unit' },
  task: { name: 'cnn', channels: [32, 32, 32, 32], activation: 'relu', batchSize: 32 },
  optimizer: { name: 'per-parameter-mlp' },
  objective: { metric: 'loss', split: 'validation', over: 'sum' },
  estimator: { name: 'nres', pairs: 10, sigma: 0.01, window: 100 },
  outerOptimizer: { name: 'adam', learningRate: 0.0003 },
  horizon: 1000,
  iterations: 10_000,
  seed: 0,
};

export function registerCnn({ task, preset }: Registrar): void {
  const count = z.int().positive();
  task('cnn', {
    description: 'convolutional network on a data set of images with class labels',
    options: z.strictObject({
      channels: z
        .array(count)
        .min(1)
        .default([...DEFAULTS.channels]),
      strides: z.array(count).optional(),
      kernelSize: count.default(DEFAULTS.kernelSize),
      pooling: z.enum(POOLINGS).default(DEFAULTS.pooling),
      features: z.enum(FEATURES).default(DEFAULTS.features),
      activation: z.enum(ACTIVATION_NAMES).default(DEFAULTS.activation),
      init: z.enum(INIT_NAMES).default(DEFAULTS.init),
      initScale: z.number().positive().default(DEFAULTS.initScale),
      batchSize: count.default(DEFAULTS.batchSize),
    }),
    create: async (options, context) => cnn({ ...options, data: await context.data() }),
  });
  preset('lopt-cifar10', {
    description: 'meta-train a per-parameter MLP on a convolutional network on CIFAR-10 (NRES §5.2); days on two cores',
    config: LOPT,
  });
}
