/** Relatives of Adam: one average of gradients, one of something squared. */
import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, Registrar } from '../src/contracts';
import type { LayerHyperParameter } from './by-layer';
import { hyperWithDefaults, RANGES, registerHandDesigned } from './hyper-options';
import { average, bounded, perTensor, unbiased } from './per-tensor';

interface AdamVariantOptions {
  /** α; 0.001 by default (Yogi 0.01). */
  readonly learningRate?: LayerHyperParameter;
  /** Decay of the mean of gradients, in [0, 1); 0.9 by default. */
  readonly beta1?: LayerHyperParameter;
  /** Decay of the second moment, in [0, 1); 0.999 by default. */
  readonly beta2?: LayerHyperParameter;
  readonly epsilon?: LayerHyperParameter;
}

const HYPER = {
  learningRate: { default: 0.001, ...RANGES.atLeastZero },
  beta1: { default: 0.9, ...RANGES.decay },
  beta2: { default: 0.999, ...RANGES.decay },
  epsilon: { default: 1e-8, ...RANGES.positive },
} as const;

const zeros = (param: tf.Tensor) => ({ first: tf.zerosLike(param), second: tf.zerosLike(param) });

/** NAdamW's options; ε 1e-8 by default, outside the root. */
export interface NAdamWOptions extends AdamVariantOptions {
  /** Decoupled: p −= αλp beside the step; 0.01 by default. */
  readonly weightDecay?: LayerHyperParameter;
}

const NADAMW = { ...HYPER, weightDecay: { default: 0.01, ...RANGES.atLeastZero } } as const;

/**
 * Adam with Nesterov's momentum (Dozat 2016, Alg. 2, with μₜ = β₁ throughout) and decoupled weight decay (Loshchilov,
 * Hutter 2019, Alg. 2), in optax's convention: after update k = 1, 2, …
 * m̂ = β₁m/(1 − β₁^(k+1)) + (1 − β₁)g/(1 − β₁^k), v̂ = v/(1 − β₂^k), p −= α·(m̂/(√v̂ + ε) + λp).
 * (PyTorch lets μₜ grow by Dozat's schedule; give `beta1` one for that.)
 */
export function nadamW(options: NAdamWOptions = {}): LearnedOptimizer {
  return perTensor('nadamw', hyperWithDefaults(NADAMW, options), {
    init: zeros,
    update: ({ param, gradient, slots, steps, hyper: { learningRate, beta1, beta2, epsilon, weightDecay } }) => {
      const first = average(beta1, slots.first, gradient);
      const second = average(beta2, slots.second, tf.square(gradient));
      const ahead = tf.add(
        unbiased(beta1, tf.add(steps, 1), tf.mul(beta1, first)),
        unbiased(beta1, steps, tf.mul(tf.sub(1, beta1), gradient)),
      );
      const direction = tf.div(ahead, tf.add(tf.sqrt(unbiased(beta2, steps, second)), epsilon));
      return {
        step: tf.mul(learningRate, tf.add(direction, tf.mul(weightDecay, param))),
        slots: { first, second },
      };
    },
  });
}

/** AdaBelief's options; ε 1e-16 by default, added to the second moment at every step and to its root. */
export type AdaBeliefOptions = AdamVariantOptions;

const ADABELIEF = { ...HYPER, epsilon: { default: 1e-16, ...RANGES.positive } } as const;

/**
 * AdaBelief (Zhuang et al. 2020, Alg. 2): m = β₁m + (1−β₁)g, s = β₂s + (1−β₂)(g − m)² + ε, both without their bias,
 * p −= α·m̂/(√ŝ + ε).
 */
export function adaBelief(options: AdaBeliefOptions = {}): LearnedOptimizer {
  return perTensor('adabelief', hyperWithDefaults(ADABELIEF, options), {
    init: zeros,
    update: ({ gradient, slots, steps, hyper: { learningRate, beta1, beta2, epsilon } }) => {
      const first = average(beta1, slots.first, gradient);
      const second = tf.add(average(beta2, slots.second, tf.square(tf.sub(gradient, first))), epsilon);
      const root = tf.sqrt(unbiased(beta2, steps, second));
      return {
        step: tf.mul(learningRate, tf.div(unbiased(beta1, steps, first), tf.add(root, epsilon))),
        slots: { first, second },
      };
    },
  });
}

/** Yogi's options; α 0.01, ε 1e-3 by default, outside the root. */
export interface YogiOptions extends AdamVariantOptions {
  /** v at the start, in units of squared gradients; 1e-6 by default. */
  readonly initialAccumulator?: LayerHyperParameter;
}

const YOGI = {
  ...HYPER,
  learningRate: { default: 0.01, ...RANGES.atLeastZero },
  epsilon: { default: 1e-3, ...RANGES.positive },
  initialAccumulator: { default: 1e-6, ...RANGES.atLeastZero },
} as const;

