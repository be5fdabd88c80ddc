/** What the hand-designed optimizers share: hyperparameters, some of them wrapped, and how θ is described. */
import * as tf from '@tensorflow/tfjs';
import {
  hyperTheta,
  hyperValues,
  isSchedule,
  MetaParameter,
  treeLeaves,
  treeMap,
  withConfig,
  type HyperParameter,
  type LearnedOptimizer,
  type Optimizer,
  type TensorTree,
  type ThetaDescription,
} from '../src/contracts';
import { flatHyper, hasLayers, layerGroups, mapLayers, type LayerGroup, type LayerHyperParameter } from './by-layer';
import { replaced } from './replaced';

/** Points of a described curve, at most. */
const CURVE_POINTS = 201;

/** At most `CURVE_POINTS` steps from 0 to horizon − 1, both included, evenly spread. */
function curveSteps(horizon: number): number[] {
  const points = Math.min(horizon, CURVE_POINTS);
  return Array.from({ length: points }, (_, i) => (points === 1 ? 0 : Math.round((i * (horizon - 1)) / (points - 1))));
}

type Hyper<K extends string> = Readonly<Record<K, HyperParameter>>;

function entries(hyper: Hyper<string>): [string, HyperParameter][] {
  return Object.entries(hyper);
}

/** Schedules with the horizon filled in where they leave something to it. */
export function overHorizon<K extends string>(hyper: Hyper<K>, horizon: number): Hyper<K> {
  const bound = entries(hyper).map(([key, value]) => [
    key,
    isSchedule(value) ? (value.forHorizon?.(horizon) ?? value) : value,
  ]);
  return Object.fromEntries(bound) as Hyper<K>;
}

/** The wrapped numbers in natural units by their path in θ, and a curve for every schedule if the horizon is finite. */
export function describeHyper(hyper: Hyper<string>, theta: TensorTree, horizon: number): ThetaDescription {
  return tf.tidy(() => {
    const values: Record<string, number> = {};
    const natural = (path: string, value: MetaParameter, stored: TensorTree): void => {
      values[path] = value.natural(stored as tf.Scalar).dataSync()[0];
    };
    const branch = (tree: TensorTree, name: string): TensorTree => (tree as Record<string, TensorTree>)[name];
    for (const [name, value] of entries(hyper)) {
      if (value instanceof MetaParameter) natural(name, value, branch(theta, name));
      else if (isSchedule(value)) {
        for (const [inner, parameter] of Object.entries(value.parameters)) {
          if (parameter instanceof MetaParameter) {
            natural(`${name}.${inner}`, parameter, branch(branch(theta, name), inner));
          }
        }
      }
    }
    const schedules = Object.fromEntries(entries(hyper).filter(([, value]) => isSchedule(value)));
    if (!Number.isFinite(horizon) || Object.keys(schedules).length === 0) return { values };
    const t = curveSteps(horizon);
    const steps = tf.tensor1d(t, 'int32');
    const curves = Object.entries(hyperValues(schedules, theta, steps)).map(([name, value]) => {
      // A schedule that does not depend on t gives a scalar.
      const numbers = Array.from(tf.broadcastTo(value, [t.length]).dataSync());
      return [name, { t, value: numbers }] as const;
    });
    return { values, curves: Object.fromEntries(curves) };
  });
}

type LayerHyper<K extends string> = Readonly<Record<K, LayerHyperParameter>>;
type Make<K extends string> = (at: (t: tf.Scalar) => Record<K, tf.Tensor>) => Optimizer;
type Branches = Readonly<Record<string, TensorTree>>;

/** The rule for each group of tensors that share their hyperparameters; its state is a list by group. */
function layered<K extends string>(hyper: LayerHyper<K>, theta: TensorTree, make: Make<K>): Optimizer {
  const flat = flatHyper(hyper);
  const ruleOf = ({ keys }: LayerGroup<K>): Optimizer =>
    make((t) => {
      const own = Object.fromEntries(Object.values<string>(keys).map((key) => [key, flat[key]]));
      const values = hyperValues(own, theta, t);
      return Object.fromEntries(Object.entries<string>(keys).map(([name, key]) => [name, values[key]])) as never;
    });
  /** A group's part of a tree like the parameters, by path. */
  const part = (tree: TensorTree, { leaves }: LayerGroup<K>): Record<string, tf.Tensor> => {
    const all = treeLeaves<tf.Tensor>(tree);
    return Object.fromEntries(leaves.map((leaf) => [all[leaf].path, all[leaf].value]));
  };
  return {
    init: (params) => layerGroups(hyper, params).map((group) => ruleOf(group).init(part(params, group))),
    update: (args) => {
      const { params, gradients, state } = args;
      const results = layerGroups(hyper, params).map((group, i) =>
        ruleOf(group).update(
          replaced(args, {
            params: part(params, group),
            gradients: part(gradients, group),
            state: (state as readonly TensorTree[])[i],
          }),
        ),
      );
      const after = Object.fromEntries(results.flatMap(({ params: moved }) => Object.entries(moved as Branches)));
      return {
        params: treeMap(params, (_, path) => after[path] as tf.Tensor),
        state: results.map((one) => one.state),
      };
    },
  };
}

/**
 * A hand-designed optimizer as a LearnedOptimizer: θ holds the wrapped hyperparameters (an empty tree if there is none), those
 * of layers by their dotted key.
 * `make` gets the hyperparameters in natural units as a function of t, and must treat every tensor by itself. `flags` are its
 * other options, for its `config`: the names of all are those of its registration.
 */
export function handDesigned<K extends string>(
  name: string,
  hyper: LayerHyper<K>,
  flags: Readonly<Record<string, boolean>>,
  make: Make<K>,
): LearnedOptimizer {
  const options = { ...hyper, ...flags };
  const flat = flatHyper(hyper);
  const bound = (horizon: number): LayerHyper<K> =>
    Object.fromEntries(
      Object.entries<LayerHyperParameter>(hyper).map(([key, value]) => [
        key,
        mapLayers(value, key, (one) => (isSchedule(one) ? (one.forHorizon?.(horizon) ?? one) : one)),
      ]),
    ) as LayerHyper<K>;
  return withConfig(name, options, {
    name,
    initTheta: () => hyperTheta(flat),
    optimizer: (theta) =>
      hasLayers(hyper) ? layered(hyper, theta, make) : make((t) => hyperValues(hyper as Hyper<K>, theta, t)),
    describeTheta: (theta, horizon) => describeHyper(overHorizon(flat, horizon), theta, horizon),
    forHorizon: (horizon) => handDesigned(name, bound(horizon), flags, make),
  });
}
