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
 * @throws ConfigurationError from `at` if there was neither.
 */
function timed(
  name: string,
  parameters: Readonly<Record<string, HyperNumber>>,
  timescale: HyperNumber | undefined,
  at: (parameters: Natural, progress: tf.Tensor) => tf.Tensor,
): Schedule {
  if (timescale !== undefined) checkHyperNumber('timescale', timescale, { above: 0 });
  const all = timescale === undefined ? parameters : { ...parameters, timescale };
  return withConfig<Schedule>(name, all, {
    kind: 'schedule',
    name,
    parameters: all,
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
      forHorizon: (horizon: number) => timed(name, parameters, Number.isFinite(horizon) ? horizon : undefined, at),
    }),
  });
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
}
