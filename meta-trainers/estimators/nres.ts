import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { EvolutionStrategy, windowOptions } from './evolution';

export const nresOptions = z.strictObject(windowOptions);
export type NresOptions = z.input<typeof nresOptions>;

/**
 * Noise-Reuse Evolution Strategies (Li, Harrison, Sohl-Dickstein, Smith, Metz 2023, Alg. 2): GPES_K with K = T, the
 * least variance of that family. A pair has one noise ε ~ N(0, σ²I) an episode, regenerated from its key; nothing of
 * θ's size is kept.
 *
 * Per pair and window of W steps g = ε·Σ_t (L_t⁺ − L_t⁻) / (2σ²W). Over windows that cover the horizon evenly its mean is
 * the gradient of E[(1/T) Σ_t L_t(θ+ε)]. 2NW inner steps an estimate.
 */
export function nres(options: NresOptions): GradientEstimator {
  return createNres(parseOptions(nresOptions, options, 'estimator'));
}

export const createNres = (options: z.output<typeof nresOptions>): GradientEstimator =>
  new EvolutionStrategy({ name: 'nres', scored: 'window', noisePeriod: (horizon) => horizon, states: 'own' }, options);
