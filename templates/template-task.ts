/**
 * A task: what is trained inside. Parameters, a loss, and the data that it is measured on.
 *
 *     npx outerloop check ./template-task.ts
 *     npx outerloop train template-task-lr --plugin ./template-task.ts
 *
 * The second tunes the learning rate of SGD for it. Any preset of tasks takes it: `--set task=template-task`.
 */
import * as tf from '@tensorflow/tfjs';
import { arrayDataset, definePlugin, type Batch, type Task } from 'outerloop';
import { z } from 'zod';

const WEIGHTS = [2, -1];

/** 300 rows of y = 2x₀ − x₁ + 0.5. Your own numbers go here; `mnist()` and others are data sets too. */
function rows() {
  const xs = Float32Array.from({ length: 600 }, (_, i) => Math.sin(1 + 7 * i));
  const ys = Float32Array.from({ length: 300 }, (_, i) => WEIGHTS[0] * xs[2 * i] + WEIGHTS[1] * xs[2 * i + 1] + 0.5);
  return arrayDataset({ name: 'template-task', inputShape: [2], targetShape: [], xs, ys });
}

interface Params {
  readonly [name: string]: tf.Tensor;
  /** [2] */
  readonly w: tf.Tensor;
  /** [] */
  readonly b: tf.Tensor;
}

/** Written for one set of parameters and one minibatch, as plain TensorFlow.js. Every number that is drawn comes from `random`. */
export function templateTask({ batchSize = 16 }: { batchSize?: number } = {}): Task<Params> {
  const errors = ({ w, b }: Params, { xs, ys }: Batch): tf.Tensor => tf.sub(tf.add(tf.sum(tf.mul(xs, w), 1), b), ys);
  return {
    name: 'template-task',
    dataset: rows(),
    batchSize,
    init: (random) => ({ w: random.normal([2], { std: 0.5 }), b: tf.scalar(0) }),
    loss: (params, batch) => tf.mean(tf.square(errors(params, batch))),
    // Needs no gradient, so that it may be anything: an objective can be a metric.
    metrics: (params, batch) => ({ largestError: tf.max(tf.abs(errors(params, batch))) }),
  };
}

export const plugin = definePlugin(({ task, preset }) => {
  task('template-task', {
    description: 'a straight line through 300 points',
    options: z.strictObject({ batchSize: z.int().positive().default(16) }),
    create: templateTask,
  });
  preset('template-task-lr', {
    description: 'the learning rate of SGD for template-task, on the validation loss; seconds',
    config: {
      task: 'template-task',
      optimizer: { name: 'sgd', learningRate: 'meta.log(0.001)' },
      objective: { metric: 'loss', split: 'validation', over: 'mean' },
      horizon: 50,
      estimator: { name: 'nres', pairs: 4, sigma: 0.1, window: 10 },
      outerOptimizer: { name: 'adam', learningRate: 0.2 },
      iterations: 40,
    },
  });
});
