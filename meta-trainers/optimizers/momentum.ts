import { z } from 'zod';
import type { OuterOptimizer } from '../../src/contracts';
import { parseOptions } from '../options';
import { commonOptions, outerOptimizer } from './core';

export const momentumOptions = z.strictObject({
  ...commonOptions,
  /** μ */
  momentum: z.number().min(0).lt(1).default(0.9),
  nesterov: z.boolean().default(false),
});
export type MomentumOptions = z.input<typeof momentumOptions>;

/**
 * Heavy-ball momentum (Polyak 1964): v ← μv + g, θ ← θ − α·v; with `nesterov` (Sutskever et al. 2013, in the form that
 * needs the gradient at θ only) θ ← θ − α·(g + μv).
 */
export function momentum(options: MomentumOptions): OuterOptimizer {
  return createMomentum(parseOptions(momentumOptions, options, 'outerOptimizer'));
}

export const createMomentum = (options: z.output<typeof momentumOptions>): OuterOptimizer =>
  outerOptimizer(
    {
      name: 'momentum',
      slots: ['velocity'],
      decrement: (g, { velocity }, rate) => {
        for (let i = 0; i < g.length; i++) velocity[i] = options.momentum * velocity[i] + g[i];
        return velocity.map((v, i) => rate * (options.nesterov ? g[i] + options.momentum * v : v));
      },
    },
    options,
  );
