import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { EvolutionStrategy, windowOptions } from './evolution';

export const gpesOptions = z.strictObject({
  ...windowOptions,
  /** K: inner steps that one noise lasts, a multiple of the window; it need not divide the horizon. */
  noisePeriod: z.number().int().min(1),
});
export type GpesOptions = z.input<typeof gpesOptions>;

/**
 * Generalised PES (Li, Harrison, Sohl-Dickstein, Smith, Metz 2023, Alg. 3): fresh noise ε ~ N(0, σ²I) every K inner
 * steps, counted from the episode's start; ξ sums it. K = W is PES, K ≥ T is NRES, with the same bits.
 *
 * Per pair and window of W steps g = ξ·Σ_t (L_t⁺ − L_t⁻) / (2σ²W), as for PES. 2NW inner steps an estimate.
 */
export function gpes(options: GpesOptions): GradientEstimator {
  return createGpes(parseOptions(gpesOptions, options, 'estimator'));
}

export const createGpes = (options: z.output<typeof gpesOptions>): GradientEstimator =>
  new EvolutionStrategy(
    { name: 'gpes', scored: 'window', noisePeriod: () => options.noisePeriod, states: 'own' },
    options,
  );
