/**
 * Hyperparameters become meta-parameters by being wrapped where they stand: `meta.log(0.003)`. A wrapped number is
 * stored transformed, and σ acts on the stored number (conventions.md).
 */
import * as tf from '@tensorflow/tfjs';
import { ConfigurationError } from './errors';
import type { NamedConfig } from './plugin';
import type { TensorTree } from './problem';
import { isTreeContainer } from './tree';

export type MetaTransform = 'log' | 'logit' | 'linear';

/** A hyperparameter that is learned. `initial` is in natural units. */
export class MetaParameter {
  constructor(
    readonly transform: MetaTransform,
    readonly initial: number,
  ) {}

  /** The stored number, e.g. ln(initial). */
  get stored(): number {
    switch (this.transform) {
      case 'log':
        return Math.log(this.initial);
      case 'logit':
        return Math.log(this.initial / (1 - this.initial));
      case 'linear':
        return this.initial;
    }
  }

  /** Natural units from the stored number: exp, sigmoid or identity. */
  natural(stored: tf.Scalar): tf.Scalar {
    switch (this.transform) {
      case 'log':
        return tf.exp(stored);
      case 'logit':
        return tf.sigmoid(stored);
      case 'linear':
        return stored;
    }
  }

  toString(): string {
    return `meta.${this.transform}(${String(this.initial)})`;
  }
}

function checked(transform: MetaTransform, initial: number, ok: boolean, expected: string): MetaParameter {
  if (!ok) throw new ConfigurationError(`meta.${transform}`, expected, String(initial));
  return new MetaParameter(transform, initial);
}

export const meta = {
  /** Positive; stores the natural logarithm. */
  log: (initial: number): MetaParameter =>
    checked('log', initial, initial > 0 && Number.isFinite(initial), 'a positive finite number'),
  /** In (0, 1); stores ln(x/(1−x)). */
  logit: (initial: number): MetaParameter =>
    checked('logit', initial, initial > 0 && initial < 1, 'a number between 0 and 1, both excluded'),
  /** Any finite number; stored as it is. */
  linear: (initial: number): MetaParameter => checked('linear', initial, Number.isFinite(initial), 'a finite number'),
} as const;

/** A number, or one that is learned. */
export type HyperNumber = number | MetaParameter;

/** A hyperparameter that depends on the inner step. */
export interface Schedule {
  readonly kind: 'schedule';
  readonly name: string;
  readonly parameters: Readonly<Record<string, HyperNumber>>;
  /** What makes it again by the name that it is registered by, as plain data (`withConfig`). */
  readonly config?: NamedConfig;
  /** The value at step `t` (int32, any shape, elementwise) from parameters in natural units. Traced. */
  at(parameters: Readonly<Record<string, tf.Scalar>>, t: tf.Tensor): tf.Tensor;
  /** The same schedule with what was left to the horizon (a timescale) filled in; absent if nothing can be. */
  forHorizon?(horizon: number): Schedule;
}

export type HyperParameter = HyperNumber | Schedule;

export function isSchedule(value: unknown): value is Schedule {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'schedule';
}

/** Hyperparameters by name; nesting follows the names of the wrapped ones in θ: `learningRate.initial`. */
export type HyperParameters = Readonly<Record<string, HyperParameter>>;

function initialTree(hyperparameters: HyperParameters): { [key: string]: TensorTree } {
  const tree: { [key: string]: TensorTree } = {};
  for (const [name, value] of Object.entries(hyperparameters)) {
    if (value instanceof MetaParameter) tree[name] = tf.scalar(value.stored);
    else if (isSchedule(value)) {
      const inner = initialTree(value.parameters);
      if (Object.keys(inner).length > 0) tree[name] = inner;
    }
  }
  return tree;
}

function naturalNumber(value: HyperNumber, stored: TensorTree | undefined): tf.Scalar {
  return value instanceof MetaParameter ? value.natural(stored as tf.Scalar) : tf.scalar(value);
}

function branch(theta: TensorTree, name: string): TensorTree | undefined {
  return isTreeContainer(theta) ? (theta as Readonly<Record<string, TensorTree>>)[name] : undefined;
}

function naturalValue(value: HyperParameter, stored: TensorTree | undefined, t: tf.Tensor): tf.Tensor {
  if (!isSchedule(value)) return naturalNumber(value, stored);
  const parameters: Record<string, tf.Scalar> = {};
  for (const [name, parameter] of Object.entries(value.parameters)) {
    parameters[name] = naturalNumber(parameter, stored === undefined ? undefined : branch(stored, name));
  }
  return value.at(parameters, t);
}

/** θ of a set of hyperparameters: its wrapped numbers, transformed, as float32 scalars. */
export function hyperTheta(hyperparameters: HyperParameters): TensorTree {
  return initialTree(hyperparameters);
}

/** Every hyperparameter in natural units at step `t` (int32 scalar, or a vector of steps). Traced. */
export function hyperValues<K extends string>(
  hyperparameters: Readonly<Record<K, HyperParameter>>,
  theta: TensorTree,
  t: tf.Tensor,
): Record<K, tf.Tensor> {
  const values = {} as Record<K, tf.Tensor>;
  for (const name of Object.keys(hyperparameters) as K[]) {
    values[name] = naturalValue(hyperparameters[name], branch(theta, name), t);
  }
  return values;
}
