/** What optimizers around optimizers share: how θ, schedules and descriptions of the inner ones nest in theirs. */
import type { Scalar, Tensor } from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  hyperTheta,
  hyperValues,
  withConfig,
  type ConfigValue,
  type FactoryContext,
  type HyperParameter,
  type KeyedRandom,
  type LearnedOptimizer,
  type TensorTree,
  type ThetaDescription,
  type UpdateRule,
} from '../src/contracts';
import { describeHyper, overHorizon } from './hand-designed';
import { keysOf } from './hyper-options';

type Branches = Readonly<Record<string, TensorTree>>;

export interface Wrapper<K extends string, I extends string> {
  /** Of the wrapper; the inner ones' names follow in brackets. */
  readonly name: string;
  /** The wrapper's own hyperparameters. */
  readonly hyper: Readonly<Record<K, HyperParameter>>;
  /** θ of each stands under its name, beside the wrapped hyperparameters. */
  readonly inner: Readonly<Record<I, LearnedOptimizer>>;
  readonly make: (at: (t: Scalar) => Record<K, Tensor>, inner: Readonly<Record<I, UpdateRule>>) => UpdateRule;
  /** Its other options, for its `config`; names of all, those of hyperparameters and inner ones too, are those of its registration. */
  readonly flags?: Readonly<Record<string, number>>;
  /** Inner steps for each update of the inner optimizers, 1 by default: their t and their horizon count updates. */
  readonly stepsAnUpdate?: number;
}

/** An optimizer around others. */
export function wrap<K extends string, I extends string>(wrapper: Wrapper<K, I>): LearnedOptimizer {
  const { name, hyper, inner, make, flags, stepsAnUpdate = 1 } = wrapper;
  const keys = keysOf(inner);
  const each = <T>(of: (optimizer: LearnedOptimizer, key: I, i: number) => T): Record<I, T> =>
    Object.fromEntries(keys.map((key, i) => [key, of(inner[key], key, i)])) as Record<I, T>;
  const updates = (horizon: number): number => Math.ceil(horizon / stepsAnUpdate);
  const options = { ...hyper, ...flags, ...each(({ config }) => config) };
  return withConfig(name, options, {
    name: `${name}(${keys.map((key) => inner[key].name).join(', ')})`,
    initTheta: (random: KeyedRandom) => ({
      ...(hyperTheta(hyper) as Branches),
      // A single inner optimizer starts from the θ₀ that it would have by itself.
      ...each((optimizer, _, i) => optimizer.initTheta(keys.length === 1 ? random : random.foldIn(i))),
    }),
    optimizer: (theta) => {
      const at = (t: Scalar): Record<K, Tensor> => hyperValues(hyper, theta, t);
      const optimizers = each((optimizer, key) => optimizer.optimizer((theta as Branches)[key]));
      return {
        ...make(at, optimizers),
        eager: make(
          at,
          Object.fromEntries(keys.map((key) => [key, optimizers[key].eager ?? optimizers[key]])) as never,
        ),
      };
    },
    describeTheta: (theta, horizon) => {
      const own = describeHyper(overHorizon(hyper, horizon), theta, horizon);
      const values: Record<string, number> = { ...own.values };
      const curves: Record<string, NonNullable<ThetaDescription['curves']>[string]> = { ...own.curves };
      for (const key of keys) {
        const described = inner[key].describeTheta?.((theta as Branches)[key], updates(horizon));
        for (const [path, value] of Object.entries(described?.values ?? {})) values[`${key}.${path}`] = value;
        for (const [path, { t, value }] of Object.entries(described?.curves ?? {})) {
          // Update u is made at the end of its steps.
          curves[`${key}.${path}`] = { t: t.map((u) => (u + 1) * stepsAnUpdate - 1), value };
        }
      }
      return { values, ...(Object.keys(curves).length > 0 && { curves }) };
    },
    forHorizon: (horizon) =>
      wrap({
        ...wrapper,
        hyper: overHorizon(hyper, horizon),
        inner: each((optimizer) => optimizer.forHorizon?.(updates(horizon)) ?? optimizer),
      }),
  });
}

/** An optimizer in the options of another: its name, or `{name, …options}`. */
export const innerConfig = z.custom<ConfigValue>(
  (config) =>
    typeof config === 'string' ||
    (typeof config === 'object' && config !== null && 'name' in config && typeof config.name === 'string'),
  { error: 'an optimizer: its name, or {name, …}' },
);

/** Makes the optimizer that stands under `key`. */
export function resolveInner(config: ConfigValue, context: FactoryContext, key: string): Promise<LearnedOptimizer> {
  return context.create('optimizer', config, key);
}
