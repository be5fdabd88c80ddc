import { z } from 'zod';
import { meta, withConfig, type LearnedOptimizer, type Registrar } from '../src/contracts';
import { sgd } from './sgd';

export interface LearnableSgdOptions {
  /** Learning rate of θ₀; positive, 0.01 by default. */
  readonly learningRate?: number;
}

/**
 * The smallest learned optimizer: SGD whose θ is the logarithm of the learning rate (the base line `LearnableSGD` of
 * Metz et al. 2022, "Practical tradeoffs between memory, compute, and performance in learned optimizers").
 */
export function learnableSgd({ learningRate = 0.01 }: LearnableSgdOptions = {}): LearnedOptimizer {
  const initial = { learningRate };
  return withConfig('learnable-sgd', initial, {
    ...sgd({ learningRate: meta.log(learningRate) }),
    name: 'learnable-sgd',
    // It has no schedules, and keeps its name.
    forHorizon: undefined,
  });
}

export function registerLearnableSgd({ optimizer }: Registrar): void {
  optimizer('learnable-sgd', {
    description: 'SGD that learns its learning rate',
    options: z.strictObject({ learningRate: z.number().positive().default(0.01) }),
    create: learnableSgd,
  });
}
