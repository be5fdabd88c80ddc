import { z } from 'zod';
import { meta, type LearnedOptimizer, type Registrar } from '../src/contracts';
import { sgd } from './sgd';

export interface LearnableSgdOptions {
  /** Learning rate of θ₀; positive, 0.01 by default. */
  readonly learningRate?: number;
  /** Momentum of θ₀, in (0, 1); 0.9 by default. */
  readonly momentum?: number;
}

/**
 * The smallest learned optimizer: heavy-ball momentum whose θ is the logarithm of the learning rate and the logit of the
 * momentum (Metz et al. 2022, "Practical tradeoffs between memory, compute, and performance in learned optimizers",
 * where it is a base line).
 */
export function learnableSgd({ learningRate = 0.01, momentum = 0.9 }: LearnableSgdOptions = {}): LearnedOptimizer {
  return {
    ...sgd({ learningRate: meta.log(learningRate), momentum: meta.logit(momentum) }),
    name: 'learnable-sgd',
    // It has no schedules, and keeps its name.
    forHorizon: undefined,
  };
}

export function registerLearnableSgd({ optimizer }: Registrar): void {
  optimizer('learnable-sgd', {
    description: 'momentum SGD that learns its learning rate and its momentum',
    options: z.strictObject({
      learningRate: z.number().positive().default(0.01),
      momentum: z.number().gt(0).lt(1).default(0.9),
    }),
    create: learnableSgd,
  });
}
