import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import type { Registrar, StepResult, TensorTree, UnrolledProblem } from '../src/contracts';

/** State size, and the number of leading +1 of the sign vector. */
const SIZE = 23;
const POSITIVE = 10;

export interface InfluenceBalancingOptions {
  /** Inner steps of an episode; Infinity, as published, never resets. */
  readonly horizon?: number;
  /** θ₀; 0.5 by default. */
  readonly initial?: number;
  /** Fresh steps after which θ is judged; 500 by default. */
  readonly evaluationSteps?: number;
}

/**
 * Influence balancing (Vicol et al. 2021, §5.1, after Tallec, Ollivier 2017): s' = A s + θ·sign with A_ii = A_{i,i+1} =
 * ½, sign = (+1 × 10, −1 × 13), s₀ = 1; loss ½(s⁽¹⁾ − 1)² after the step. The influence of θ on s⁽¹⁾ within a few steps
 * has the sign opposite to its influence in the long run: −6θ at the steady state, so that θ* = −1/6, the loss at
 * θ₀ = 0.5 is 8 and the steady-state gradient 36θ + 6.
 */
export function influenceBalancing(options: InfluenceBalancingOptions = {}): UnrolledProblem {
  const { horizon = Infinity, initial = 0.5, evaluationSteps = 500 } = options;
  const problem = {
    name: 'influence-balancing',
    horizon,
    initTheta: () => ({ theta: tf.scalar(initial) }),
    initState: () => ({ s: tf.ones([SIZE]) }),
    step: (theta: TensorTree, state: TensorTree): StepResult<TensorTree> => {
      const { theta: value } = theta as { theta: tf.Scalar };
      const { s: before } = state as { s: tf.Tensor };
      const sign = tf.tensor1d(Array.from({ length: SIZE }, (_, i) => (i < POSITIVE ? 1 : -1)));
      const next = tf.pad(tf.slice(before, 1, SIZE - 1), [[0, 1]]);
      const s = tf.add(tf.mul(tf.add(before, next), 0.5), tf.mul(value, sign));
      const loss = tf.mul(tf.square(tf.sub(tf.reshape(tf.slice(s, 0, 1), []), 1)), 0.5);
      return { state: { s }, loss };
    },
    describeTheta: (theta: TensorTree) => ({
      values: { theta: (theta as { theta: tf.Scalar }).theta.dataSync()[0] },
    }),
  };
  return {
    ...problem,
    evaluation: {
      metric: `loss after ${evaluationSteps} steps`,
      minimise: true,
      problem: { ...problem, name: 'influence-balancing (evaluation)', horizon: evaluationSteps },
      particles: 1,
      measure: 'last',
    },
  };
}

export function registerInfluenceBalancing({ problem, preset }: Registrar): void {
  problem('influence-balancing', {
    description: 'a linear system in which short-horizon gradients have the wrong sign',
    options: z.strictObject({
      initial: z.number().default(0.5),
      evaluationSteps: z.int().positive().default(500),
    }),
    create: (options, { horizon }) => influenceBalancing({ ...options, horizon }),
  });
  const config = {
    problem: { name: 'influence-balancing' },
    horizon: 'infinite',
    outerOptimizer: { name: 'sgd', learningRate: 1e-4 },
    iterations: 3000,
    seed: 0,
  };
  preset('influence-balancing', {
    description: 'influence balancing by PES, as published (PES §5.1)',
    config: { ...config, estimator: { name: 'pes', pairs: 500, sigma: 0.1, window: 1 } },
  });
}
