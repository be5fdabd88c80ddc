/** Schedules: a hyperparameter as a function of the inner step t = 0, 1, … */
import * as tf from '@tensorflow/tfjs';
import { z } from 'zod';
import {
  checkHyperNumber,
  ConfigurationError,
  hyperNumber,
  withConfig,
  type HyperNumber,
  type Registrar,
  type Schedule,
} from '../src/contracts';

type Natural = Readonly<Record<string, tf.Scalar>>;

/** t/timescale in float32. */
function progress(t: tf.Tensor, timescale: tf.Tensor): tf.Tensor {
  return tf.div(tf.cast(t, 'float32'), timescale);
}

/**
 * A schedule with a timescale in inner steps that is the horizon unless it was given.
 * @param options what it is registered with beside the timescale, where that is not the parameters themselves
 * @throws ConfigurationError from `at` if there was neither.
 */
function timed(
  name: string,
  parameters: Readonly<Record<string, HyperNumber>>,
  timescale: HyperNumber | undefined,
  at: (parameters: Natural, progress: tf.Tensor) => tf.Tensor,
  options: Readonly<Record<string, unknown>> = parameters,
): Schedule {
  if (timescale !== undefined) checkHyperNumber('timescale', timescale, { above: 0 });
  const given: Readonly<Record<string, HyperNumber>> = timescale === undefined ? {} : { timescale };
  return withConfig<Schedule>(
    name,
    { ...options, ...given },
    {
      kind: 'schedule',
      name,
      parameters: { ...parameters, ...given },
      at: (natural, t) => {
        if (timescale === undefined) {
          throw new ConfigurationError(
            'timescale',
            'a number of inner steps',
            'none',
            `The ${name} schedule takes it from the horizon only where there is a finite one.`,
          );
        }
        return at(natural, progress(t, natural.timescale));
      },
      ...(timescale === undefined && {
        forHorizon: (horizon: number) =>
          timed(name, parameters, Number.isFinite(horizon) ? horizon : undefined, at, options),
      }),
    },
  );
}

/** The same value at every step. */
export function constant({ value }: { readonly value: HyperNumber }): Schedule {
  checkHyperNumber('value', value, {});
  const parameters = { value };
  return withConfig<Schedule>('constant', parameters, {
    kind: 'schedule',
    name: 'constant',
    parameters,
    at: ({ value: natural }) => natural,
  });
}

export interface InverseTimeOptions {
  /** Value at t = 0. */
  readonly initial: HyperNumber;
  readonly decay: HyperNumber;
  /** Inner steps; by default the horizon. */
  readonly timescale?: HyperNumber;
}

/** initial / (1 + t/timescale)^decay (Vicol et al. 2021, §5.3, where the timescale is 5000). */
export function inverseTime({ initial, decay, timescale }: InverseTimeOptions): Schedule {
  checkHyperNumber('initial', initial, { min: 0 });
  checkHyperNumber('decay', decay, {});
  // Through log1p: (1 + x)^−decay loses digits in float32 at small x and large decay.
  return timed('inverse-time', { initial, decay }, timescale, (natural, x) =>
    tf.mul(natural.initial, tf.exp(tf.neg(tf.mul(natural.decay, tf.log1p(x))))),
  );
}

export interface ExponentialOptions {
  /** Value at t = 0. */
  readonly initial: HyperNumber;
  /** Factor gained every `timescale` steps; positive. */
  readonly rate: HyperNumber;
  /** Inner steps; by default the horizon. */
  readonly timescale?: HyperNumber;
}

/** initial · rate^(t/timescale). */
export function exponential({ initial, rate, timescale }: ExponentialOptions): Schedule {
  checkHyperNumber('initial', initial, { min: 0 });
  checkHyperNumber('rate', rate, { above: 0 });
  return timed('exponential', { initial, rate }, timescale, (natural, x) =>
    tf.mul(natural.initial, tf.exp(tf.mul(tf.log(natural.rate), x))),
  );
}

export interface CosineOptions {
  /** The highest value, reached at the end of the warm-up. */
  readonly initial: HyperNumber;
  /** Value at the end; 0 by default. */
  readonly final?: HyperNumber;
  /** Share of the timescale over which the value rises linearly from 0; 0 by default, below 1. */
  readonly warmup?: number;
  /** Inner steps until `final` is reached, warm-up included; by default the horizon. */
  readonly timescale?: HyperNumber;
}

/**
 * Half a cosine from `initial` to `final` after a linear warm-up from 0 (Loshchilov, Hutter 2017, eq. 5, without
 * restarts); `final` from the timescale on.
 */
