/** Conformance of schedules: a row each, with its formula in float64. */
import * as tf from '@tensorflow/tfjs';
import { hyperTheta, hyperValues, meta, type Schedule } from '../../src/contracts';
import { constant, cosine, exponential, inverseTime, sgd } from '../../learned-optimizers';

const HORIZON = 400;

interface Row {
  readonly name: string;
  readonly schedule: Schedule;
  /** Value at t with the horizon filled in. */
  readonly formula: (t: number) => number;
}

const rows: readonly Row[] = [
  { name: 'constant', schedule: constant({ value: meta.log(0.3) }), formula: () => 0.3 },
  {
    name: 'inverse-time',
    schedule: inverseTime({ initial: meta.log(0.003), decay: meta.log(30) }),
    formula: (t) => 0.003 / (1 + t / HORIZON) ** 30,
  },
  {
    name: 'inverse-time, own timescale',
    schedule: inverseTime({ initial: 0.1, decay: meta.linear(-0.5), timescale: meta.log(50) }),
    formula: (t) => 0.1 / (1 + t / 50) ** -0.5,
  },
  {
    name: 'exponential',
    schedule: exponential({ initial: 0.1, rate: meta.log(0.01) }),
    formula: (t) => 0.1 * 0.01 ** (t / HORIZON),
  },
  {
    name: 'cosine',
    schedule: cosine({ initial: meta.log(0.2), final: 0.01 }),
    formula: (t) => 0.01 + (0.19 * (1 + Math.cos((Math.PI * Math.min(t, HORIZON)) / HORIZON))) / 2,
  },
  {
    name: 'cosine with warm-up',
    schedule: cosine({ initial: 0.2, warmup: 0.25, timescale: 200 }),
    formula: (t) => (t < 50 ? 0.2 * (t / 50) : 0.1 * (1 + Math.cos((Math.PI * Math.min(t - 50, 150)) / 150))),
  },
];

beforeAll(() => tf.setBackend('cpu'));

describe.each(rows)('$name', ({ schedule, formula }) => {
  const bound = schedule.forHorizon?.(HORIZON) ?? schedule;
  const steps = [0, 1, 2, 49, 50, 51, 199, 200, HORIZON - 1, HORIZON, 3 * HORIZON];
  const at = (t: tf.Tensor): number[] =>
    Array.from(
      tf.tidy(() => {
        const theta = hyperTheta({ rate: bound });
        return tf.broadcastTo(hyperValues({ rate: bound }, theta, t).rate, t.shape).dataSync();
      }),
    );

  test('has the values of its formula', () => {
    at(tf.tensor1d(steps, 'int32')).forEach((value, i) => {
      const expected = formula(steps[i]);
      // float32: the exponent of a power reaches 42, each of whose roundings (2⁻²⁴) counts absolutely; a cosine near its
      // end loses what 1 + cos cancels, relative to the start's value.
      expect(Math.abs(value - expected)).toBeLessThan(1e-5 * Math.abs(expected) + 1e-7 * formula(50));
    });
  });

  test('takes a scalar step as well as a vector', () => {
    const together = at(tf.tensor1d(steps, 'int32'));
    expect(steps.map((t) => at(tf.scalar(t, 'int32'))[0])).toEqual(together);
  });
});

test('without a horizon, a schedule that needs one says so', () => {
  const schedule = inverseTime({ initial: 0.1, decay: 1 });
  expect(() => schedule.at({}, tf.scalar(0, 'int32'))).toThrow('timescale: expected a number of inner steps, got none');
  const endless = schedule.forHorizon!(Infinity);
  expect(() => endless.at({}, tf.scalar(0, 'int32'))).toThrow('timescale');
});

test('a given timescale is not replaced by the horizon', () => {
  expect(inverseTime({ initial: 0.1, decay: 1, timescale: 5000 })).not.toHaveProperty('forHorizon');
});

test.each([
  ['initial: expected a finite number at least 0, got -1', () => inverseTime({ initial: -1, decay: 1 })],
  ['timescale: expected a finite number above 0, got 0', () => inverseTime({ initial: 1, decay: 1, timescale: 0 })],
  ['warmup: expected a finite number at least 0 below 1, got 1', () => cosine({ initial: 1, warmup: 1 })],
  ['momentum: expected a finite number at least 0 below 1, got 1.5', () => sgd({ momentum: 1.5 })],
  ['learningRate: expected a finite number at least 0, got NaN', () => sgd({ learningRate: NaN })],
])('%s', (message, make) => {
  expect(make).toThrow(message);
});
