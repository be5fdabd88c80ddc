import { z } from 'zod';
import { meta, withConfig, type LearnedOptimizer, type Registrar } from '../src/contracts';
import { sgd } from './sgd';

export interface LearnableSgdmOptions {
  /** Learning rate of θ₀; positive, 0.01 by default. */
  readonly learningRate?: number;
  /** Momentum of θ₀, in (0, 1); 0.9 by default. */
  readonly momentum?: number;
}

/**
 * Heavy-ball momentum whose θ is the logarithm of the learning rate and the logit of the momentum (the base line
 * `LearnableSGDM` of Metz et al. 2022, "Practical tradeoffs between memory, compute, and performance in learned
 * optimizers"). Their code learns ln(1 − μ), which leaves the range of a momentum where it exceeds 0; near μ = 1 the two
 * differ by a constant.
 */
export function learnableSgdm({ learningRate = 0.01, momentum = 0.9 }: LearnableSgdmOptions = {}): LearnedOptimizer {
  const initial = { learningRate, momentum };
  return withConfig('learnable-sgdm', initial, {
    ...sgd({ learningRate: meta.log(learningRate), momentum: meta.logit(momentum) }),
    name: 'learnable-sgdm',
    // It has no schedules, and keeps its name.
    forHorizon: undefined,
  });
}

export function registerLearnableSgdm({ optimizer }: Registrar): void {
  optimizer('learnable-sgdm', {
    description: 'momentum SGD that learns its learning rate and its momentum',
    options: z.strictObject({
      learningRate: z.number().positive().default(0.01),
      momentum: z.number().gt(0).lt(1).default(0.9),
    }),
    create: learnableSgdm,
  });
}
