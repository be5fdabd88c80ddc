import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  checkHyperParameter,
  ConfigurationError,
  hyperConfig,
  resolveHyperParameter,
  treeFlatten,
  treeMap,
  type HyperConfig,
  type HyperParameter,
  type LearnedOptimizer,
  type Registrar,
  type TensorTree,
} from '../src/contracts';
import { RANGES } from './hyper-options';
import { bounded, norm } from './per-tensor';
import { replaced } from './replaced';
import { innerConfig, resolveInner, wrap } from './wrapper';

export interface ClipGradientsOptions {
  readonly optimizer: LearnedOptimizer;
  /** Largest norm of all gradients together. */
  readonly maxNorm?: HyperParameter;
  /** Largest norm of each tensor's gradient. */
  readonly maxTensorNorm?: HyperParameter;
  /** Largest absolute value of each number. */
  readonly maxValue?: HyperParameter;
}

const LIMITS = ['maxValue', 'maxTensorNorm', 'maxNorm'] as const;
type Limit = (typeof LIMITS)[number];

/** Factor that brings a norm down to its limit: min(1, limit/norm), also for a norm of 0. */
function share(limit: tf.Tensor, size: tf.Tensor): tf.Tensor {
  return tf.div(limit, tf.maximum(size, limit));
}

const CLIP: Readonly<Record<Limit, (gradients: TensorTree, limit: tf.Tensor) => TensorTree>> = {
  maxValue: (gradients, limit) =>
    treeMap<tf.Tensor, tf.Tensor>(gradients, (g) => tf.maximum(tf.minimum(g, limit), tf.neg(limit))),
  maxTensorNorm: (gradients, limit) =>
    treeMap<tf.Tensor, tf.Tensor>(gradients, (g) => tf.mul(bounded(g), share(limit, norm(g)))),
  maxNorm: (gradients, limit) => {
    const finite = treeMap<tf.Tensor, tf.Tensor>(gradients, bounded);
    const squares = treeFlatten<tf.Tensor>(finite).map((g) => tf.sum(tf.square(g)));
    const factor = share(limit, tf.sqrt(squares.reduce((a, b) => tf.add(a, b), tf.scalar(0))));
    return treeMap<tf.Tensor, tf.Tensor>(finite, (g) => tf.mul(g, factor));
  },
};

/**
 * Gradients clipped before another optimizer sees them: each number, then each tensor's norm, then the norm of all
 * (Pascanu, Mikolov, Bengio 2013, Alg. 1: g ← g·min(1, limit/‖g‖)), as far as limits are given; one or more are. A number
 * beyond ±10¹⁵ counts as ±10¹⁵ in norms, so that an infinite gradient is clipped too; NaN stays NaN.
 * @throws ConfigurationError without a limit, or for one that is not positive.
 */
export function clipGradients({ optimizer, ...limits }: ClipGradientsOptions): LearnedOptimizer {
  const given = LIMITS.filter((key) => limits[key] !== undefined);
  const hyper = Object.fromEntries(given.map((key) => [key, limits[key]])) as Record<Limit, HyperParameter>;
  for (const key of given) checkHyperParameter(key, hyper[key], RANGES.positive);
  if (given.length === 0) {
    throw new ConfigurationError('clip-gradients', 'one or more of maxNorm, maxTensorNorm and maxValue', 'none');
  }
  return wrap({
    name: 'clip-gradients',
    hyper,
    inner: { optimizer },
    make: (at, inner) => ({
      init: (params) => inner.optimizer.init(params),
      update: (args) => {
        const values = at(args.t);
        const gradients = given.reduce((tree, limit) => CLIP[limit](tree, values[limit]), args.gradients);
        return inner.optimizer.update(replaced(args, { gradients }));
      },
    }),
  });
}

export function registerClipGradients({ optimizer }: Registrar): void {
  const limit = hyperConfig(RANGES.positive).optional();
  optimizer('clip-gradients', {
    description: 'another optimizer on clipped gradients: by norm, by the norm of each tensor, by value',
    options: z.strictObject({ optimizer: innerConfig, maxNorm: limit, maxTensorNorm: limit, maxValue: limit }),
    create: async (options, context) => {
      const resolve = async (key: Limit) => {
        const config: HyperConfig | undefined = options[key];
        return config === undefined ? {} : { [key]: await resolveHyperParameter(config, context, key) };
      };
      return clipGradients({
        optimizer: await resolveInner(options.optimizer, context, 'optimizer'),
        ...(await resolve('maxNorm')),
        ...(await resolve('maxTensorNorm')),
        ...(await resolve('maxValue')),
      });
    },
  });
}
