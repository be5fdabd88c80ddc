import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { EvolutionStrategy, windowOptions } from './evolution';

export const truncatedEsOptions = z.strictObject(windowOptions);
export type TruncatedEsOptions = z.input<typeof truncatedEsOptions>;

/**
 * Truncated evolution strategies: every window of W steps starts both partners from the worker's mean state and
 * perturbs them within the window only; the mean state then runs the window with θ itself.
 *
 * Per pair and window g = ε·Σ_t (L_t⁺ − L_t⁻) / (2σ²W), ε ~ N(0, σ²I) fresh each window. Biased: its mean is the gradient
 * of the window's mean loss with the state at the window's start held fixed. 3NW inner steps an estimate. The mean
 * losses and metrics are those of the perturbed partners.
 */
export function truncatedEs(options: TruncatedEsOptions): GradientEstimator {
  return createTruncatedEs(parseOptions(truncatedEsOptions, options, 'estimator'));
}

export const createTruncatedEs = (options: z.output<typeof truncatedEsOptions>): GradientEstimator =>
  new EvolutionStrategy(
    { name: 'truncated-es', scored: 'window', noisePeriod: (_horizon, window) => window, states: 'mean' },
    options,
  );
