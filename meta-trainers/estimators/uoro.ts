import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { parseOptions } from '../options';
import { gradientWindowOptions, GradientOfWindows } from './gradient';

export const uoroOptions = z.strictObject(gradientWindowOptions);
export type UoroOptions = z.input<typeof uoroOptions>;

/**
 * Unbiased online recurrent optimization (Tallec and Ollivier 2017, Alg. 1): in place of the whole ∂s/∂θ every worker
 * carries two vectors, s̃ of the state's size and θ̃ of θ's, with E[s̃ θ̃ᵀ] = ∂s/∂θ. Each step draws signs ν, one a number
 * of the state:
 *
 *     s̃ ← ρ₀·∂F/∂s·s̃ + ρ₁·ν        θ̃ ← θ̃/ρ₀ + νᵀ∂F/∂θ/ρ₁
 *
 * with the scales ρ₀ = √(‖θ̃‖/(‖∂F/∂s·s̃‖ + 1e-7)) + 1e-7 and ρ₁ = √(‖νᵀ∂F/∂θ‖/(‖ν‖ + 1e-7)) + 1e-7, which keep the
 * noise small.
 *
 * g = (1/N) Σ_w (1/W) Σ_t [(∂L_t/∂s·s̃)·θ̃ + ∂L_t/∂θ]. Unbiased for the gradient through the whole episode up to here,
 * while θ stands still; with a moving θ the derivative is along the θs that were passed, as RTRL's is. NW inner steps an
 * estimate, forward steps counted.
 */
export function uoro(options: UoroOptions): GradientEstimator {
  return createUoro(parseOptions(uoroOptions, options, 'estimator'));
}

export const createUoro = (options: z.output<typeof uoroOptions>): GradientEstimator =>
  new GradientOfWindows(
    {
      name: 'uoro',
      needs: 'tangent',
      scored: 'window',
      loss: 'mean',
      derivatives: () => ({ differentiation: { mode: 'rank-one' } }),
    },
    options,
  );
