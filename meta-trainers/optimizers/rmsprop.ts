import { z } from 'zod';
import type { OuterOptimizer } from '../../src/contracts';
import { parseOptions } from '../options';
import { commonOptions, outerOptimizer } from './core';

export const rmspropOptions = z.strictObject({
  ...commonOptions,
  /** ρ */
  decay: z.number().min(0).lt(1).default(0.9),
  epsilon: z.number().positive().default(1e-8),
});
export type RmspropOptions = z.input<typeof rmspropOptions>;

/**
 * RMSProp (Tieleman and Hinton 2012, lecture 6.5): r ← ρr + (1−ρ)g², θ ← θ − α·g/(√r + ε). r starts at 0 and is not
 * corrected for it, so that the first steps are up to 1/√(1−ρ) times α.
 */
export function rmsprop(options: RmspropOptions): OuterOptimizer {
  return createRmsprop(parseOptions(rmspropOptions, options, 'outerOptimizer'));
}

export const createRmsprop = (options: z.output<typeof rmspropOptions>): OuterOptimizer => {
  const { decay, epsilon } = options;
  return outerOptimizer(
    {
      name: 'rmsprop',
      slots: ['meanSquare'],
      decrement: (g, { meanSquare }, rate) =>
        g.map((x, i) => {
          meanSquare[i] = decay * meanSquare[i] + (1 - decay) * x * x;
          return (rate * x) / (Math.sqrt(meanSquare[i]) + epsilon);
        }),
    },
    options,
  );
};
