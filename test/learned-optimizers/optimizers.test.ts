/** Conformance of optimizers: a row each, with the recurrence it must follow in float64. */
import * as tf from '@tensorflow/tfjs';
import {
  meta,
  treeFlatten,
  treeLeaves,
  type LearnedOptimizer,
  type MetaParameter,
  type Task,
} from '../../src/contracts';
import { extremeGradients } from '../../src/conformance';
import { createEngine } from '../../src/engines';
import { traceProblem } from '../../src/graph/trace';
import { unroll } from '../../src/outer/combinators/unroll';
import { EagerRandom, seedKey } from '../../src/random';
import {
  adaBelief,
  adafactor,
  adagrad,
  adam,
  adamW,
  cosine,
  inverseTime,
  lamb,
  lars,
  learnableSgdm,
  lion,
  nadamW,
  piecewiseLinear,
  rAdam,
  rmsProp,
  sgd,
  yogi,
} from '../../learned-optimizers';
import * as recurrences from '../support/optimizer-recurrences';
import { heavyBall, type Recurrence } from '../support/optimizer-recurrences';
import { initialTheta, runnerOf, runProblem } from '../support/run-problem';

// Constants and θ's initial values are float32, also where the interpreter computes in float64.
const f = Math.fround;
const HORIZON = 100;

/** Σ ½hx² + sin x over parameters of awkward shapes, some nested, from starts that differ; `e` starts at zero. */
const SHAPES = { a: [3, 5], b: [7], c: [], d: [1, 1, 2], e: [4], f: [2, 1, 3, 4] } as const;
const PATHS = { a: 'a', b: 'rest.0', c: 'rest.1', d: 'rest.2.d', e: 'rest.2.e', f: 'f' } as const;
type Name = keyof typeof SHAPES;
const NAMES = Object.keys(SHAPES) as Name[];
const sizeOf = (name: Name): number => SHAPES[name].reduce<number>((a, b) => a * b, 1);
const curvature = (i: number): number => f(0.1 + 0.3 * (i % 15));
const start = (name: Name, i: number): number => (name === 'e' ? 0 : f(1.5 - 0.4 * (i % 15)));

const task: Task = {
  name: 'waves',
  init: () => {
    const at = (name: Name): tf.Tensor =>
      tf.tensor(
        Array.from({ length: sizeOf(name) }, (_, i) => start(name, i)),
        [...SHAPES[name]],
      );
    return { a: at('a'), rest: [at('b'), at('c'), { d: at('d'), e: at('e') }], f: at('f') };
  },
  loss: (params) => {
    const terms = treeFlatten<tf.Tensor>(params).map((x) => {
      const h = tf.tensor(
        Array.from({ length: x.size }, (_, i) => curvature(i)),
        x.shape,
      );
      return tf.sum(tf.add(tf.mul(tf.mul(h, 0.5), tf.square(x)), tf.sin(x)));
    });
    return terms.reduce((a, b) => tf.add(a, b));
  },
};
const gradient = (x: number, i: number): number => curvature(i) * x + Math.cos(x);

const exp = (x: number): number => Math.exp(f(x));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-f(x)));
const log = Math.log;
const logit = (x: number): number => Math.log(x / (1 - x));

interface Row {
  readonly name: string;
  readonly optimizer: LearnedOptimizer;
  readonly recurrence: Recurrence | Readonly<Record<Name, Recurrence>>;
  /** θ by path. */
  readonly theta: Readonly<Record<string, number>>;
  /** In natural units. */
  readonly described: Readonly<Record<string, number>>;
  /** How far a number of θ has to go to make a difference, where that is not 0.1. */
  readonly moves?: Readonly<Record<string, number>>;
}

const natural = (value: MetaParameter): number =>
  ({ log: exp, logit: sigmoid, linear: f })[value.transform](value.stored);

