/** Hand-designed optimizers that treat every tensor of the parameters by itself. */
import * as tf from '@tensorflow/tfjs';
import { isTreeContainer, treeFlatten, treeUnflatten, type LearnedOptimizer, type TensorTree } from '../src/contracts';
import type { LayerHyperParameter } from './by-layer';
import { handDesigned } from './hand-designed';

/** An optimizer's state for one tensor. */
export type Slots = { [slot: string]: tf.Tensor };

export interface TensorUpdate<K extends string> {
  readonly param: tf.Tensor;
  readonly gradient: tf.Tensor;
  readonly slots: Readonly<Record<string, tf.Tensor>>;
  /** In natural units at this step. */
  readonly hyper: Readonly<Record<K, tf.Tensor>>;
  /** Updates up to and with this one, from 1: float32, a scalar. */
  readonly steps: tf.Tensor;
}

export interface PerTensor<K extends string> {
  /** See `handDesigned`. */
  readonly flags?: Readonly<Record<string, boolean>>;
  init(param: tf.Tensor, hyper: Readonly<Record<K, tf.Tensor>>): Slots;
  /** `step` is what is subtracted from the parameter. */
  update(args: TensorUpdate<K>): { readonly step: tf.Tensor; readonly slots: Slots };
}

/** The subtrees of `tree` that stand where `like` has its leaves, in flattening order. */
function subtreesAlong(like: TensorTree, tree: TensorTree): TensorTree[] {
  if (!isTreeContainer(like)) return [tree];
  const keys = Array.isArray(like) ? [...like.keys()].map(String) : Object.keys(like).sort();
  const child = (of: TensorTree, key: string): TensorTree => (of as Readonly<Record<string, TensorTree>>)[key];
  return keys.flatMap((key) => subtreesAlong(child(like, key), child(tree, key)));
}

/** An optimizer from what it does to one tensor. Its state has the structure of the parameters, a record of slots for a leaf. */
export function perTensor<K extends string>(
  name: string,
  hyper: Readonly<Record<K, LayerHyperParameter>>,
  rule: PerTensor<K>,
): LearnedOptimizer {
  return handDesigned(name, hyper, rule.flags ?? {}, (at) => ({
    init: (params) => {
      const start = at(tf.scalar(0, 'int32'));
      return treeUnflatten(
        params,
        treeFlatten<tf.Tensor>(params).map((param) => rule.init(param, start)),
      );
    },
    update: ({ params, gradients, state, t }) => {
      const values = at(t);
      const steps = tf.add(tf.cast(t, 'float32'), 1);
      const of = treeFlatten<tf.Tensor>(gradients);
      const slots = subtreesAlong(params, state) as Slots[];
      const leaves = treeFlatten<tf.Tensor>(params);
      const updates = leaves.map((param, i) =>
        // Of no numbers there is no mean either.
        param.size === 0
          ? { step: param, slots: slots[i] }
          : rule.update({ param, gradient: of[i], slots: slots[i], hyper: values, steps }),
      );
      return {
        params: treeUnflatten(
          params,
          leaves.map((param, i) => tf.sub(param, updates[i].step)),
        ),
        state: treeUnflatten(
          params,
          updates.map((update) => update.slots),
        ),
      };
    },
  }));
}

/** βm + (1 − β)x. */
export function average(beta: tf.Tensor, mean: tf.Tensor, x: tf.Tensor): tf.Tensor {
  return tf.add(tf.mul(beta, mean), tf.mul(tf.sub(1, beta), x));
}

/** x/(1 − β^steps): the average of a series that started at 0, without its bias (Kingma, Ba 2015, §3). */
export function unbiased(beta: tf.Tensor, steps: tf.Tensor, x: tf.Tensor): tf.Tensor {
  return tf.div(x, tf.sub(1, tf.pow(beta, steps)));
}

/**
 * Numbers whose square must not overflow: one beyond ±10¹⁵ counts as ±10¹⁵ (float32 ends at 3·10³⁸, and squares are
 * summed).
 */
export function bounded(x: tf.Tensor): tf.Tensor {
  return tf.maximum(tf.minimum(x, 1e15), -1e15);
}

/** The Euclidean norm over all elements, a scalar; of `bounded` numbers, so that it is finite. */
export function norm(x: tf.Tensor): tf.Tensor {
  return tf.sqrt(tf.sum(tf.square(bounded(x))));
}
