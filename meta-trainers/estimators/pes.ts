import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { EvolutionStrategy, windowOptions } from './evolution';

export const pesOptions = z.strictObject(windowOptions);
export type PesOptions = z.input<typeof pesOptions>;

/**
 * Persistent Evolution Strategies (Vicol, Metz, Sohl-Dickstein 2021, Alg. 2): GPES_K with K = W. Each window has fresh
 * noise ε ~ N(0, σ²I); ξ sums it since the episode's start.
 *
 * Per pair and window of W steps g = ξ·Σ_t (L_t⁺ − L_t⁻) / (2σ²W). Over windows that cover the horizon evenly its mean is
 * the gradient by θ of E[(1/T) Σ_t L_t(θ+ε₁, θ+ε₂, …)]. 2NW inner steps an estimate.
 */
export function pes(options: PesOptions): GradientEstimator {
  return createPes(parseOptions(pesOptions, options, 'estimator'));
}

export const createPes = (options: z.output<typeof pesOptions>): GradientEstimator =>
  new EvolutionStrategy(
    { name: 'pes', scored: 'window', noisePeriod: (_horizon, window) => window, states: 'own' },
    options,
  );
