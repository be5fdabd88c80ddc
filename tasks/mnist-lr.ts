/** Presets: the learning-rate schedule of an MLP on MNIST, with two parameters (Vicol et al. 2021, §5.3). */
import type { ConfigObject, Registrar } from '../src/contracts';

const PAPER: ConfigObject = {
  data: { name: 'mnist' },
  task: { name: 'mlp', hidden: [100, 100], activation: 'relu', batchSize: 100 },
  optimizer: {
    name: 'sgd',
    momentum: 0.9,
    learningRate: {
      name: 'inverse-time',
      initial: 'meta.log(0.003)',
      decay: 'meta.log(30)',
      timescale: 5000,
    },
  },
  objective: { metric: 'accuracy', split: 'validation', over: 'sum' },
  estimator: { name: 'pes', pairs: 500, sigma: 0.1, window: 10 },
  outerOptimizer: { name: 'adam', learningRate: 0.01 },
  horizon: 5000,
  iterations: 5000,
  seed: 0,
};

/** The same with the horizon as its timescale. */
const SGD: ConfigObject = {
  name: 'sgd',
  momentum: 0.9,
  learningRate: { name: 'inverse-time', initial: 'meta.log(0.003)', decay: 'meta.log(30)' },
};

function coolingAdam(iterations: number): ConfigObject {
  return { name: 'adam', learningRate: { name: 'cosine', initial: 0.15, final: 0.01, iterations } };
}

export function registerMnistLr({ preset }: Registrar): void {
  preset('mnist-lr', {
    description: 'learning-rate schedule of an MLP on MNIST, on validation accuracy; a minute on engine native',
    config: {
      ...PAPER,
      optimizer: SGD,
      estimator: { name: 'nres', pairs: 10, sigma: 0.1, window: 20 },
      outerOptimizer: coolingAdam(150),
      horizon: 2000,
      iterations: 150,
    },
  });
  preset('mnist-lr-small', {
    description: 'the same for an MLP of 32 hidden units and 400 inner steps; a minute on any engine',
    config: {
      ...PAPER,
      task: { name: 'mlp', hidden: [32], activation: 'relu', batchSize: 32 },
      optimizer: SGD,
      estimator: { name: 'nres', pairs: 10, sigma: 0.1, window: 20 },
      outerOptimizer: coolingAdam(100),
      horizon: 400,
      iterations: 100,
    },
  });
  preset('mnist-lr-paper', {
    description: 'the same at the published size: 784-100-100-10, T = 5000, PES with 1000 particles; days on two cores',
    config: PAPER,
  });
  preset('mnist-lr-paper-loss', {
    description: 'mnist-lr-paper on the sum of training losses',
    config: { ...PAPER, objective: { metric: 'loss', split: 'train', over: 'sum' } },
  });
}
