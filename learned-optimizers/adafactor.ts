import * as tf from '@tensorflow/tfjs';
import type { LearnedOptimizer, Registrar } from '../src/contracts';
import type { LayerHyperParameter } from './by-layer';
import { hyperWithDefaults, RANGES, registerHandDesigned } from './hyper-options';
import { average, bounded, perTensor, type Slots } from './per-tensor';

export interface AdafactorOptions {
  /** Upper bound of the relative step ρₖ = min(learningRate, 1/√k) at update k = 1, 2, …; 0.01 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** c in the decay β̂₂ₖ = 1 − k^−c; at least 0, 0.8 by default. */
  readonly decayExponent?: LayerHyperParameter;
  /** ε₁, added to squared gradients; 1e-30 by default. */
  readonly epsilon1?: LayerHyperParameter;
  /** ε₂, least root mean square of a parameter that steps are relative to; 1e-3 by default. */
  readonly epsilon2?: LayerHyperParameter;
  /** d: updates whose root mean square is larger are scaled down to it; 1 by default. */
  readonly clippingThreshold?: LayerHyperParameter;
}

const HYPER = {
  learningRate: { default: 0.01, ...RANGES.atLeastZero },
  decayExponent: { default: 0.8, ...RANGES.atLeastZero },
  epsilon1: { default: 1e-30, ...RANGES.positive },
  epsilon2: { default: 1e-3, ...RANGES.positive },
  clippingThreshold: { default: 1, ...RANGES.positive },
} as const;

const rootMeanSquare = (x: tf.Tensor): tf.Tensor => tf.sqrt(tf.mean(tf.square(x)));

/**
 * Adafactor without momentum (Shazeer, Stern 2018, Alg. 4 and 5 with the hyperparameters of its §8). Of a tensor with two
 * axes or more, the second moment is kept as means over the last axis (R) and over the one before (C), V̂ = R·C/mean(R),
 * matrix by matrix along the axes before these, as in PyTorch (T5 and optax take the two largest axes, and factor only
 * large ones); of scalars and vectors it is kept whole. p −= max(ε₂, RMS(p))·ρₖ·U/max(1, RMS(U)/d), U = g/√V̂.
 */
export function adafactor(options: AdafactorOptions = {}): LearnedOptimizer {
  return perTensor('adafactor', hyperWithDefaults(HYPER, options), {
    init: (param): Slots => {
      const { shape } = param;
      if (shape.length < 2) return { second: tf.zerosLike(param) };
      return {
        row: tf.zeros(shape.slice(0, -1)),
        column: tf.zeros([...shape.slice(0, -2), shape[shape.length - 1]]),
      };
    },
    update: ({ param, gradient, slots, steps, hyper }): { step: tf.Tensor; slots: Slots } => {
      const g = bounded(gradient);
      const square = tf.add(tf.square(g), hyper.epsilon1);
      const decay = tf.sub(1, tf.pow(steps, tf.neg(hyper.decayExponent)));
      const relative = tf.minimum(hyper.learningRate, tf.rsqrt(steps));
      const step = (direction: tf.Tensor): tf.Tensor => {
        const clip = tf.maximum(tf.div(rootMeanSquare(direction), hyper.clippingThreshold), 1);
        const size = tf.mul(tf.maximum(rootMeanSquare(param), hyper.epsilon2), relative);
        return tf.mul(direction, tf.div(size, clip));
      };
      const axes = param.shape.length;
      if (axes < 2) {
        const second = average(decay, slots.second, square);
        return { step: step(tf.div(g, tf.sqrt(second))), slots: { second } };
      }
      const row = average(decay, slots.row, tf.mean(square, axes - 1));
      const column = average(decay, slots.column, tf.mean(square, axes - 2));
      // R/mean(R) is near 1: a product of R and C could fall below what float32 holds.
      const share = tf.div(row, tf.mean(row, axes - 2, true));
      const byRow = tf.div(g, tf.expandDims(tf.sqrt(share), -1));
      return { step: step(tf.div(byRow, tf.expandDims(tf.sqrt(column), -2))), slots: { row, column } };
    },
  });
}

export function registerAdafactor(registrar: Registrar): void {
  registerHandDesigned(registrar, 'adafactor', {
    description: 'Adafactor: factored second moments, steps relative to the parameter (Shazeer, Stern 2018)',
    hyper: HYPER,
    create: adafactor,
  });
}
