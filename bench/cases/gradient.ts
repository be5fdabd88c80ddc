/** Windows that give derivatives: truncated backpropagation through time, beside the same windows forward and tangent. */
import * as tf from '@tensorflow/tfjs';
import { mnist } from '../../datasets';
import { treeMap, treeMap2, type LearnedOptimizer, type TensorTree, type UnrolledProblem } from '../../src/contracts';
import { unroll } from '../../src/outer';
import { mlp } from '../../tasks';
import { smallLopt } from './lopt';

export interface GradientCase {
  readonly name: 'tbptt-window';
  readonly variant: string;
  readonly particles: number;
  /** W. The window's loss is the mean over its steps. */
  readonly window: number;
  readonly problem: () => Promise<UnrolledProblem>;
  /** A window of the engine is held against the same window of the float64 reference. */
  readonly check: {
    readonly particles: number;
    readonly steps: number;
    /**
     * Largest deviation of a particle's loss relative to its size, and of its gradient relative to the gradient's norm
     * (Euclidean). A tangent's is relative to that norm too: its direction has length one.
     */
    readonly tolerance: number;
  };
  readonly jax: { readonly program: string; readonly options: Readonly<Record<string, unknown>> };
}

const HORIZON = 200;
const MOMENTUM = 0.9;

/** SGD with momentum whose θ is the logarithm of each step's learning rate, [HORIZON]; all 0.01 at first. */
function ratePerStep(): LearnedOptimizer {
  return {
    name: 'SGD with a learning rate a step',
    initTheta: () => ({ logRates: tf.fill([HORIZON], Math.log(0.01)) }),
    optimizer: (theta) => ({
      init: (params) => ({ velocity: treeMap(params, (p) => tf.zerosLike(p)) }),
      update: ({ params, gradients, state, t }) => {
        const rate = tf.exp(tf.gather((theta as { logRates: tf.Tensor1D }).logRates, t));
        const { velocity: before } = state as { velocity: TensorTree };
        const velocity = treeMap2(before, gradients, (v, g) => tf.add(tf.mul(v, MOMENTUM), g));
        return { params: treeMap2(params, velocity, (p, v) => tf.sub(p, tf.mul(rate, v))), state: { velocity } };
      },
    }),
  };
}

/** 784-100-100-10, batch 100; the loss is that of a fresh validation batch after the update, as in `mnist-window`. */
async function mnistRates(): Promise<UnrolledProblem> {
  return unroll({
    task: mlp({ data: await mnist(), hidden: [100, 100], activation: 'relu', batchSize: 100 }),
    optimizer: ratePerStep(),
    objective: { metric: 'loss', split: 'validation', over: 'sum' },
    horizon: HORIZON,
  });
}

/** Three steps from one state: float32 losses and gradients agree to about 1e-7. */
const check = { particles: 2, steps: 3, tolerance: 1e-5 };

export const GRADIENT_CASES: readonly GradientCase[] = [
  {
    ...{ name: 'tbptt-window', variant: 'MNIST, a rate a step', particles: 16, window: 20, check },
    problem: mnistRates,
    jax: { program: 'mnist-tbptt', options: { particles: 16, window: 20 } },
  },
  {
    ...{ name: 'tbptt-window', variant: 'per-parameter MLP', particles: 4, window: 20, check },
    problem: smallLopt,
    jax: { program: 'lopt-tbptt', options: { particles: 4, window: 20 } },
  },
];
