/**
 * A learned optimizer: an update rule that depends on θ, which is meta-trained.
 *
 *     npx outerloop check ./template-optimizer.ts
 *     npx outerloop train template-optimizer-quadratic --plugin ./template-optimizer.ts
 *
 * Any preset that trains an optimizer takes it: `--set optimizer=template-optimizer`.
 */
import * as tf from '@tensorflow/tfjs';
import { definePlugin, treeMap, treeMap2, withConfig, type LearnedOptimizer, type TensorTree } from 'outerloop';
import { z } from 'zod';

interface Theta {
  readonly [name: string]: tf.Tensor;
  /** Natural logarithm of the step size: θ ± σ is positive as it should be. */
  readonly logRate: tf.Tensor;
  /** Weights of the gradient, and of its sign: two features; more go here. */
  readonly weights: tf.Tensor;
}

/** p ← p − rate·(w₀·m + w₁·sign m) with a mean m of the gradients. θ: three numbers. */
export function templateOptimizer({ rate = 0.01 }: { rate?: number } = {}): LearnedOptimizer<Theta> {
  const decay = 0.9;
  // With its configuration it can be saved, and made again from a file.
  return withConfig(
    'template-optimizer',
    { rate },
    {
      name: 'template-optimizer',
      initTheta: () => ({ logRate: tf.scalar(Math.log(rate)), weights: tf.tensor1d([1, 0]) }),
      optimizer: ({ logRate, weights }: Theta) => ({
        // A tree of the shapes of `params`, so that a task may have any.
        init: (params: TensorTree) => treeMap(params, (p: tf.Tensor) => tf.zerosLike(p)),
        update: ({ params, gradients, state }) => {
          const means = treeMap2(gradients, state, (g: tf.Tensor, m: tf.Tensor) =>
            tf.add(tf.mul(m, decay), tf.mul(g, 1 - decay)),
          );
          const [w0, w1] = tf.unstack(weights);
          const next = treeMap2(params, means, (p: tf.Tensor, m: tf.Tensor) =>
            tf.sub(p, tf.mul(tf.exp(logRate), tf.add(tf.mul(w0, m), tf.mul(w1, tf.sign(m))))),
          );
          return { params: next, state: means };
        },
      }),
    },
  );
}

export const plugin = definePlugin(({ optimizer, preset }) => {
  optimizer('template-optimizer', {
    description: 'learned: a weighted sum of the mean gradient and its sign',
    options: z.strictObject({ rate: z.number().positive().default(0.01) }),
    create: templateOptimizer,
  });
  preset('template-optimizer-quadratic', {
    description: 'meta-trains template-optimizer on a quadratic; seconds',
    config: {
      task: { name: 'quadratic', size: 10 },
      optimizer: 'template-optimizer',
      objective: { metric: 'loss', split: 'train', over: 'mean' },
      horizon: 50,
      estimator: { name: 'pes', pairs: 10, sigma: 0.1, window: 10 },
      outerOptimizer: { name: 'adam', learningRate: 0.1 },
      iterations: 50,
    },
  });
});
