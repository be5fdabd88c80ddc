import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, Registrar } from '../src/contracts';
import type { LayerHyperParameter } from './by-layer';
import { hyperWithDefaults, RANGES, registerHandDesigned } from './hyper-options';
import { average, perTensor } from './per-tensor';

export interface LionOptions {
  /** η; 1e-4 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** How much of the momentum is in the step, in [0, 1); 0.9 by default. */
  readonly beta1?: LayerHyperParameter;
  /** Decay of the momentum, in [0, 1); 0.99 by default. */
  readonly beta2?: LayerHyperParameter;
  /** λ, decoupled: p −= ηλp beside the step; 0 by default. */
  readonly weightDecay?: LayerHyperParameter;
}

const HYPER = {
  learningRate: { default: 1e-4, ...RANGES.atLeastZero },
  beta1: { default: 0.9, ...RANGES.decay },
  beta2: { default: 0.99, ...RANGES.decay },
  weightDecay: { default: 0, ...RANGES.atLeastZero },
} as const;

/**
 * Lion (Chen et al. 2023, Alg. 2): p −= η·(sign(β₁m + (1−β₁)g) + λp), then m = β₂m + (1−β₂)g. The sign has no derivative,
 * so that gradients by β₁ and β₂ are zero: use an evolutionary estimator for these.
 */
export function lion(options: LionOptions = {}): LearnedOptimizer {
  return perTensor('lion', hyperWithDefaults(HYPER, options), {
    init: (param) => ({ first: tf.zerosLike(param) }),
    update: ({ param, gradient, slots, hyper: { learningRate, beta1, beta2, weightDecay } }) => {
      const direction = tf.add(tf.sign(average(beta1, slots.first, gradient)), tf.mul(weightDecay, param));
      return { step: tf.mul(learningRate, direction), slots: { first: average(beta2, slots.first, gradient) } };
    },
  });
}

export function registerLion(registrar: Registrar): void {
  registerHandDesigned(registrar, 'lion', {
    description: 'Lion: the sign of a momentum (Chen et al. 2023)',
    hyper: HYPER,
    create: lion,
  });
}
