/** What the outer optimizers share: the rate and clipping of the gradient. */
import { z } from 'zod';
import type { ArrayBundle, OuterOptimizer } from '../../src/contracts';
import { CheckpointError } from '../../src/contracts/errors';
import { settingsOf } from '../options';
import { iterationSchedule, scheduleSchema } from '../schedules';

export const commonOptions = {
  /** A number or a schedule over outer iterations. */
  learningRate: scheduleSchema,
  /** Bound on each number of the gradient; applied before `clipNorm`. */
  clipValue: z.number().positive().optional(),
  /** Bound on the Euclidean norm of the whole gradient, which is scaled down to it. */
  clipNorm: z.number().positive().optional(),
};

export type CommonOptions = z.output<z.ZodObject<typeof commonOptions>>;

/** float64 arrays by name. */
export type Slots = Record<string, Float64Array>;

/** An update rule: what is subtracted from θ, and the slots that the next step sees. */
export interface Rule {
  readonly name: string;
  /** Names of the slots of θ's size, all zero at first; `step` (one number, the updates done) is there always. */
  readonly slots: readonly string[];
  /**
   * The decrement of θ for update number `n` (from 1). `slots` are copies: change them in place.
   */
  decrement(gradient: Float64Array, slots: Slots, rate: number, n: number): Float64Array;
}

/** The gradient with each number bounded, then the whole; the argument is left as it is. */
export function clipGradient(
  gradient: Float64Array,
  limits: { readonly clipValue?: number; readonly clipNorm?: number },
): Float64Array {
  const { clipValue = Infinity, clipNorm = Infinity } = limits;
  const clipped = gradient.map((g) => Math.min(clipValue, Math.max(-clipValue, g)));
  const norm = Math.sqrt(clipped.reduce((sum, g) => sum + g * g, 0));
  return norm > clipNorm ? clipped.map((g) => g * (clipNorm / norm)) : clipped;
}

function slot(state: ArrayBundle, name: string, length: number): Float64Array {
  const found = (state as Partial<ArrayBundle>)[name];
  if (!(found?.data instanceof Float64Array) || found.data.length !== length) {
    throw new CheckpointError(
      `outer optimizer state "${name}": expected ${length} float64 numbers, got ${found === undefined ? 'nothing' : `${found.data.length} of another type or length`}.`,
    );
  }
  return found.data;
}

/** An OuterOptimizer from a rule and its options, all of which it states as its settings. */
export function outerOptimizer(rule: Rule, options: CommonOptions): OuterOptimizer {
  const rate = iterationSchedule(options.learningRate);

  return {
    name: rule.name,
    settings: settingsOf(options),
    init: (size) => ({
      step: { shape: [1], data: new Float64Array(1) },
      ...Object.fromEntries(rule.slots.map((name) => [name, { shape: [size], data: new Float64Array(size) }])),
    }),
    update: (theta, gradient, state, iteration) => {
      const size = theta.length;
      const n = slot(state, 'step', 1)[0] + 1;
      const slots: Slots = Object.fromEntries(rule.slots.map((name) => [name, slot(state, name, size).slice()]));
      const decrement = rule.decrement(clipGradient(gradient, options), slots, rate(iteration), n);
      const next = theta.map((x, i) => x - decrement[i]);
      return {
        theta: next,
        state: {
          step: { shape: [1], data: Float64Array.of(n) },
          ...Object.fromEntries(Object.entries(slots).map(([name, data]) => [name, { shape: [size], data }])),
        },
      };
    },
  };
}
