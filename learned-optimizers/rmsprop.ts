import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, Registrar } from '../src/contracts';
import type { LayerHyperParameter } from './by-layer';
import { hyperWithDefaults, RANGES, registerHandDesigned } from './hyper-options';
import { average, perTensor } from './per-tensor';

export interface RmsPropOptions {
  /** α; 0.001 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** ρ, decay of the mean of squared gradients, in [0, 1); 0.9 by default. */
  readonly decay?: LayerHyperParameter;
  /** Heavy ball on the scaled gradient, in [0, 1); 0 by default, which keeps no velocity. */
  readonly momentum?: LayerHyperParameter;
  /** Added under the root; 1e-8 by default. */
  readonly epsilon?: LayerHyperParameter;
  /** Divide by the standard deviation of gradients instead of their root mean square; false by default. */
  readonly centered?: boolean;
}

const HYPER = {
  learningRate: { default: 0.001, ...RANGES.atLeastZero },
  decay: { default: 0.9, ...RANGES.decay },
  momentum: { default: 0, ...RANGES.decay },
  epsilon: { default: 1e-8, ...RANGES.positive },
} as const;

/**
 * RMSProp (Tieleman, Hinton 2012, lecture 6.5): v = ρv + (1−ρ)g², p −= α·g/√(v + ε). With momentum and `centered` as
 * Graves 2013, eq. 38–41: b = μb + g/√(v − ḡ² + ε), p −= αb. ε stands under the root as there, in TensorFlow and in
 * optax (PyTorch adds it outside).
 *
 * The centred second moment is kept as the variance c = v − ḡ², which is ρ(c + (1−ρ)(g − ḡ)²) after a step: the same
 * number without the difference of two large ones.
 */
export function rmsProp(options: RmsPropOptions = {}): LearnedOptimizer {
  const { centered = false, ...given } = options;
  const hyper = hyperWithDefaults(HYPER, given);
  const hasVelocity = hyper.momentum !== 0;
  return perTensor('rmsprop', hyper, {
    flags: { centered },
    init: (param) => ({
      second: tf.zerosLike(param),
      ...(centered && { mean: tf.zerosLike(param) }),
      ...(hasVelocity && { velocity: tf.zerosLike(param) }),
    }),
    update: ({ gradient, slots, hyper: { learningRate, decay, momentum, epsilon } }) => {
      const second = centered
        ? tf.mul(decay, tf.add(slots.second, tf.mul(tf.sub(1, decay), tf.square(tf.sub(gradient, slots.mean)))))
        : average(decay, slots.second, tf.square(gradient));
      const scaled = tf.div(gradient, tf.sqrt(tf.add(second, epsilon)));
      const velocity = hasVelocity ? tf.add(tf.mul(momentum, slots.velocity), scaled) : scaled;
      return {
        step: tf.mul(learningRate, velocity),
        slots: {
          second,
          ...(centered && { mean: average(decay, slots.mean, gradient) }),
          ...(hasVelocity && { velocity }),
        },
      };
    },
  });
}

export function registerRmsProp(registrar: Registrar): void {
  registerHandDesigned(registrar, 'rmsprop', {
    description: 'RMSProp (Tieleman, Hinton 2012); momentum and centred second moments (Graves 2013) as options',
    hyper: HYPER,
    flags: { centered: false },
    create: rmsProp,
  });
}
