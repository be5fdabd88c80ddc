import { z } from 'zod';
import type { OuterOptimizer } from '../../src/contracts';
import { parseOptions } from '../options';
import { commonOptions, outerOptimizer } from './core';

export const sgdOptions = z.strictObject(commonOptions);
export type SgdOptions = z.input<typeof sgdOptions>;

/** Stochastic gradient descent: θ ← θ − α·g. */
export function sgd(options: SgdOptions): OuterOptimizer {
  return createSgd(parseOptions(sgdOptions, options, 'outerOptimizer'));
}

export const createSgd = (options: z.output<typeof sgdOptions>): OuterOptimizer =>
  outerOptimizer({ name: 'sgd', slots: [], decrement: (g, _slots, rate) => g.map((x) => rate * x) }, options);
