import { z } from 'zod';
import type { GradientEstimator, UnrollProgram } from '../../src/contracts';
import { ConfigurationError } from '../../src/contracts/errors';
import { parseOptions } from '../options';
import { gradientWindowOptions, GradientOfWindows } from './gradient';

const MIB = 2 ** 20;

/** Directions that one particle carries: beyond, compiled steps grow long, and more particles share the work instead. */
const DIRECTIONS = 8;

export const rtrlOptions = z.strictObject({
  ...gradientWindowOptions,
  /** MiB that the workers' ∂s/∂θ and its directions may take. */
  memoryLimit: z.number().positive().default(1024),
});
export type RtrlOptions = z.input<typeof rtrlOptions>;

/**
 * Real-time recurrent learning (Williams and Zipser 1989): every worker carries the whole ∂s/∂θ, one tangent for each
 * number of θ, from its episode's start on.
 *
 * g = (1/N) Σ_w d/dθ (1/W) Σ_t L_t through the whole episode up to here: exact while θ stands still, and along the θs that
 * were passed where it moves. Up to eight tangents are carried by one particle; a larger θ is shared out between particles
 * that run the same episode. NPW inner steps an estimate for P = ⌈θ size/8⌉ particles a worker, forward steps counted.
 *
 * Memory grows with θ × state, which is what makes it a yardstick for small problems.
 */
export function rtrl(options: RtrlOptions): GradientEstimator {
  return createRtrl(parseOptions(rtrlOptions, options, 'estimator'));
}

export const createRtrl = (options: z.output<typeof rtrlOptions>): GradientEstimator =>
  new GradientOfWindows(
    {
      name: 'rtrl',
      needs: 'tangent',
      scored: 'window',
      loss: 'mean',
      derivatives: (program) => {
        checkMemory(program, options);
        const { size } = program.theta;
        const particles = Math.ceil(size / DIRECTIONS);
        const directions = Math.ceil(size / particles);
        const identity = new Float64Array(particles * directions * size);
        for (let k = 0; k < size; k++) identity[k * size + k] = 1;
        return { differentiation: { mode: 'tangent', directions }, particles, directions: () => identity };
      },
    },
    options,
  );

/** @throws ConfigurationError with the memory that it would take */
function checkMemory(
  { theta, stateSize }: UnrollProgram,
  { workers, memoryLimit }: z.output<typeof rtrlOptions>,
): void {
  const bytes = workers * theta.size * (4 * stateSize + 8 * theta.size);
  if (bytes <= memoryLimit * MIB) return;
  throw new ConfigurationError(
    'estimator.memoryLimit',
    `at least ${String(Math.ceil(bytes / MIB))} MiB for rtrl with ${String(workers)} worker${workers === 1 ? '' : 's'}, ` +
      `θ of ${String(theta.size)} and a state of ${String(stateSize)} numbers`,
    `${String(memoryLimit)} MiB`,
    'uoro and dodge estimate the same gradient in as much memory as θ and the state themselves.',
  );
}