export function cosine({ initial, final = 0, warmup = 0, timescale }: CosineOptions): Schedule {
  checkHyperNumber('initial', initial, { min: 0 });
  checkHyperNumber('final', final, { min: 0 });
  checkHyperNumber('warmup', warmup, { min: 0, below: 1 });
  return timed('cosine', { initial, final, warmup }, timescale, (natural, x) => {
    const phase = tf.minimum(tf.maximum(tf.mul(tf.sub(x, warmup), 1 / (1 - warmup)), 0), 1);
    const share = tf.mul(tf.add(tf.cos(tf.mul(phase, Math.PI)), 1), 0.5);
    const value = tf.add(natural.final, tf.mul(tf.sub(natural.initial, natural.final), share));
    return warmup === 0 ? value : tf.mul(value, tf.minimum(tf.mul(x, 1 / warmup), 1));
  });
}

export interface PiecewiseLinearOptions {
  /** At the knots, two or more. */
  readonly values: readonly HyperNumber[];
  /** Of the knots, as shares of the timescale, increasing from 0 or more; by default equally spaced from 0 to 1. */
  readonly places?: readonly number[];
  /** Inner steps that a place of 1 stands for; by default the horizon. 1: places are steps. */
  readonly timescale?: HyperNumber;
}

/** @throws ConfigurationError */
function checkKnots({ values, places }: PiecewiseLinearOptions): void {
  if (values.length < 2) throw new ConfigurationError('values', 'two values or more', String(values.length));
  values.forEach((value, i) => {
    checkHyperNumber(`values.${i}`, value, { min: 0 });
  });
  if (places === undefined) return;
  if (places.length !== values.length) {
    const expected = `${values.length} places, one for each value`;
    throw new ConfigurationError('places', expected, String(places.length));
  }
  places.forEach((place, i) => {
    checkHyperNumber(`places.${i}`, place, i === 0 ? { min: 0 } : { above: places[i - 1] });
  });
}

/**
 * Straight lines from knot to knot; before the first the first value, after the last the last. θ names the values in
 * order: `value1`, …
 * @throws ConfigurationError for fewer than two values, or places that are not as many or do not increase.
 */
export function piecewiseLinear(options: PiecewiseLinearOptions): Schedule {
  checkKnots(options);
  const { values, places, timescale } = options;
  const knots = values.length;
  const at = places ?? values.map((_, i) => i / (knots - 1));
  // Of one length, so that the order of names is that of the knots.
  const names = values.map((_, i) => `value${String(i + 1).padStart(String(knots).length, '0')}`);
  const parameters = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  /** From 0 at knot i to 1 at knot k; beyond these below 0 or above 1. */
  const way = (x: tf.Tensor, i: number, k: number): tf.Tensor =>
    tf.mul(k > i ? tf.sub(x, at[i]) : tf.sub(at[i], x), 1 / Math.abs(at[k] - at[i]));
  const weight = (x: tf.Tensor, i: number): tf.Tensor => {
    const sides = [i - 1, i + 1].filter((k) => k >= 0 && k < knots).map((k) => way(x, k, i));
    return tf.minimum(tf.maximum(sides.length === 1 ? sides[0] : tf.minimum(sides[0], sides[1]), 0), 1);
  };
  // A sum of values times weights, not of differences: these would cancel what is left of a small value after large ones.
  const line = (natural: Natural, x: tf.Tensor): tf.Tensor =>
    names.map((name, i) => tf.mul(natural[name], weight(x, i))).reduce((a, b) => tf.add(a, b));
  return timed('piecewise-linear', parameters, timescale, line, { values, ...(places !== undefined && { places }) });
}

const timescale = hyperNumber({ above: 0 }).optional();

/** Registers every schedule of this file. */
export function registerSchedules({ schedule }: Registrar): void {
  schedule('constant', {
    description: 'the same value at every step',
    options: z.strictObject({ value: hyperNumber() }),
    create: constant,
  });
  schedule('inverse-time', {
    description: 'initial / (1 + t/timescale)^decay',
    options: z.strictObject({ initial: hyperNumber({ min: 0 }), decay: hyperNumber(), timescale }),
    create: inverseTime,
  });
  schedule('exponential', {
    description: 'initial · rate^(t/timescale)',
    options: z.strictObject({ initial: hyperNumber({ min: 0 }), rate: hyperNumber({ above: 0 }), timescale }),
    create: exponential,
  });
  schedule('cosine', {
    description: 'half a cosine from initial to final, after a linear warm-up',
    options: z.strictObject({
      initial: hyperNumber({ min: 0 }),
      final: hyperNumber({ min: 0 }).optional(),
      warmup: z.number().min(0).lt(1).optional(),
      timescale,
    }),
    create: cosine,
  });
  schedule('piecewise-linear', {
    description: 'straight lines between values at given places',
    options: z
      .strictObject({
        values: z.array(hyperNumber({ min: 0 })),
        places: z.array(z.number()).optional(),
        timescale,
      })
      .superRefine((options, context) => {
        try {
          checkKnots(options);
        } catch (error) {
          if (!(error instanceof ConfigurationError)) throw error;
          context.addIssue({ code: 'custom', message: error.expected, path: pathOf(error.key) });
        }
      }),
    create: piecewiseLinear,
  });
}

/** `places.1` → ['places', 1]. */
function pathOf(key: string): (string | number)[] {
  return key.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}
