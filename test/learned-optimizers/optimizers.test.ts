/** Conformance of optimizers: a row each, with the recurrence it must follow, written out in float64. */
import * as tf from '@tensorflow/tfjs';
import { meta, treeFlatten, treeLeaves, type LearnedOptimizer, type Task } from '../../src/contracts';
import { unroll } from '../../src/outer/combinators/unroll';
import { EagerRandom, seedKey } from '../../src/random';
import { adam, cosine, inverseTime, learnableSgd, sgd } from '../../learned-optimizers';
import { initialTheta, runnerOf, runProblem } from '../support/run-problem';

// Constants and θ's initial values are float32, also where the interpreter computes in float64.
const f = Math.fround;
const HORIZON = 100;

/** Σ ½hx² + sin x over parameters of awkward shapes, an odd one nested, from starts that differ. */
const SHAPES = { a: [3, 5], b: [7], c: [], d: [1, 1, 2] } as const;
const SIZES = Object.entries(SHAPES).map(([name, shape]) => [name, shape.reduce<number>((a, b) => a * b, 1)] as const);
const curvature = (i: number): number => f(0.1 + 0.3 * i);
const start = (i: number): number => f(1.5 - 0.4 * i);

const task: Task = {
  name: 'waves',
  init: () => {
    const at = (name: keyof typeof SHAPES): tf.Tensor => {
      const shape = [...SHAPES[name]];
      return tf.tensor(
        Array.from({ length: shape.reduce<number>((a, b) => a * b, 1) }, (_, i) => start(i)),
        shape,
      );
    };
    return { a: at('a'), rest: [at('b'), at('c'), { d: at('d') }] };
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

/** One parameter under an optimizer: x and g at step t → next x. A fresh one for each parameter. */
type Recurrence = () => (x: number, g: number, t: number) => number;

function heavyBall(alpha: (t: number) => number, mu: number, nesterov: boolean): Recurrence {
  return () => {
    let v = 0;
    return (x, g, t) => {
      v = mu * v + g;
      return x - alpha(t) * (nesterov ? g + mu * v : v);
    };
  };
}

function adamRecurrence(alpha: number, b1: number, b2: number, eps: number, lambda: number): Recurrence {
  return () => {
    let [m, v] = [0, 0];
    return (x, g, t) => {
      m = b1 * m + (1 - b1) * g;
      v = b2 * v + (1 - b2) * g * g;
      const step = m / (1 - b1 ** (t + 1)) / (Math.sqrt(v / (1 - b2 ** (t + 1))) + eps);
      return x - alpha * (step + lambda * x);
    };
  };
}

const exp = (x: number): number => Math.exp(f(x));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-f(x)));
const log = Math.log;
const logit = (x: number): number => Math.log(x / (1 - x));

interface Row {
  readonly name: string;
  readonly optimizer: LearnedOptimizer;
  readonly recurrence: Recurrence;
  /** θ by path. */
  readonly theta: Readonly<Record<string, number>>;
  /** In natural units. */
  readonly described: Readonly<Record<string, number>>;
}

const rows: readonly Row[] = [
  {
    name: 'sgd',
    optimizer: sgd({ learningRate: 0.05 }),
    recurrence: heavyBall(() => f(0.05), 0, false),
    theta: {},
    described: {},
  },
  {
    name: 'sgd, learned rate',
    optimizer: sgd({ learningRate: meta.log(0.05) }),
    recurrence: heavyBall(() => exp(log(0.05)), 0, false),
    theta: { learningRate: log(0.05) },
    described: { learningRate: 0.05 },
  },
  {
    name: 'momentum',
    optimizer: sgd({ learningRate: 0.02, momentum: 0.9 }),
    recurrence: heavyBall(() => f(0.02), f(0.9), false),
    theta: {},
    described: {},
  },
  {
    name: 'Nesterov, learned momentum',
    optimizer: sgd({ learningRate: 0.02, momentum: meta.logit(0.8), nesterov: true }),
    recurrence: heavyBall(() => f(0.02), sigmoid(logit(0.8)), true),
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
    name: 'learnable-sgd',
    optimizer: learnableSgd({ learningRate: 0.03, momentum: 0.7 }),
    recurrence: heavyBall(() => exp(log(0.03)), sigmoid(logit(0.7)), false),
    theta: { learningRate: log(0.03), momentum: logit(0.7) },
    described: { learningRate: 0.03, momentum: 0.7 },
  },
  {
    name: 'adam',
    optimizer: adam({ learningRate: 0.1 }),
    recurrence: adamRecurrence(f(0.1), f(0.9), f(0.999), f(1e-8), 0),
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
    recurrence: adamRecurrence(exp(log(0.1)), sigmoid(logit(0.8)), sigmoid(logit(0.95)), exp(log(1e-3)), 0.25),
    theta: {
      beta1: logit(0.8),
      beta2: logit(0.95),
      epsilon: log(1e-3),
      learningRate: log(0.1),
      weightDecay: 0.25,
    },
    described: { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, learningRate: 0.1, weightDecay: 0.25 },
  },
];

const problemOf = (optimizer: LearnedOptimizer) =>
  unroll({ task, optimizer, objective: { metric: 'loss', split: 'train', over: 'mean' }, horizon: HORIZON });

beforeAll(() => tf.setBackend('cpu'));

describe.each(rows)('$name', ({ optimizer, recurrence, theta, described }) => {
  let run: ReturnType<typeof runnerOf>;
  beforeAll(() => {
    run = runnerOf(problemOf(optimizer));
  });

  test('follows its recurrence for 100 steps', () => {
    const { states } = run({ steps: HORIZON });
    const paths = { a: 'params.a', b: 'params.rest.0', c: 'params.rest.1', d: 'params.rest.2.d' };
    for (const [name, size] of SIZES) {
      for (let i = 0; i < size; i++) {
        const update = recurrence();
        let x = start(i);
        for (let t = 0; t < HORIZON; t++) {
          x = update(x, gradient(x, i), t);
          // Both are float64 in different orders of operations: rounding, times the number of steps.
          const got = states[t + 1][paths[name as keyof typeof paths]][i];
          expect(Math.abs(got - x)).toBeLessThan(1e-12 * Math.max(1, Math.abs(x)));
        }
      }
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
    at.forEach((leaf, i) => {
      const moved = at.map((other, k) => (k === i ? leaf.map((x) => x + 0.1) : other));
      expect(run({ steps: 20, theta: moved }).losses[19]).not.toBe(losses[19]);
    });
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
