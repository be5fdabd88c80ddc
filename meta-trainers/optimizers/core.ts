/** What the outer optimizers share: the rate, clipping of the gradient, and the averaged θ. */
import { z } from 'zod';
import type { ArrayBundle, OuterOptimizer } from '../../src/contracts';
import { CheckpointError } from '../../src/contracts/errors';
import { averagedTheta, initAverage, updateAverage } from '../averaging';
import { iterationSchedule, scheduleSchema } from '../schedules';

export const commonOptions = {
  /** A number or a schedule over outer iterations. */
  learningRate: scheduleSchema,
  /** Bound on each number of the gradient; applied before `clipNorm`. */
  clipValue: z.number().positive().optional(),
  /** Bound on the Euclidean norm of the whole gradient, which is scaled down to it. */
  clipNorm: z.number().positive().optional(),
  /** Decay of an exponential average of θ that evaluation uses instead of θ; see `averaging.ts`. */
  average: z.number().min(0).lt(1).optional(),
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

const averagePrefix = 'average.';

function slot(state: ArrayBundle, name: string, length: number): Float64Array {
  const found = (state as Partial<ArrayBundle>)[name];
  if (!(found?.data instanceof Float64Array) || found.data.length !== length) {
    throw new CheckpointError(
      `outer optimizer state "${name}": expected ${length} float64 numbers, got ${found === undefined ? 'nothing' : `${found.data.length} of another type or length`}.`,
    );
  }
  return found.data;
}

/** An OuterOptimizer from a rule and the options that all share. */
export function outerOptimizer(rule: Rule, options: CommonOptions): OuterOptimizer {
  const rate = iterationSchedule(options.learningRate);
  const { average } = options;
  const withPrefix = (bundle: ArrayBundle): ArrayBundle =>
    Object.fromEntries(Object.entries(bundle).map(([name, array]) => [averagePrefix + name, array]));
  const averageOf = (state: ArrayBundle, size: number): ArrayBundle => ({
    theta: { shape: [size], data: slot(state, `${averagePrefix}theta`, size) },
    weight: { shape: [1], data: slot(state, `${averagePrefix}weight`, 1) },
  });

  return {
    name: rule.name,
    init: (size) => ({
      step: { shape: [1], data: new Float64Array(1) },
      ...Object.fromEntries(rule.slots.map((name) => [name, { shape: [size], data: new Float64Array(size) }])),
      ...(average === undefined ? {} : withPrefix(initAverage(size))),
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
          ...(average === undefined ? {} : withPrefix(updateAverage(averageOf(state, size), next, average))),
        },
      };
    },
    ...(average === undefined
      ? {}
      : { evaluationTheta: (theta, state) => averagedTheta(averageOf(state, theta.length), theta) }),
  };
}
