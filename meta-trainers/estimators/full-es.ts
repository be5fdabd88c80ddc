import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { commonOptions, EvolutionStrategy } from './evolution';

export const fullEsOptions = z.strictObject({
  ...commonOptions,
  /** Inner steps of one engine call, a divisor of the horizon (by default all of it); the estimate is the same. */
  window: z.number().int().min(1).optional(),
});
export type FullEsOptions = z.input<typeof fullEsOptions>;

/**
 * Evolution strategies over whole episodes (Salimans et al. 2017, antithetic). Every estimate starts a new episode.
 *
 * Per pair g = ε·Σ_t (L_t⁺ − L_t⁻) / (2σ²T) with the sum over all T steps and ε ~ N(0, σ²I): its mean is the gradient of
 * E[(1/T) Σ_t L_t(θ+ε)]. 2NT inner steps an estimate.
 */
export function fullEs(options: FullEsOptions): GradientEstimator {
  return createFullEs(parseOptions(fullEsOptions, options, 'estimator'));
}

export const createFullEs = (options: z.output<typeof fullEsOptions>): GradientEstimator =>
  new EvolutionStrategy(
    { name: 'full-es', scored: 'horizon', noisePeriod: (horizon) => horizon, states: 'own' },
    { ...options, lockstep: true, offsets: 'stratified' },
    options,
  );
