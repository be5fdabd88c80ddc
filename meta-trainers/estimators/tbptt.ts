import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { gradientWindowOptions, GradientOfWindows } from './gradient';

export const tbpttOptions = z.strictObject({
  ...gradientWindowOptions,
  /** Which loss is differentiated: the mean over the window's steps, or that of its last step. */
  windowLoss: z.enum(['mean', 'last']).default('mean'),
});
export type TbpttOptions = z.input<typeof tbpttOptions>;

/**
 * Truncated backpropagation through time (Williams and Peng 1990): every window of W steps is differentiated in reverse
 * from the state that it starts with, which is carried over from the window before and held fixed.
 *
 * g = (1/N) Σ_w ∂/∂θ (1/W) Σ_t L_t, with ∂s/∂θ = 0 at the window's start; with `windowLoss: 'last'`, of the window's last
 * loss. Biased: what θ did to the state before the window (through initState, too) is left out. NW inner steps an
 * estimate, forward steps counted.
 */
export function tbptt(options: TbpttOptions): GradientEstimator {
  return createTbptt(parseOptions(tbpttOptions, options, 'estimator'));
}

export const createTbptt = (options: z.output<typeof tbpttOptions>): GradientEstimator =>
  new GradientOfWindows(
    {
      name: 'tbptt',
      needs: 'reverse',
      scored: 'window',
      loss: options.windowLoss,
      derivatives: (_program, steps) => ({
        differentiation: { mode: 'reverse', steps, windowLoss: options.windowLoss },
      }),
    },
    options,
  );