/** A row in which every hyperparameter is learned; the recurrence takes them in the order in which they are written. */
function learned<O extends Readonly<Record<string, MetaParameter>>>(
  name: string,
  make: (options: O) => LearnedOptimizer,
  recurrence: (...values: number[]) => Recurrence,
  options: O,
  moves?: Readonly<Record<string, number>>,
): Row {
  const each = <T>(of: (value: MetaParameter) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(options).map(([key, value]) => [key, of(value)]));
  return {
    name: `${name}, all learned`,
    optimizer: make(options),
    recurrence: recurrence(...Object.values(options).map(natural)),
    theta: each(({ stored }) => stored),
    described: each(({ initial }) => initial),
    ...(moves !== undefined && { moves }),
  };
}

const rows: readonly Row[] = [
  {
    name: 'sgd',
    optimizer: sgd({ learningRate: 0.05 }),
    recurrence: heavyBall(f(0.05), 0, false),
    theta: {},
    described: {},
  },
  {
    name: 'sgd, learned rate',
    optimizer: sgd({ learningRate: meta.log(0.05) }),
    recurrence: heavyBall(exp(log(0.05)), 0, false),
    theta: { learningRate: log(0.05) },
    described: { learningRate: 0.05 },
  },
  {
    name: 'momentum',
    optimizer: sgd({ learningRate: 0.02, momentum: 0.9 }),
    recurrence: heavyBall(f(0.02), f(0.9), false),
    theta: {},
    described: {},
  },
  {
    name: 'Nesterov, learned momentum',
    optimizer: sgd({ learningRate: 0.02, momentum: meta.logit(0.8), nesterov: true }),
    recurrence: heavyBall(f(0.02), sigmoid(logit(0.8)), true),
    theta: { momentum: logit(0.8) },
    described: { momentum: 0.8 },
  },
  {
    name: 'momentum, inverse-time schedule over the horizon',
    optimizer: sgd({
      learningRate: inverseTime({ initial: meta.log(0.1), decay: meta.log(3) }),
      momentum: 0.5,
    }),
    recurrence: heavyBall((t) => exp(log(0.1)) / (1 + t / HORIZON) ** exp(log(3)), 0.5, false),
    theta: { 'learningRate.decay': log(3), 'learningRate.initial': log(0.1) },
    described: { 'learningRate.decay': 3, 'learningRate.initial': 0.1 },
  },
  {
    name: 'learned knots of the rate and the momentum',
    optimizer: sgd({
      learningRate: piecewiseLinear({ values: [meta.log(0.02), meta.log(0.1), 0.01], places: [0, 0.25, 0.5] }),
      momentum: piecewiseLinear({ values: [meta.logit(0.5), 0.9], timescale: 64 }),
    }),
    recurrence: heavyBall(
      (t) =>
        t <= 25
          ? exp(log(0.02)) + ((exp(log(0.1)) - exp(log(0.02))) * t) / 25
          : f(0.01) + (exp(log(0.1)) - f(0.01)) * Math.max(0, (50 - t) / 25),
      (t) => 0.5 + (f(0.9) - 0.5) * Math.min(t / 64, 1),
      false,
    ),
    theta: { 'learningRate.value1': log(0.02), 'learningRate.value2': log(0.1), 'momentum.value1': logit(0.5) },
    described: { 'learningRate.value1': 0.02, 'learningRate.value2': 0.1, 'momentum.value1': 0.5 },
  },
  {
    name: 'rates and momenta of layers',
    optimizer: sgd({
      learningRate: {
        a: meta.log(0.05),
        rest: [0.02, meta.log(0.03), { d: meta.linear(0.04), rest: 0.06 }],
        f: inverseTime({ initial: meta.log(0.1), decay: 1 }),
      },
      momentum: { f: meta.logit(0.8), a: 0, rest: meta.logit(0.3) },
    }),
    recurrence: {
      a: heavyBall(exp(log(0.05)), 0, false),
      b: heavyBall(f(0.02), sigmoid(logit(0.3)), false),
      c: heavyBall(exp(log(0.03)), sigmoid(logit(0.3)), false),
      d: heavyBall(f(0.04), sigmoid(logit(0.3)), false),
      e: heavyBall(f(0.06), sigmoid(logit(0.3)), false),
      f: heavyBall((t) => exp(log(0.1)) / (1 + t / HORIZON), sigmoid(logit(0.8)), false),
    },
    theta: {
      'learningRate.a': log(0.05),
      'learningRate.f.initial': log(0.1),
      'learningRate.rest.1': log(0.03),
      'learningRate.rest.2.d': 0.04,
      'momentum.f': logit(0.8),
      'momentum.rest': logit(0.3),
    },
    described: {
      'learningRate.a': 0.05,
      'learningRate.f.initial': 0.1,
      'learningRate.rest.1': 0.03,
      'learningRate.rest.2.d': 0.04,
      'momentum.f': 0.8,
      'momentum.rest': 0.3,
    },
  },
  {
    name: 'learnable-sgdm',
    optimizer: learnableSgdm({ learningRate: 0.03, momentum: 0.7 }),
    recurrence: heavyBall(exp(log(0.03)), sigmoid(logit(0.7)), false),
    theta: { learningRate: log(0.03), momentum: logit(0.7) },
    described: { learningRate: 0.03, momentum: 0.7 },
  },
  {
    name: 'adam',
    optimizer: adam({ learningRate: 0.1 }),
    recurrence: recurrences.adam(f(0.1), f(0.9), f(0.999), f(1e-8), 0),
    theta: {},
    described: {},
  },
  {
    name: 'adam, all learned, decoupled weight decay',
    optimizer: adam({
      learningRate: meta.log(0.1),
      beta1: meta.logit(0.8),
      beta2: meta.logit(0.95),
      epsilon: meta.log(1e-3),
      weightDecay: meta.linear(0.25),
    }),
    recurrence: recurrences.adam(exp(log(0.1)), sigmoid(logit(0.8)), sigmoid(logit(0.95)), exp(log(1e-3)), 0.25),
    theta: {
      beta1: logit(0.8),
      beta2: logit(0.95),
      epsilon: log(1e-3),
      learningRate: log(0.1),
      weightDecay: 0.25,
    },
    described: { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, learningRate: 0.1, weightDecay: 0.25 },
  },
  {
    name: 'adamw',
    optimizer: adamW({ learningRate: 0.1 }),
    recurrence: recurrences.adam(f(0.1), f(0.9), f(0.999), f(1e-8), f(0.01)),
    theta: {},
    described: {},
  },
  learned('rmsprop', rmsProp, recurrences.rmsProp, {
    learningRate: meta.log(0.02),
    decay: meta.logit(0.8),
    momentum: meta.logit(0.3),
    epsilon: meta.log(1e-3),
  }),
  {
    name: 'rmsprop, plain',
    optimizer: rmsProp({ learningRate: 0.02 }),
    recurrence: recurrences.rmsProp(f(0.02), f(0.9), 0, f(1e-8)),
    theta: {},
    described: {},
  },
  learned('rmsprop, centred', (options) => rmsProp({ ...options, centered: true }), recurrences.graves, {
    learningRate: meta.log(0.02),
    decay: meta.logit(0.95),
    momentum: meta.logit(0.9),
    epsilon: meta.log(1e-2),
  }),
  learned('adagrad', adagrad, recurrences.adagrad, {
    learningRate: meta.log(0.3),
    epsilon: meta.log(1e-2),
    initialAccumulator: meta.log(0.1),
  }),
  {
    name: 'adagrad, plain',
    optimizer: adagrad({ learningRate: 0.3 }),
    recurrence: recurrences.adagrad(f(0.3), f(1e-10), 0),
    theta: {},
    described: {},
  },
  learned('nadamw', nadamW, recurrences.nadamW, {
    learningRate: meta.log(0.02),
    beta1: meta.logit(0.8),
    beta2: meta.logit(0.99),
    // Far enough from zero that rounding is not amplified where a parameter oscillates.
    epsilon: meta.log(1e-2),
    weightDecay: meta.linear(0.25),
  }),
  learned('adabelief', adaBelief, recurrences.adaBelief, {
    learningRate: meta.log(0.05),
    beta1: meta.logit(0.8),
    beta2: meta.logit(0.95),
    epsilon: meta.log(1e-3),
  }),
  learned('yogi', yogi, recurrences.yogi, {
    learningRate: meta.log(0.05),
    beta1: meta.logit(0.8),
    beta2: meta.logit(0.95),
    epsilon: meta.log(1e-3),
    initialAccumulator: meta.log(1e-2),
  }),
  learned(
    'radam',
    rAdam,
    recurrences.rAdam,
    {
      learningRate: meta.log(0.02),
      beta1: meta.logit(0.8),
      beta2: meta.logit(0.95),
      epsilon: meta.log(1e-3),
      threshold: meta.linear(5),
    },
    { threshold: 3 },
  ),
  {
    name: 'radam, plain',
    optimizer: rAdam({ learningRate: 0.02 }),
    recurrence: recurrences.rAdam(f(0.02), f(0.9), f(0.999), f(1e-8), 5),
    theta: {},
    described: {},
  },
  learned('adafactor', adafactor, recurrences.adafactor, {
    learningRate: meta.log(0.1),
    decayExponent: meta.log(0.7),
    epsilon1: meta.log(1e-4),
    epsilon2: meta.log(0.05),
    clippingThreshold: meta.log(0.8),
  }),
  {
    name: 'adafactor, plain',
    optimizer: adafactor(),
    recurrence: recurrences.adafactor(f(0.01), f(0.8), f(1e-30), f(1e-3), 1),
    theta: {},
    described: {},
  },
  learned('lars', lars, recurrences.lars, {
    learningRate: meta.log(0.5),
    momentum: meta.logit(0.8),
    weightDecay: meta.linear(0.1),
    trustCoefficient: meta.log(0.02),
  }),
  {
    name: 'lars, without decay',
    optimizer: lars({ weightDecay: 0 }),
    recurrence: recurrences.lars(f(0.1), f(0.9), 0, f(0.001)),
    theta: {},
    described: {},
  },
  learned('lamb', lamb, recurrences.lamb, {
    learningRate: meta.log(0.02),
    beta1: meta.logit(0.8),
    beta2: meta.logit(0.95),
    epsilon: meta.log(1e-3),
    weightDecay: meta.linear(0.1),
  }),
  learned(
    'lion',
    lion,
    recurrences.lion,
    {
      learningRate: meta.log(0.01),
      beta1: meta.logit(0.8),
      beta2: meta.logit(0.95),
      weightDecay: meta.linear(0.1),
    },
    { beta1: 2, beta2: 2 },
  ),
];

