/**
 * A gradient estimator: estimates the gradient by θ of the mean loss per inner step.
 *
 *     npx outerloop check ./template-estimator.ts
 *     npx outerloop train template-estimator-quadratic --plugin ./template-estimator.ts
 *
 * Any preset takes it: `--set estimator.name=template-estimator`, with the options below.
 */
import {
  definePlugin,
  type Estimate,
  type EstimatorPopulation,
  type GradientEstimator,
  type Population,
  type UnrollProgram,
} from 'outerloop';
import { z } from 'zod';

/** Particles on the engine. Whatever else later estimates depend on belongs into `save` and `load`. */
class Pairs implements EstimatorPopulation {
  constructor(
    readonly program: UnrollProgram,
    readonly particles: Population,
    readonly seed: number,
  ) {}
  save() {
    return this.particles.save();
  }
  load(bundle: Awaited<ReturnType<Population['save']>>) {
    return this.particles.load(bundle);
  }
  dispose() {
    return this.particles.dispose();
  }
}

/** Evolution strategies over whole episodes: the mean over antithetic pairs of ε·(L⁺ − L⁻) / 2σ², ε ~ N(0, σ²). */
class TemplateEstimator implements GradientEstimator<Pairs> {
  readonly name = 'template-estimator';
  /** Windows that give derivatives are `reverse` and `tangent`. */
  readonly needs = ['forward'] as const;

  constructor(private readonly options: { readonly pairs: number; readonly sigma: number }) {}

  async populate(program: UnrollProgram, seed: number): Promise<Pairs> {
    const particles = await program.createPopulation({ size: 2 * this.options.pairs, seed });
    return new Pairs(program, particles, seed);
  }

  async estimate(theta: Float64Array, population: Pairs, iteration: number, signal?: AbortSignal): Promise<Estimate> {
    const { pairs, sigma } = this.options;
    const { program, particles, seed } = population;
    const steps = program.problem.horizon;
    const all = Int32Array.from({ length: 2 * pairs }, (_, i) => i);
    // Noise is two integers, the same for both partners: a pair's own number, and the seed.
    const keys = Uint32Array.from({ length: 4 * pairs }, (_, i) =>
      i % 2 === 0 ? iteration * pairs + Math.floor(i / 4) : seed,
    );
    const signs = Int8Array.from(all, (i) => (i % 2 === 0 ? 1 : -1));
    const perturbation = { form: 'gaussian', theta, sigma, keys, signs } as const;
    // Partners have one worker number, and with it one start and the same batches.
    const workers = all.map((i) => Math.floor(i / 2));
    const episodes = new Int32Array(2 * pairs).fill(iteration);
    await particles.reset({ particles: all, perturbation, workers, episodes, signal });
    const { lossSum, metricSums } = await particles.advance({ particles: all, perturbation, steps, signal });

    // A NaN leaves the mean, together with its partner.
    const valid = Array.from({ length: pairs }, (_, i) => i).filter((i) =>
      Number.isFinite(lossSum[2 * i] + lossSum[2 * i + 1]),
    );
    const meanOf = (sums: Float64Array): number =>
      valid.reduce((sum, i) => sum + sums[2 * i] + sums[2 * i + 1], 0) / (2 * steps * valid.length);
    const weights = valid.map((i) => (lossSum[2 * i] - lossSum[2 * i + 1]) / (2 * sigma * steps * valid.length));
    const validKeys = Uint32Array.from(valid.flatMap((i) => [keys[4 * i], keys[4 * i + 1]]));
    return {
      gradient: await program.combine(validKeys, Float64Array.from(weights)),
      meanLoss: meanOf(lossSum),
      innerSteps: 2 * pairs * steps,
      sequentialSteps: steps,
      burnInSteps: 0,
      validPairs: valid.length,
      droppedPairs: pairs - valid.length,
      metrics: Object.fromEntries(program.metrics.map((name) => [name, meanOf(metricSums[name])])),
      diagnostics: {},
    };
  }
}

export function templateEstimator(options: { pairs: number; sigma: number }): GradientEstimator {
  return new TemplateEstimator(options);
}

export const plugin = definePlugin(({ estimator, preset }) => {
  estimator('template-estimator', {
    description: 'evolution strategies over whole episodes',
    options: z.strictObject({ pairs: z.int().positive(), sigma: z.number().positive() }),
    create: templateEstimator,
  });
  preset('template-estimator-quadratic', {
    description: 'a quadratic by template-estimator; seconds',
    config: {
      problem: 'quadratic',
      estimator: { name: 'template-estimator', pairs: 20, sigma: 0.1 },
      outerOptimizer: { name: 'adam', learningRate: 0.05 },
      iterations: 40,
    },
  });
});
