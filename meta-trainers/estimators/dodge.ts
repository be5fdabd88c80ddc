import { z } from 'zod';
import type { GradientEstimator } from '../../src/contracts';
import { noiseKey } from '../../src/random/keys';
import { parseOptions } from '../options';
import { gradientWindowOptions, GradientOfWindows } from './gradient';

export const dodgeOptions = z.strictObject(gradientWindowOptions);
export type DodgeOptions = z.input<typeof dodgeOptions>;

/**
 * DODGE with one Gaussian direction a worker (Silver, Goyal, Danihelka, Hessel, van Hasselt 2022, "Learning by
 * directional gradient descent"): each worker carries the tangent of its state along one v ~ N(0, I), drawn once an
 * episode.
 *
 * g = (1/N) Σ_w (v·d/dθ (1/W) Σ_t L_t)·v. E[v vᵀ] = I: unbiased for the gradient through the whole episode up to here,
 * while θ stands still. Its variance, (d + 1)‖∇‖² of one worker for θ of size d, is that of NRES as σ goes to 0. NW inner
 * steps an estimate, forward steps counted.
 */
export function dodge(options: DodgeOptions): GradientEstimator {
  return createDodge(parseOptions(dodgeOptions, options, 'estimator'));
}

export const createDodge = (options: z.output<typeof dodgeOptions>): GradientEstimator =>
  new GradientOfWindows(
    {
      name: 'dodge',
      needs: 'tangent',
      scored: 'window',
      loss: 'mean',
      derivatives: (program, _steps, seed) => ({
        differentiation: { mode: 'tangent', directions: 1 },
        directions: (worker, episode) =>
          program.combine(Uint32Array.from(noiseKey(seed, worker, episode, 0)), Float64Array.of(1)),
      }),
      gradient: ([along], direction, gradient) => {
        for (let k = 0; k < gradient.length; k++) gradient[k] = along * direction[k];
      },
    },
    options,
  );
