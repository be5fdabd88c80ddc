import { z } from 'zod';
import type { OuterOptimizer } from '../../src/contracts';
import { parseOptions } from '../options';
import { commonOptions, outerOptimizer } from './core';

const decay = z.number().min(0).lt(1);

export const adamOptions = z.strictObject({
  ...commonOptions,
  beta1: decay.default(0.9),
  beta2: decay.default(0.999),
  epsilon: z.number().positive().default(1e-8),
});
export type AdamOptions = z.input<typeof adamOptions>;

/**
 * Adam (Kingma and Ba 2015, Alg. 1): m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − α·m̂/(√v̂ + ε) with
 * m̂ = m/(1−β₁ⁿ), v̂ = v/(1−β₂ⁿ) at update n.
 */
export function adam(options: AdamOptions): OuterOptimizer {
  return createAdam(parseOptions(adamOptions, options, 'outerOptimizer'));
}

export const createAdam = (options: z.output<typeof adamOptions>): OuterOptimizer => {
  const { beta1, beta2, epsilon } = options;
  return outerOptimizer(
    {
      name: 'adam',
      slots: ['firstMoment', 'secondMoment'],
      decrement: (g, { firstMoment, secondMoment }, rate, n) => {
        const correction1 = 1 - Math.pow(beta1, n);
        const correction2 = 1 - Math.pow(beta2, n);
        return g.map((x, i) => {
          firstMoment[i] = beta1 * firstMoment[i] + (1 - beta1) * x;
          secondMoment[i] = beta2 * secondMoment[i] + (1 - beta2) * x * x;
          return (rate * (firstMoment[i] / correction1)) / (Math.sqrt(secondMoment[i] / correction2) + epsilon);
        });
      },
    },
    options,
  );
};
