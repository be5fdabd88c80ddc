/** Conformance of schedules: a row each, with its formula in float64. */
import * as tf from '@tensorflow/tfjs';
import { hyperTheta, hyperValues, meta, type Schedule } from '../../src/contracts';
import { constant, cosine, exponential, inverseTime, piecewiseLinear, sgd } from '../../learned-optimizers';

const HORIZON = 400;

interface Row {
  readonly name: string;
  readonly schedule: Schedule;
  /** Value at t with the horizon filled in. */
  readonly formula: (t: number) => number;
}

type Knot = readonly [t: number, value: number];

/** Linear interpolation, segment by segment. */
function between(knots: readonly Knot[], t: number): number {
  if (t <= knots[0][0]) return knots[0][1];
  for (let i = 1; i < knots.length; i++) {
    const [[t0, v0], [t1, v1]] = [knots[i - 1], knots[i]];
    if (t <= t1) return v0 + ((v1 - v0) * (t - t0)) / (t1 - t0);
  }
  return knots[knots.length - 1][1];
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
  {
    name: 'piecewise-linear',
    schedule: piecewiseLinear({ values: [0, meta.log(0.3), 1e-4] }),
    formula: (t) =>
      between(
        [
          [0, 0],
          [200, 0.3],
          [400, 1e-4],
        ],
        t,
      ),
  },
  {
    name: 'piecewise-linear, own places, constant before the first and after the last',
    schedule: piecewiseLinear({ values: [0.1, meta.linear(0.4), meta.log(0.2)], places: [0.02, 0.25, 0.6] }),
    formula: (t) =>
      between(
        [
          [8, 0.1],
          [100, 0.4],
          [240, 0.2],
        ],
        t,
      ),
  },
  {
    name: 'piecewise-linear, learned timescale, many knots',
    schedule: piecewiseLinear({
      values: Array.from({ length: 12 }, (_, i) => meta.log(1 / (1 + i * i))),
      timescale: meta.log(220),
    }),
    formula: (t) =>
      between(
        Array.from({ length: 12 }, (_, i): Knot => [20 * i, 1 / (1 + i * i)]),
        t,
      ),
  },
  {
    name: 'piecewise-linear, places in steps',
    schedule: piecewiseLinear({ values: [0.5, 0.1], places: [1, 201], timescale: 1 }),
    formula: (t) =>
      between(
        [
          [1, 0.5],
          [201, 0.1],
        ],
        t,
      ),
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

test('the names of many knots in θ are in the order of the knots', () => {
  const { parameters } = piecewiseLinear({ values: Array.from({ length: 12 }, (_, i) => i) });
  expect(
    Object.entries(parameters)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, value]) => value),
  ).toEqual(Array.from({ length: 12 }, (_, i) => i));
});

test('a given timescale is not replaced by the horizon', () => {
  expect(inverseTime({ initial: 0.1, decay: 1, timescale: 5000 })).not.toHaveProperty('forHorizon');
});

test.each([
  ['initial: expected a finite number at least 0, got -1', () => inverseTime({ initial: -1, decay: 1 })],
  ['timescale: expected a finite number above 0, got 0', () => inverseTime({ initial: 1, decay: 1, timescale: 0 })],
  ['warmup: expected a finite number at least 0 below 1, got 1', () => cosine({ initial: 1, warmup: 1 })],
  ['values: expected two values or more, got 1', () => piecewiseLinear({ values: [1] })],
  ['values.1: expected a finite number at least 0, got -1', () => piecewiseLinear({ values: [1, -1] })],
  [
    'places: expected 2 places, one for each value, got 3',
    () => piecewiseLinear({ values: [1, 2], places: [0, 0.5, 1] }),
  ],
  [
    'places.2: expected a finite number above 0.5, got 0.5',
    () => piecewiseLinear({ values: [1, 2, 3], places: [0, 0.5, 0.5] }),
  ],
  [
    'places.0: expected a finite number at least 0, got -0.5',
    () => piecewiseLinear({ values: [1, 2], places: [-0.5, 1] }),
  ],
  ['momentum: expected a finite number at least 0 below 1, got 1.5', () => sgd({ momentum: 1.5 })],
  ['learningRate: expected a finite number at least 0, got NaN', () => sgd({ learningRate: NaN })],
])('%s', (message, make) => {
  expect(make).toThrow(message);
});
