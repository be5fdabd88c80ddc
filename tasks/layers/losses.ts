/** Losses and metrics of tf.layers by name, on the targets that a data set has. */
import * as tf from '@tensorflow/tfjs';
import { ConfigurationError } from '../../src/contracts';

/** (targets of the batch as the data set has them, output of the model) → one number a row, or a scalar. */
export type LossFunction = (yTrue: tf.Tensor, yPred: tf.Tensor) => tf.Tensor;

const NAMED = {
  categoricalCrossentropy: tf.metrics.categoricalCrossentropy,
  sparseCategoricalCrossentropy: tf.metrics.categoricalCrossentropy,
  binaryCrossentropy: tf.metrics.binaryCrossentropy,
  meanSquaredError: tf.metrics.meanSquaredError,
  meanAbsoluteError: tf.metrics.meanAbsoluteError,
} as const satisfies Record<string, LossFunction>;
export type LayersLoss = keyof typeof NAMED;
/** `accuracy`: largest output for class labels; above ½ for one output. */
export type LayersMetric = LayersLoss | 'accuracy';

/**
 * Targets of the output's shape: class labels one-hot (or as a column, for one output), everything else as it is.
 * `yPred` is [batch, …].
 */
function targetsLike(yTrue: tf.Tensor, yPred: tf.Tensor): tf.Tensor {
  const width = yPred.shape[yPred.shape.length - 1];
  if (yTrue.dtype === 'int32' && yTrue.shape.length === yPred.shape.length - 1 && width > 1) {
    return tf.cast(tf.oneHot(yTrue as tf.Tensor1D, width), 'float32');
  }
  const numbers = tf.cast(yTrue, 'float32');
  return numbers.shape.length < yPred.shape.length ? tf.reshape(numbers, yPred.shape) : numbers;
}

function accuracy(yTrue: tf.Tensor, yPred: tf.Tensor): tf.Tensor {
  const axis = yPred.shape.length - 1;
  const targets = targetsLike(yTrue, yPred);
  const hits =
    yPred.shape[axis] > 1
      ? tf.equal(tf.argMax(targets, axis), tf.argMax(yPred, axis))
      : tf.equal(tf.greater(targets, 0.5), tf.greater(yPred, 0.5));
  return tf.cast(hits, 'float32');
}

/** The mean over the batch of a named loss or metric, or of a function's result. @throws ConfigurationError */
export function meanOf(metric: LayersMetric | LossFunction, key: string): LossFunction {
  if (typeof metric === 'function') return (yTrue, yPred) => tf.mean(metric(yTrue, yPred));
  if (metric === 'accuracy') return (yTrue, yPred) => tf.mean(accuracy(yTrue, yPred));
  if (!Object.hasOwn(NAMED, metric)) {
    throw new ConfigurationError(key, `a function (yTrue, yPred) or one of ${Object.keys(NAMED).join(', ')}`, metric);
  }
  const loss = NAMED[metric];
  return (yTrue, yPred) => tf.mean(loss(targetsLike(yTrue, yPred), yPred));
}