/**
 * Yogi (Zaheer et al. 2018, Alg. 2): v −= (1−β₂)·sign(v − g²)·g², p −= α·m̂/(√v̂ + ε), with Adam's bias corrections and
 * an initial v above 0 as in optax and TensorFlow Addons (the paper's listing has neither).
 */
export function yogi(options: YogiOptions = {}): LearnedOptimizer {
  return perTensor('yogi', hyperWithDefaults(YOGI, options), {
    init: (param, { initialAccumulator }) => ({
      first: tf.zerosLike(param),
      second: tf.add(tf.zerosLike(param), initialAccumulator),
    }),
    update: ({ gradient, slots, steps, hyper: { learningRate, beta1, beta2, epsilon } }) => {
      // Two squares that are both infinite would have no difference.
      const g = bounded(gradient);
      const square = tf.square(g);
      const first = average(beta1, slots.first, g);
      const change = tf.mul(tf.sign(tf.sub(slots.second, square)), square);
      const second = tf.sub(slots.second, tf.mul(tf.sub(1, beta2), change));
      const root = tf.sqrt(unbiased(beta2, steps, second));
      return {
        step: tf.mul(learningRate, tf.div(unbiased(beta1, steps, first), tf.add(root, epsilon))),
        slots: { first, second },
      };
    },
  });
}

/** RAdam's options; ε 1e-8 by default, outside the root. */
export interface RAdamOptions extends AdamVariantOptions {
  /** Updates are scaled by the second moment once ρₜ is above this; at least 4, 5 by default. */
  readonly threshold?: LayerHyperParameter;
}

const RADAM = { ...HYPER, threshold: { default: 5, min: 4 } } as const;

/**
 * RAdam (Liu et al. 2020, Alg. 2): with ρ∞ = 2/(1−β₂) − 1 and ρₜ = ρ∞ − 2tβ₂ᵗ/(1−β₂ᵗ), p −= α·rₜ·m̂/(√v̂ + ε) once
 * ρₜ > threshold, rₜ² = (ρₜ−4)(ρₜ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρₜ), and p −= α·m̂ before. The threshold 5 is that of the authors'
 * code, PyTorch and optax (the paper writes 4, and no ε).
 */
export function rAdam(options: RAdamOptions = {}): LearnedOptimizer {
  return perTensor('radam', hyperWithDefaults(RADAM, options), {
    init: zeros,
    update: ({ gradient, slots, steps, hyper: { learningRate, beta1, beta2, epsilon, threshold } }) => {
      const first = average(beta1, slots.first, gradient);
      const second = average(beta2, slots.second, tf.square(gradient));
      const mean = unbiased(beta1, steps, first);
      const limit = tf.sub(tf.div(2, tf.sub(1, beta2)), 1);
      // Through expm1: 1 − β₂ᵗ loses four digits in float32 where t is small, and ρₜ is a difference of large numbers.
      const exponent = tf.mul(steps, tf.log1p(tf.sub(beta2, 1)));
      const rho = tf.add(limit, tf.mul(tf.mul(steps, 2), tf.div(tf.exp(exponent), tf.expm1(exponent))));
      const rectified = tf.greater(rho, threshold);
      // Numbers with a root where the root is not used.
      const [now, end] = [tf.where(rectified, rho, 5), tf.where(rectified, limit, 6)];
      const above = (x: tf.Tensor): tf.Tensor => tf.mul(tf.sub(x, 4), tf.sub(x, 2));
      const rectification = tf.sqrt(tf.div(tf.mul(above(now), end), tf.mul(above(end), now)));
      const scaled = tf.div(mean, tf.add(tf.sqrt(unbiased(beta2, steps, second)), epsilon));
      const direction = tf.where(tf.broadcastTo(rectified, mean.shape), tf.mul(rectification, scaled), mean);
      return { step: tf.mul(learningRate, direction), slots: { first, second } };
    },
  });
}

export function registerAdamVariants(registrar: Registrar): void {
  registerHandDesigned(registrar, 'nadamw', {
    description: 'Adam with Nesterov momentum (Dozat 2016) and decoupled weight decay',
    hyper: NADAMW,
    create: nadamW,
  });
  registerHandDesigned(registrar, 'adabelief', {
    description: 'AdaBelief: steps by the belief in gradients (Zhuang et al. 2020)',
    hyper: ADABELIEF,
    create: adaBelief,
  });
  registerHandDesigned(registrar, 'yogi', {
    description: 'Yogi: Adam with an additive second moment (Zaheer et al. 2018)',
    hyper: YOGI,
    create: yogi,
  });
  registerHandDesigned(registrar, 'radam', {
    description: 'RAdam: Adam with a rectified warm-up (Liu et al. 2020)',
    hyper: RADAM,
    create: rAdam,
  });
}
