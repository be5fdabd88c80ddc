import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, Registrar } from '../src/contracts';
import type { LayerHyperParameter } from './by-layer';
import { hyperWithDefaults, RANGES, registerHandDesigned } from './hyper-options';
import { perTensor } from './per-tensor';

export interface AdagradOptions {
  /** α; 0.01 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** Added to √G, outside the root; 1e-10 by default. */
  readonly epsilon?: LayerHyperParameter;
  /** G at the start, in units of squared gradients; 0 by default. */
  readonly initialAccumulator?: LayerHyperParameter;
}

const HYPER = {
  learningRate: { default: 0.01, ...RANGES.atLeastZero },
  epsilon: { default: 1e-10, ...RANGES.positive },
  initialAccumulator: { default: 0, ...RANGES.atLeastZero },
} as const;

/**
 * Adagrad with a diagonal matrix (Duchi, Hazan, Singer 2011, Fig. 1): G += g², p −= α·g/(√G + ε). ε outside the root and
 * G = 0 at the start as in PyTorch (TensorFlow and optax start at 0.1).
 */
export function adagrad(options: AdagradOptions = {}): LearnedOptimizer {
  return perTensor('adagrad', hyperWithDefaults(HYPER, options), {
    init: (param, { initialAccumulator }) => ({ sum: tf.add(tf.zerosLike(param), initialAccumulator) }),
    update: ({ gradient, slots, hyper: { learningRate, epsilon } }) => {
      const sum = tf.add(slots.sum, tf.square(gradient));
      return { step: tf.mul(learningRate, tf.div(gradient, tf.add(tf.sqrt(sum), epsilon))), slots: { sum } };
    },
  });
}

export function registerAdagrad(registrar: Registrar): void {
  registerHandDesigned(registrar, 'adagrad', {
    description: 'Adagrad (Duchi, Hazan, Singer 2011)',
    hyper: HYPER,
    create: adagrad,
  });
}
