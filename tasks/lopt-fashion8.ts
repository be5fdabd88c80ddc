/** Preset: meta-training a per-parameter MLP as the optimizer of a small MLP on Fashion-MNIST of 8 × 8 (Li et al. 2023, §5.2). */
import type { ConfigObject, Registrar } from '../src/contracts';

const PAPER: ConfigObject = {
  data: { name: 'fashion-mnist', size: 8, normalise: 'unit', validationShare: 0.2 },
  task: { name: 'mlp', hidden: [32, 32, 32], activation: 'gelu-tanh', init: 'lecun', batchSize: 128 },
  optimizer: { name: 'per-parameter-mlp' },
  objective: { metric: 'loss', split: 'validation', over: 'sum' },
  estimator: { name: 'nres', pairs: 100, sigma: 0.01, window: 1 },
  outerOptimizer: { name: 'adam', learningRate: 0.0003 },
  horizon: 1000,
  iterations: 240_000,
  seed: 0,
};

/**
 * The form that needs fewest inner steps: θ₀'s last layer a tenth as large, so that no start diverges, losses of partners held
 * within 2 of each other, fewer pairs, and a rate that is constant up to `start` and then follows a cosine.
 */
function short(iterations: number, start: number): ConfigObject {
  return {
    optimizer: { outputScale: 0.1 },
    estimator: { pairs: 40, clip: 2 },
    outerOptimizer: {
      learningRate: { name: 'cosine', initial: 3e-4, final: 3e-5, start, iterations: iterations - start },
    },
    iterations,
  };
}

export function registerLoptFashion8({ preset }: Registrar): void {
  preset('lopt-fashion8', {
    description:
      'meta-train a per-parameter MLP on Fashion-MNIST of 8 × 8, as published (NRES §5.2); hours on two cores, ' +
      '--quick a quarter of an hour, --demo four minutes',
    config: PAPER,
    quick: { ...short(45_000, 22_500), evaluation: { every: 5000 } },
    // So few iterations learn faster at the full rate for most of them.
    demo: short(12_000, 10_000),
  });
}
