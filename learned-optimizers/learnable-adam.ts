import { z } from 'zod';
import { meta, withConfig, type LearnedOptimizer, type Registrar } from '../src/contracts';
import { adam } from './adam';

export interface LearnableAdamOptions {
  /** Of θ₀; positive, 0.001 by default. */
  readonly learningRate?: number;
  /** Of θ₀, in (0, 1); 0.9 by default. */
  readonly beta1?: number;
  /** Of θ₀, in (0, 1); 0.999 by default. */
  readonly beta2?: number;
  /** Of θ₀; positive, 1e-8 by default. */
  readonly epsilon?: number;
}

/**
 * Adam whose θ is the logarithms of its learning rate and ε and the logits of its decays (the base line `LearnableAdam` of
 * Metz et al. 2022, "Practical tradeoffs between memory, compute, and performance in learned optimizers", whose code
 * learns ln(1 − β): near β = 1 the two differ by a constant).
 */
export function learnableAdam(options: LearnableAdamOptions = {}): LearnedOptimizer {
  const { learningRate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  const initial = { learningRate, beta1, beta2, epsilon };
  return withConfig('learnable-adam', initial, {
    ...adam({
      learningRate: meta.log(learningRate),
      beta1: meta.logit(beta1),
      beta2: meta.logit(beta2),
      epsilon: meta.log(epsilon),
    }),
    name: 'learnable-adam',
    // It has no schedules, and keeps its name.
    forHorizon: undefined,
  });
}

export function registerLearnableAdam({ optimizer }: Registrar): void {
  const decay = z.number().gt(0).lt(1);
  const positive = z.number().positive();
  optimizer('learnable-adam', {
    description: 'Adam that learns its learning rate, both decays and ε',
    options: z.strictObject({
      learningRate: positive.default(0.001),
      beta1: decay.default(0.9),
      beta2: decay.default(0.999),
      epsilon: positive.default(1e-8),
    }),
    create: learnableAdam,
  });
}
