/** Optimizers around any other, hand-designed or learned: weight decay, grafting, gradient accumulation. */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  checkHyperParameter,
  ConfigurationError,
  hyperConfig,
  resolveHyperParameter,
  treeMap,
  treeMap2,
  type HyperParameter,
  type LearnedOptimizer,
  type Registrar,
  type TensorTree,
} from '../src/contracts';
import { RANGES } from './hyper-options';
import { norm } from './per-tensor';
import { replaced } from './replaced';
import { innerConfig, resolveInner, wrap } from './wrapper';

export interface WithWeightDecayOptions {
  readonly optimizer: LearnedOptimizer;
  /** λ, a share of the parameter that goes at every step; 1e-4 by default. */
  readonly weightDecay?: HyperParameter;
}

const DECAY = 1e-4;

/**
 * Decoupled weight decay beside any optimizer (Loshchilov, Hutter 2019, eq. 1): p ← p' − λp, p' what the optimizer makes
 * of p. λ is not multiplied by a learning rate, which a learned optimizer may not have: `adamw` at α and λ decays as this
 * at αλ.
 */
export function withWeightDecay({ optimizer, weightDecay = DECAY }: WithWeightDecayOptions): LearnedOptimizer {
  checkHyperParameter('weightDecay', weightDecay, RANGES.atLeastZero);
  return wrap({
    name: 'weight-decay',
    hyper: { weightDecay },
    inner: { optimizer },
    make: (at, inner) => ({
      init: (params) => inner.optimizer.init(params),
      update: (args) => {
        const { weightDecay: share } = at(args.t);
        const { params, state } = inner.optimizer.update(args);
        const decayed = treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(params, args.params, (after, before) =>
          tf.sub(after, tf.mul(share, before)),
        );
        return { params: decayed, state };
      },
    }),
  });
}

export interface GraftOptions {
  /** Whose direction is taken, tensor by tensor. */
  readonly direction: LearnedOptimizer;
  /** Whose length of a step is taken, tensor by tensor. */
  readonly magnitude: LearnedOptimizer;
}

/**
 * Grafting, layer by layer (Agarwal et al. 2020, "Disentangling adaptive gradient methods from learning rates", Alg. 1):
 * both optimizers see the same parameters and gradients, and p += ‖Δ_M‖/‖Δ_D‖·Δ_D, tensor by tensor. A tensor that the
 * direction leaves where it is stays there. Δ is the difference of parameters after and before, so that a direction
 * whose steps are lost in the rounding of p has none.
 */
export function graft({ direction, magnitude }: GraftOptions): LearnedOptimizer {
  return wrap({
    name: 'graft',
    hyper: {},
    inner: { direction, magnitude },
    make: (_, inner) => ({
      init: (params) => ({ direction: inner.direction.init(params), magnitude: inner.magnitude.init(params) }),
      update: (args) => {
        const before = args.state as { direction: TensorTree; magnitude: TensorTree };
        const along = inner.direction.update(
          replaced(args, { state: before.direction, random: args.random.foldIn(0) }),
        );
        const sized = inner.magnitude.update(
          replaced(args, { state: before.magnitude, random: args.random.foldIn(1) }),
        );
        const steps = (after: TensorTree): TensorTree =>
          treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(after, args.params, (a, b) => tf.sub(a, b));
        const scaled = treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(steps(along.params), steps(sized.params), (d, m) => {
          const size = norm(d);
          const moves = tf.greater(size, 0);
          const ratio = tf.where(moves, tf.div(norm(m), tf.where(moves, size, 1)), 0);
          return tf.mul(d, ratio);
        });
        return {
          params: treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(args.params, scaled, (p, step) => tf.add(p, step)),
          state: { direction: along.state, magnitude: sized.state },
        };
      },
    }),
  });
}

export interface AccumulateGradientsOptions {
  readonly optimizer: LearnedOptimizer;
  /** Minibatches for each update, a positive integer; 4 by default. */
  readonly batches?: number;
}

/**
 * An update by the mean gradient of every `batches` minibatches; parameters stand still between. The optimizer's t,
 * and with it its schedules, counts updates; its loss is the mean over the same minibatches. The update is computed at
 * every step, and taken at the last of each group.
 * @throws ConfigurationError for a number that is no positive integer.
 */
export function accumulateGradients({ optimizer, batches = 4 }: AccumulateGradientsOptions): LearnedOptimizer {
  if (!(Number.isInteger(batches) && batches > 0)) {
    throw new ConfigurationError('batches', 'a positive integer', String(batches));
  }
  type State = { gradients: TensorTree; loss: tf.Tensor; optimizer: TensorTree };
  return wrap({
    name: 'accumulate-gradients',
    hyper: {},
    inner: { optimizer },
    flags: { batches },
    stepsAnUpdate: batches,
    make: (_, inner) => ({
      init: (params): State => ({
        gradients: treeMap<tf.Tensor, tf.Tensor>(params, (p) => tf.zerosLike(p)),
        loss: tf.scalar(0),
        optimizer: inner.optimizer.init(params),
      }),
      update: (args) => {
        const before = args.state as State;
        const gradients = treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(before.gradients, args.gradients, (sum, g) =>
          tf.add(sum, tf.div(g, batches)),
        );
        const loss = tf.add<tf.Scalar>(before.loss, tf.div(args.loss, batches));
        const t = tf.floorDiv<tf.Scalar>(args.t, tf.scalar(batches, 'int32'));
        const isLast = tf.equal(tf.mod(args.t, tf.scalar(batches, 'int32')), batches - 1);
        const made = inner.optimizer.update(replaced(args, { gradients, loss, t, state: before.optimizer }));
        const choose = (taken: TensorTree, kept: TensorTree): TensorTree =>
          treeMap2<tf.Tensor, tf.Tensor, tf.Tensor>(taken, kept, (a, b) =>
            tf.where(tf.broadcastTo(isLast, a.shape), a, b),
          );
        const zeros = treeMap<tf.Tensor, tf.Tensor>(gradients, (g) => tf.zerosLike(g));
        const state: State = {
          gradients: choose(zeros, gradients),
          loss: tf.where(isLast, 0, loss),
          optimizer: choose(made.state, before.optimizer),
        };
        return { params: choose(made.params, args.params), state };
      },
    }),
  });
}

export function registerWrappers({ optimizer }: Registrar): void {
  optimizer('weight-decay', {
    description: 'decoupled weight decay beside another optimizer',
    options: z.strictObject({
      optimizer: innerConfig,
      weightDecay: hyperConfig(RANGES.atLeastZero).default(DECAY),
    }),
    create: async (options, context) =>
      withWeightDecay({
        optimizer: await resolveInner(options.optimizer, context, 'optimizer'),
        weightDecay: await resolveHyperParameter(options.weightDecay, context, 'weightDecay'),
      }),
  });
  optimizer('graft', {
    description: 'the direction of one optimizer, the size of the steps of another (Agarwal et al. 2020)',
    options: z.strictObject({ direction: innerConfig, magnitude: innerConfig }),
    create: async (options, context) =>
      graft({
        direction: await resolveInner(options.direction, context, 'direction'),
        magnitude: await resolveInner(options.magnitude, context, 'magnitude'),
      }),
  });
  optimizer('accumulate-gradients', {
    description: 'another optimizer on the mean gradient of several minibatches',
    options: z.strictObject({ optimizer: innerConfig, batches: z.int().positive().default(4) }),
    create: async (options, context) =>
      accumulateGradients({
        optimizer: await resolveInner(options.optimizer, context, 'optimizer'),
        batches: options.batches,
      }),
  });
}
