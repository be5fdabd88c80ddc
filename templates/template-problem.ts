/**
 * A problem: a loop of your own, s_{t+1}, L_t = step(θ, s_t). Whatever θ is, the mean of L_t is minimised over it.
 *
 *     npx outerloop check ./template-problem.ts
 *     npx outerloop train template-problem-fit --plugin ./template-problem.ts
 */
import * as tf from '@tensorflow/tfjs';
import { definePlugin, type UnrolledProblem } from 'outerloop';
import { z } from 'zod';

interface Theta {
  readonly [name: string]: tf.Tensor;
  /** Natural logarithm of the rate k: θ ± σ is positive as it should be. */
  readonly logRate: tf.Tensor;
}

interface State {
  readonly [name: string]: tf.Tensor;
  readonly temperature: tf.Tensor;
}

const [ROOM, START, TRUE_RATE] = [20, 90, 0.1];

/** A cup that cools, s ← s + k·(20 − s), held against what a thermometer has shown: k is found from a wrong guess. */
export function templateProblem({ horizon = 40 }: { horizon?: number } = {}): UnrolledProblem<Theta, State> {
  const measured = Array.from({ length: horizon }, (_, t) => ROOM + (START - ROOM) * (1 - TRUE_RATE) ** (t + 1));
  return {
    name: 'template-problem',
    horizon,
    initTheta: () => ({ logRate: tf.scalar(Math.log(0.02)) }),
    // Random starts would be drawn here, from `random`.
    initState: () => ({ temperature: tf.scalar(START) }),
    // `t` is a tensor, which differs between particles; `inner` has keyed randomness and gradients, too.
    step: ({ logRate }, { temperature }, { t }) => {
      const next = tf.add(temperature, tf.mul(tf.exp(logRate), tf.sub(ROOM, temperature)));
      const loss = tf.square(tf.div(tf.sub(next, tf.gather(tf.tensor1d(measured), t)), START - ROOM));
      return { state: { temperature: next }, loss };
    },
    describeTheta: ({ logRate }) => ({ values: { rate: Math.exp(logRate.dataSync()[0]) } }),
  };
}

export const plugin = definePlugin(({ problem, preset }) => {
  problem('template-problem', {
    description: 'the rate at which a cup cools',
    options: z.strictObject({ horizon: z.int().positive().default(40) }),
    create: templateProblem,
  });
  preset('template-problem-fit', {
    description: 'finds the rate of template-problem; seconds',
    config: {
      problem: 'template-problem',
      estimator: { name: 'pes', pairs: 10, sigma: 0.1, window: 10 },
      outerOptimizer: { name: 'adam', learningRate: 0.05 },
      iterations: 60,
    },
  });
});
