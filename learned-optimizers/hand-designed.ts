/** What the hand-designed optimizers share: hyperparameters, some of them wrapped, and how θ is described. */
import * as tf from '@tensorflow/tfjs';
import {
  hyperTheta,
  hyperValues,
  isSchedule,
  MetaParameter,
  withConfig,
  type HyperParameter,
  type LearnedOptimizer,
  type Optimizer,
  type TensorTree,
  type ThetaDescription,
} from '../src/contracts';

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

/**
 * A hand-designed optimizer as a LearnedOptimizer: θ holds the wrapped hyperparameters (an empty tree if there is none).
 * `make` gets the hyperparameters in natural units as a function of t. `flags` are its other options, for its `config`: the
 * names of all are those of its registration.
 */
export function handDesigned<K extends string>(
  name: string,
  hyper: Hyper<K>,
  flags: Readonly<Record<string, boolean>>,
  make: (at: (t: tf.Scalar) => Record<K, tf.Tensor>) => Optimizer,
): LearnedOptimizer {
  const options = { ...hyper, ...flags };
  return withConfig(name, options, {
    name,
    initTheta: () => hyperTheta(hyper),
    optimizer: (theta) => make((t) => hyperValues(hyper, theta, t)),
    describeTheta: (theta, horizon) => describeHyper(overHorizon(hyper, horizon), theta, horizon),
    forHorizon: (horizon) => handDesigned(name, overHorizon(hyper, horizon), flags, make),
  });
}