const problemOf = (optimizer: LearnedOptimizer) =>
  unroll({ task, optimizer, objective: { metric: 'loss', split: 'train', over: 'mean' }, horizon: HORIZON });

beforeAll(() => tf.setBackend('cpu'));

/** Divided by before they are squared; and a tensor without numbers. */
const EXTREMES = [extremeGradients({ huge: 1e30, leaf: () => tf.zeros([0, 3]) })];

describe.each(rows)('$name', ({ optimizer, recurrence, theta, described, moves = {} }) => {
  let run: ReturnType<typeof runnerOf>;
  beforeAll(() => {
    run = runnerOf(problemOf(optimizer));
  });

  test('follows its recurrence for 100 steps', () => {
    const { states } = run({ steps: HORIZON });
    for (const name of NAMES) {
      const update = (typeof recurrence === 'function' ? recurrence : recurrence[name])(SHAPES[name]);
      let x = Array.from({ length: sizeOf(name) }, (_, i) => start(name, i));
      let worst = 0;
      for (let t = 0; t < HORIZON; t++) {
        x = update(x, x.map(gradient), t);
        const got = states[t + 1][`params.${PATHS[name]}`];
        x.forEach((value, i) => (worst = Math.max(worst, Math.abs(got[i] - value) / Math.max(1, Math.abs(value)))));
      }
      // Both are float64 in different orders of operations: rounding, times the number of steps.
      expect(worst).toBeLessThan(1e-12);
    }
  });

  test('lowers the loss', () => {
    const { losses } = run({ steps: HORIZON });
    expect(losses[HORIZON - 1]).toBeLessThan(losses[0]);
  });

  test('θ₀ holds the wrapped numbers, transformed, and is described in natural units', () => {
    const initial = optimizer.initTheta(new EagerRandom(seedKey(0)));
    const leaves = treeLeaves<tf.Tensor>(initial).map(({ path, value }) => [path, value.dataSync()[0]] as const);
    expect(Object.fromEntries(leaves)).toEqual(
      Object.fromEntries(Object.entries(theta).map(([path, value]) => [path, f(value)])),
    );
    const { values } = optimizer.describeTheta!(initial, HORIZON);
    expect(Object.keys(values).sort()).toEqual(Object.keys(described).sort());
    for (const [path, value] of Object.entries(described)) {
      // The stored number is rounded to float32, at most 2⁻²⁴·|stored| off, and mapped back in float32.
      expect(Math.abs(values[path] / value - 1)).toBeLessThan(1e-6);
    }
  });

  test('θ moves what it names: the loss depends on every leaf', () => {
    const at = initialTheta(problemOf(optimizer));
    const { losses } = run({ steps: 20, theta: at });
    const names = Object.keys(theta).sort();
    at.forEach((leaf, i) => {
      const moved = at.map((other, k) => (k === i ? leaf.map((x) => x + (moves[names[i]] ?? 0.1)) : other));
      expect(run({ steps: 20, theta: moved }).losses[19]).not.toBe(losses[19]);
    });
  });

  test('its derivative by θ is that of central differences', async () => {
    const at = initialTheta(problemOf(optimizer)).flat();
    if (at.length === 0) return;
    const STEPS = 12;
    const { engine } = await createEngine('reference');
    const program = await engine.compileDerivative(traceProblem(problemOf(optimizer), { for: 'differentiate' }), {
      mode: 'reverse',
      steps: STEPS,
      windowLoss: 'last',
      start: true,
    });
    const population = await program.createPopulation({ size: 1, seed: 0 });
    const [one, zero] = [Int32Array.of(0), Int32Array.of(0)];
    const perturbation = { form: 'none', theta: Float64Array.from(at) } as const;
    await population.reset({ particles: one, perturbation, workers: zero, episodes: zero });
    const { derivatives } = await population.differentiate({ particles: one, perturbation, steps: STEPS });
    const H = 1e-5;
    at.forEach((value, k) => {
      const lossAt = (by: number): number =>
        run({ steps: STEPS, theta: at.map((x, i) => [i === k ? value + by : x]) }).losses[STEPS - 1];
      const [one, two] = [1, 2].map((n) => (lossAt(n * H) - lossAt(-n * H)) / (2 * n * H));
      // Three times the truncation that the two step sizes show, and rounding of a loss of some tens.
      expect(Math.abs(derivatives[k] - one)).toBeLessThan(Math.abs(two - one) + 1e-8);
    });
    await program.dispose();
  });

  test.each(EXTREMES)('$name', async (property) => {
    expect(await property.check(() => optimizer)).toBeUndefined();
  });
});

test('a momentum of 0 keeps no velocity', () => {
  const { states } = runProblem(problemOf(sgd({ learningRate: 0.1 })), { steps: 1 });
  expect(Object.keys(states[1]).filter((path) => path.startsWith('optimizer'))).toEqual([]);
});

test('curves are described at up to 201 steps from the first to the last', () => {
  const optimizer = sgd({ learningRate: cosine({ initial: 0.1, warmup: 0.1 }) });
  for (const horizon of [1, 7, 201, 5000]) {
    const bound = optimizer.forHorizon!(horizon);
    const { curves } = bound.describeTheta!({}, horizon);
    const { t, value } = curves!.learningRate;
    expect([t[0], t[t.length - 1], t.length]).toEqual([0, horizon - 1, Math.min(horizon, 201)]);
    expect(value).toHaveLength(t.length);
    expect(new Set(t).size).toBe(t.length);
  }
});
