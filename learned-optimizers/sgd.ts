import * as tf from '@tensorflow/tfjs';
import { treeMap, treeMap2, type LearnedOptimizer, type Registrar, type TensorTree } from '../src/contracts';
import { checkLayers, type LayerHyperParameter } from './by-layer';
import { handDesigned } from './hand-designed';
import { RANGES, registerHandDesigned } from './hyper-options';

export interface SgdOptions {
  /** α; 0.01 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** μ in [0, 1); 0 by default, which keeps no velocity. */
  readonly momentum?: LayerHyperParameter;
  /** Nesterov's momentum; false by default. */
  readonly nesterov?: boolean;
}

/**
 * Stochastic gradient descent with heavy-ball momentum in the convention of PyTorch and TensorFlow: v = μv + g, then
 * p −= αv (Nesterov: p −= α(g + μv)); v starts at 0. The learning rate scales the whole velocity, so a schedule acts at
 * once.
 */
export function sgd({ learningRate = 0.01, momentum = 0, nesterov = false }: SgdOptions = {}): LearnedOptimizer {
  checkLayers('learningRate', learningRate, { min: 0 });
  checkLayers('momentum', momentum, { min: 0, below: 1 });
  if (momentum === 0) {
    return handDesigned('sgd', { learningRate }, {}, (at) => ({
      init: () => ({}),
      update: ({ params, gradients, state, t }) => {
        const { learningRate: alpha } = at(t);
        return { params: treeMap2(params, gradients, (p, g) => tf.sub(p, tf.mul(alpha, g))), state };
      },
    }));
  }
  return handDesigned('sgd', { learningRate, momentum }, { nesterov }, (at) => ({
    init: (params) => ({ velocity: treeMap(params, (p) => tf.zerosLike(p)) }),
    update: ({ params, gradients, state, t }) => {
      const { learningRate: alpha, momentum: mu } = at(t);
      const { velocity: before } = state as { velocity: TensorTree };
      const velocity = treeMap2(before, gradients, (v, g) => tf.add(tf.mul(mu, v), g));
      const direction = nesterov ? treeMap2(velocity, gradients, (v, g) => tf.add(g, tf.mul(mu, v))) : velocity;
      return { params: treeMap2(params, direction, (p, d) => tf.sub(p, tf.mul(alpha, d))), state: { velocity } };
    },
  }));
}

export function registerSgd(registrar: Registrar): void {
  const learningRate = { default: 0.01, ...RANGES.atLeastZero };
  const momentum = { default: 0.9, ...RANGES.decay };
  registerHandDesigned(registrar, 'sgd', {
    description: 'stochastic gradient descent; momentum and Nesterov as options',
    hyper: { learningRate, momentum: { ...momentum, default: 0 } },
    flags: { nesterov: false },
    create: sgd,
  });
  registerHandDesigned(registrar, 'momentum', {
    description: 'sgd with heavy-ball momentum 0.9 (Polyak 1964)',
    hyper: { learningRate, momentum },
    create: sgd,
  });
  registerHandDesigned(registrar, 'nesterov', {
    description: 'sgd with Nesterov momentum 0.9 (Nesterov 1983; Sutskever et al. 2013)',
    hyper: { learningRate, momentum },
    create: (options) => sgd({ ...options, nesterov: true }),
  });
}
