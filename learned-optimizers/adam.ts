import * as tf from '@tensorflow/tfjs';
import { treeMap, treeMap2, type LearnedOptimizer, type Registrar, type TensorTree } from '../src/contracts';
import { checkLayers, type LayerHyperParameter } from './by-layer';
import { handDesigned } from './hand-designed';
import { RANGES, registerHandDesigned } from './hyper-options';

export interface AdamOptions {
  /** α; 0.001 by default. */
  readonly learningRate?: LayerHyperParameter;
  /** Decay of the mean of gradients, in [0, 1); 0.9 by default. */
  readonly beta1?: LayerHyperParameter;
  /** Decay of the mean of squared gradients, in [0, 1); 0.999 by default. */
  readonly beta2?: LayerHyperParameter;
  /** Added to √v̂, outside the root; 1e-8 by default. */
  readonly epsilon?: LayerHyperParameter;
  /** Decoupled: p −= αλp beside the step; 0 by default. */
  readonly weightDecay?: LayerHyperParameter;
}

/**
 * Adam (Kingma, Ba 2015, Alg. 1), with decoupled weight decay (Loshchilov, Hutter 2019, Alg. 2) as an option:
 * p −= α·(m̂/(√v̂ + ε) + λp).
 */
export function adam(options: AdamOptions = {}): LearnedOptimizer {
  return adamNamed('adam', options);
}

/**
 * `adam` with the weight decay on: 0.01 by default, as in PyTorch (Loshchilov, Hutter 2019, Alg. 2 with ηₜ in the learning
 * rate).
 */
export function adamW(options: AdamOptions = {}): LearnedOptimizer {
  return adamNamed('adamw', { ...options, weightDecay: options.weightDecay ?? ADAMW_DECAY });
}

const ADAMW_DECAY = 0.01;

function adamNamed(name: string, options: AdamOptions): LearnedOptimizer {
  const { learningRate = 0.001, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  checkLayers('learningRate', learningRate, { min: 0 });
  checkLayers('beta1', beta1, { min: 0, below: 1 });
  checkLayers('beta2', beta2, { min: 0, below: 1 });
  checkLayers('epsilon', epsilon, { min: 0 });
  checkLayers('weightDecay', weightDecay, { min: 0 });
  return handDesigned(name, { learningRate, beta1, beta2, epsilon, weightDecay }, {}, (at) => ({
    init: (params) => ({
      first: treeMap(params, (p) => tf.zerosLike(p)),
      second: treeMap(params, (p) => tf.zerosLike(p)),
    }),
    update: ({ params, gradients, state, t }) => {
      const hyper = at(t);
      const before = state as { first: TensorTree; second: TensorTree };
      const average = (old: TensorTree, beta: tf.Tensor, of: (g: tf.Tensor) => tf.Tensor): TensorTree =>
        treeMap2(old, gradients, (m, g) => tf.add(tf.mul(beta, m), tf.mul(tf.sub(1, beta), of(g))));
      const first = average(before.first, hyper.beta1, (g) => g);
      const second = average(before.second, hyper.beta2, (g) => tf.square(g));
      const steps = tf.add(tf.cast(t, 'float32'), 1);
      const correction1 = tf.sub(1, tf.pow(hyper.beta1, steps));
      const correction2 = tf.sub(1, tf.pow(hyper.beta2, steps));
      const direction = treeMap2(first, second, (m, v) =>
        tf.div(tf.div(m, correction1), tf.add(tf.sqrt(tf.div(v, correction2)), hyper.epsilon)),
      );
      const decayed =
        weightDecay === 0 ? direction : treeMap2(direction, params, (d, p) => tf.add(d, tf.mul(hyper.weightDecay, p)));
      return {
        params: treeMap2(params, decayed, (p, d) => tf.sub(p, tf.mul(hyper.learningRate, d))),
        state: { first, second },
      };
    },
  }));
}

export function registerAdam(registrar: Registrar): void {
  const hyper = {
    learningRate: { default: 0.001, ...RANGES.atLeastZero },
    beta1: { default: 0.9, ...RANGES.decay },
    beta2: { default: 0.999, ...RANGES.decay },
    epsilon: { default: 1e-8, ...RANGES.atLeastZero },
    weightDecay: { default: 0, ...RANGES.atLeastZero },
  } as const;
  registerHandDesigned(registrar, 'adam', {
    description: 'Adam (Kingma, Ba 2015); decoupled weight decay as an option',
    hyper,
    create: adam,
  });
  registerHandDesigned(registrar, 'adamw', {
    description: 'Adam with decoupled weight decay (Loshchilov, Hutter 2019)',
    hyper: { ...hyper, weightDecay: { default: ADAMW_DECAY, ...RANGES.atLeastZero } },
    create: adamW,
  });
}
