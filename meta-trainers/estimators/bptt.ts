import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { gradientOptions, GradientOfWindows } from './gradient';

export const bpttOptions = z.strictObject(gradientOptions);
export type BpttOptions = z.input<typeof bpttOptions>;

/**
 * Backpropagation through time (Werbos 1990): the exact gradient of an episode's mean loss, through initState and all T
 * steps in reverse. Every estimate starts a new episode. The engine keeps states or recomputes steps as memory allows.
 *
 * g = (1/N) Σ_w d/dθ (1/T) Σ_t L_t. Unbiased. NT inner steps an estimate, forward steps counted.
 */
export function bptt(options: BpttOptions = {}): GradientEstimator {
  return createBptt(parseOptions(bpttOptions, options, 'estimator'));
}

export const createBptt = (options: z.output<typeof bpttOptions>): GradientEstimator =>
  new GradientOfWindows(
    {
      name: 'bptt',
      needs: 'reverse',
      scored: 'horizon',
      loss: 'mean',
      derivatives: (_program, steps) => ({
        differentiation: { mode: 'reverse', steps, windowLoss: 'mean', start: true },
      }),
    },
    { ...options, lockstep: true, offsets: 'stratified' },
    options,
  );
