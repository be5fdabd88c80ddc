/** Optimizers whose step is relative to the norm of the tensor that it moves. */
import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, Registrar } from '../src/contracts';
import type { LayerHyperParameter } from './by-layer';
import { hyperWithDefaults, RANGES, registerHandDesigned } from './hyper-options';
import { average, norm, perTensor, unbiased } from './per-tensor';

/** coefficient·size/other; 1 where either norm is 0, so that a tensor of zeros (a fresh bias) can leave zero. */
function trustRatio(size: tf.Tensor, other: tf.Tensor, coefficient: tf.Tensor | number = 1): tf.Tensor {
  const usable = tf.logicalAnd(tf.greater(size, 0), tf.greater(other, 0));
  return tf.where(usable, tf.mul(coefficient, tf.div(size, tf.where(usable, other, 1))), 1);
}

export interface LarsOptions {
  /** γ; 0.1 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** m in [0, 1); 0.9 by default. */
  readonly momentum?: LayerHyperParameter;
  /** β, added to the gradient as βp; 5e-4 by default. */
  readonly weightDecay?: LayerHyperParameter;
  /** η; 0.001 by default. */
  readonly trustCoefficient?: LayerHyperParameter;
}

const LARS = {
  learningRate: { default: 0.1, ...RANGES.atLeastZero },
  momentum: { default: 0.9, ...RANGES.decay },
  weightDecay: { default: 5e-4, ...RANGES.atLeastZero },
  trustCoefficient: { default: 0.001, ...RANGES.atLeastZero },
} as const;

/**
 * LARS (You, Gitman, Ginsburg 2017, Alg. 1): tensor by tensor λ = η‖p‖/(‖g‖ + β‖p‖), v = mv + γλ(g + βp), p −= v. The
 * learning rate is within the velocity, as there and in optax (in PyTorch's momentum it is outside). λ = 1 where ‖p‖ or
 * ‖g‖ + β‖p‖ is 0.
 */
export function lars(options: LarsOptions = {}): LearnedOptimizer {
  return perTensor('lars', hyperWithDefaults(LARS, options), {
    init: (param) => ({ velocity: tf.zerosLike(param) }),
    update: ({ param, gradient, slots, hyper: { learningRate, momentum, weightDecay, trustCoefficient } }) => {
      const size = norm(param);
      const ratio = trustRatio(size, tf.add(norm(gradient), tf.mul(weightDecay, size)), trustCoefficient);
      const decayed = tf.add(gradient, tf.mul(weightDecay, param));
      const velocity = tf.add(tf.mul(momentum, slots.velocity), tf.mul(tf.mul(learningRate, ratio), decayed));
      return { step: velocity, slots: { velocity } };
    },
  });
}

export interface LambOptions {
  /** η; 0.001 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** Decay of the mean of gradients, in [0, 1); 0.9 by default. */
  readonly beta1?: LayerHyperParameter;
  /** Decay of the mean of squared gradients, in [0, 1); 0.999 by default. */
  readonly beta2?: LayerHyperParameter;
  /** Added to √v̂, outside the root; 1e-6 by default. */
  readonly epsilon?: LayerHyperParameter;
  /** λ; 0.01 by default. */
  readonly weightDecay?: LayerHyperParameter;
}

const LAMB = {
  learningRate: { default: 0.001, ...RANGES.atLeastZero },
  beta1: { default: 0.9, ...RANGES.decay },
  beta2: { default: 0.999, ...RANGES.decay },
  epsilon: { default: 1e-6, ...RANGES.positive },
  weightDecay: { default: 0.01, ...RANGES.atLeastZero },
} as const;

/**
 * LAMB (You et al. 2020, Alg. 2, φ the identity): r = m̂/(√v̂ + ε), p −= η·‖p‖/‖r + λp‖·(r + λp), tensor by tensor. The ratio
 * is 1 where one of the two norms is 0, as in optax and TensorFlow Addons.
 */
export function lamb(options: LambOptions = {}): LearnedOptimizer {
  return perTensor('lamb', hyperWithDefaults(LAMB, options), {
    init: (param) => ({ first: tf.zerosLike(param), second: tf.zerosLike(param) }),
    update: ({ param, gradient, slots, steps, hyper: { learningRate, beta1, beta2, epsilon, weightDecay } }) => {
      const first = average(beta1, slots.first, gradient);
      const second = average(beta2, slots.second, tf.square(gradient));
      const root = tf.sqrt(unbiased(beta2, steps, second));
      const scaled = tf.div(unbiased(beta1, steps, first), tf.add(root, epsilon));
      const direction = tf.add(scaled, tf.mul(weightDecay, param));
      const ratio = trustRatio(norm(param), norm(direction));
      return { step: tf.mul(tf.mul(learningRate, ratio), direction), slots: { first, second } };
    },
  });
}

export function registerLayerwise(registrar: Registrar): void {
  registerHandDesigned(registrar, 'lars', {
    description: 'LARS: momentum with a trust ratio for each tensor (You, Gitman, Ginsburg 2017)',
    hyper: LARS,
    create: lars,
  });
  registerHandDesigned(registrar, 'lamb', {
    description: 'LAMB: Adam with a trust ratio for each tensor (You et al. 2020)',
    hyper: LAMB,
    create: lamb,
  });
}
