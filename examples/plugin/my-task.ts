/**
 * A plugin: a task of its own with data of its own. Wherever this file lies,
 *
 *     npx outerloop train mnist-lr-small --plugin ./my-task.ts --set task=sine
 *
 * tunes the learning-rate schedule of mnist-lr-small for it instead.
 */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset, definePlugin, type Task } from 'outerloop';
import { z } from 'zod';

interface Params {
  [name: string]: tf.Tensor;
  w1: tf.Tensor2D;
  b1: tf.Tensor1D;
  w2: tf.Tensor2D;
  b2: tf.Tensor1D;
}

/** y = sin 3x at 1000 points of [−1, 1]: steps of the golden ratio, so that every split covers the interval. */
function sineData() {
  const xs = Float32Array.from({ length: 1000 }, (_, i) => 2 * ((i * 0.6180339887498949) % 1) - 1);
  return arrayDataset({ name: 'sine', inputShape: [1], targetShape: [1], xs, ys: xs.map((x) => Math.sin(3 * x)) });
}

/** Written for one set of parameters and one minibatch, as plain TensorFlow.js. */
function sine(hidden: number): Task {
  const predict = (params: unknown, xs: tf.Tensor): tf.Tensor => {
    const { w1, b1, w2, b2 } = params as Params;
    return tf.add(tf.matMul(tf.tanh(tf.add(tf.matMul(xs as tf.Tensor2D, w1), b1)), w2), b2);
  };
  return {
    name: 'sine',
    dataset: sineData(),
    batchSize: 32,
    init: (random) => ({
      w1: random.normal([1, hidden], { std: 2 }),
      b1: random.uniform([hidden], { low: -2, high: 2 }),
      w2: random.normal([hidden, 1], { std: 1 / Math.sqrt(hidden) }),
      b2: tf.zeros([1]),
    }),
    loss: (params, { xs, ys }) => tf.mean(tf.square(tf.sub(predict(params, xs), ys))),
    // A prediction is right if it is within 0.1: no gradient, and no need of one.
    metrics: (params, { xs, ys }) => ({
      accuracy: tf.mean(tf.cast(tf.less(tf.abs(tf.sub(predict(params, xs), ys)), 0.1), 'float32')),
    }),
  };
}

export const plugin = definePlugin(({ task, preset }) => {
  task('sine', {
    description: 'regression of sin 3x by an MLP with one hidden layer',
    options: z.strictObject({ hidden: z.int().positive().default(16) }),
    create: ({ hidden }) => sine(hidden),
  });
  preset('sine-lr', {
    description: 'a constant learning rate for sine, on the validation loss; seconds',
    config: {
      task: 'sine',
      optimizer: { name: 'sgd', momentum: 0.9, learningRate: 'meta.log(0.001)' },
      objective: { metric: 'loss', split: 'validation', over: 'mean' },
      horizon: 50,
      estimator: { name: 'nres', pairs: 4, sigma: 0.1, window: 10 },
      outerOptimizer: { name: 'adam', learningRate: 0.1 },
      iterations: 20,
    },
  });
});
