import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  checkHyperParameter,
  hyperConfig,
  resolveHyperParameter,
  treeMap,
  treeMap2,
  type HyperParameter,
  type LearnedOptimizer,
  type Registrar,
  type TensorTree,
} from '../src/contracts';
import { handDesigned } from './hand-designed';

export interface AdamOptions {
  /** α; 0.001 by default. */
  readonly learningRate?: HyperParameter;
  /** Decay of the mean of gradients, in [0, 1); 0.9 by default. */
  readonly beta1?: HyperParameter;
  /** Decay of the mean of squared gradients, in [0, 1); 0.999 by default. */
  readonly beta2?: HyperParameter;
  /** Added to √v̂, outside the root; 1e-8 by default. */
  readonly epsilon?: HyperParameter;
  /** Decoupled: p −= αλp beside the step; 0 by default. */
  readonly weightDecay?: HyperParameter;
}

/**
 * Adam (Kingma, Ba 2015, Alg. 1), with decoupled weight decay (Loshchilov, Hutter 2019, Alg. 2) as an option:
 * p −= α·(m̂/(√v̂ + ε) + λp).
 */
export function adam(options: AdamOptions = {}): LearnedOptimizer {
  const { learningRate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  checkHyperParameter('learningRate', learningRate, { min: 0 });
  checkHyperParameter('beta1', beta1, { min: 0, below: 1 });
  checkHyperParameter('beta2', beta2, { min: 0, below: 1 });
  checkHyperParameter('epsilon', epsilon, { min: 0 });
  checkHyperParameter('weightDecay', weightDecay, { min: 0 });
  return handDesigned('adam', { learningRate, beta1, beta2, epsilon, weightDecay }, (at) => ({
    init: (params) => ({
      first: treeMap(params, (p) => tf.zerosLike(p)),
      second: treeMap(params, (p) => tf.zerosLike(p)),
    }),
    update: ({ params, gradients, state, t }) => {
      const hyper = at(t);
      const before = state as { first: TensorTree; second: TensorTree };
      const average = (old: TensorTree, beta: tf.Tensor, of: (g: tf.Tensor) => tf.Tensor): TensorTree =>
        treeMap2(old, gradients, (m, g) => tf.add(tf.mul(beta, m), tf.mul(tf.sub(1, beta), of(g))));
      const first = average(before.first, hyper.beta1, (g) => g);
      const second = average(before.second, hyper.beta2, (g) => tf.square(g));
      const steps = tf.add(tf.cast(t, 'float32'), 1);
      const correction1 = tf.sub(1, tf.pow(hyper.beta1, steps));
      const correction2 = tf.sub(1, tf.pow(hyper.beta2, steps));
      const direction = treeMap2(first, second, (m, v) =>
        tf.div(tf.div(m, correction1), tf.add(tf.sqrt(tf.div(v, correction2)), hyper.epsilon)),
      );
      const decayed =
        weightDecay === 0 ? direction : treeMap2(direction, params, (d, p) => tf.add(d, tf.mul(hyper.weightDecay, p)));
      return {
        params: treeMap2(params, decayed, (p, d) => tf.sub(p, tf.mul(hyper.learningRate, d))),
        state: { first, second },
      };
    },
  }));
}

export function registerAdam({ optimizer }: Registrar): void {
  const decay = hyperConfig({ min: 0, below: 1 });
  const positive = hyperConfig({ min: 0 });
  optimizer('adam', {
    description: 'Adam; decoupled weight decay as an option',
    options: z.strictObject({
      learningRate: positive.default(0.001),
      beta1: decay.default(0.9),
      beta2: decay.default(0.999),
      epsilon: positive.default(1e-8),
      weightDecay: positive.default(0),
    }),
    create: async (options, context) =>
      adam({
        learningRate: await resolveHyperParameter(options.learningRate, context, 'learningRate'),
        beta1: await resolveHyperParameter(options.beta1, context, 'beta1'),
        beta2: await resolveHyperParameter(options.beta2, context, 'beta2'),
        epsilon: await resolveHyperParameter(options.epsilon, context, 'epsilon'),
        weightDecay: await resolveHyperParameter(options.weightDecay, context, 'weightDecay'),
      }),
  });
}
