/** Optimizers around optimizers against the same in float64, alone and two deep. */
import * as tf from '@tensorflow/tfjs';
import { meta, treeFlatten, treeLeaves, type LearnedOptimizer, type TensorTree } from '../../src/contracts';
import { EagerRandom, seedKey } from '../../src/random';
import {
  accumulateGradients,
  adafactor,
  adam,
  clipGradients,
  cosine,
  graft,
  inverseTime,
  lamb,
  learnableSgdm,
  sgd,
  withWeightDecay,
} from '../../learned-optimizers';
import * as recurrences from '../support/optimizer-recurrences';
import type { Recurrence } from '../support/optimizer-recurrences';
import { initialTheta, runnerOf } from '../support/run-problem';

const f = Math.fround;
const HORIZON = 60;
const SHAPES = [[2, 3], [4], [], [1, 2, 2, 2], [3]] as const;
const SIZES = SHAPES.map((shape) => shape.reduce<number>((a, b) => a * b, 1));
/** The last tensor starts at zero. */
const STARTS = SIZES.map((size, leaf) => Array.from({ length: size }, (_, i) => (leaf === 4 ? 0 : f(1.2 - 0.35 * i))));

/** Everything at once: parameters and gradients by tensor, in float64. */
type Whole = (x: readonly number[][], g: readonly number[][], t: number, loss: number) => number[][];

const whole = (recurrence: Recurrence): Whole => {
  const each = SHAPES.map((shape) => recurrence(shape));
  return (x, g, t) => x.map((leaf, i) => each[i](leaf, g[i], t));
};
const norm = (x: readonly number[]): number => Math.hypot(...x);

const clipped = (limits: { value?: number; tensor?: number; all?: number }, inner: Whole): Whole => {
  const { value = Infinity, tensor = Infinity, all = Infinity } = limits;
  return (x, g, t, loss) => {
    const byValue = g.map((leaf) => leaf.map((v) => Math.sign(v) * Math.min(Math.abs(v), value)));
    const byTensor = byValue.map((leaf) => (norm(leaf) > tensor ? leaf.map((v) => (v * tensor) / norm(leaf)) : leaf));
    const total = norm(byTensor.flat());
    return inner(x, total > all ? byTensor.map((leaf) => leaf.map((v) => (v * all) / total)) : byTensor, t, loss);
  };
};
const decayed =
  (lambda: number | ((t: number) => number), inner: Whole): Whole =>
  (x, g, t, loss) => {
    const rate = typeof lambda === 'number' ? lambda : lambda(t);
    return inner(x, g, t, loss).map((leaf, k) => leaf.map((v, i) => v - rate * x[k][i]));
  };
const grafted =
  (direction: Whole, magnitude: Whole): Whole =>
  (x, g, t, loss) => {
    const [d, m] = [direction, magnitude].map((inner) =>
      inner(x, g, t, loss).map((leaf, k) => leaf.map((v, i) => v - x[k][i])),
    );
    return x.map((leaf, k) => leaf.map((v, i) => (norm(d[k]) === 0 ? v : v + (norm(m[k]) / norm(d[k])) * d[k][i])));
  };
const accumulated = (batches: number, inner: Whole): Whole => {
  let kept: { g: readonly number[][]; loss: number }[] = [];
  return (x, g, t, loss) => {
    kept.push({ g, loss });
    if (kept.length < batches) return x.map((leaf) => [...leaf]);
    const mean = g.map((leaf, k) => leaf.map((_, i) => kept.reduce((sum, one) => sum + one.g[k][i], 0) / batches));
    const meanLoss = kept.reduce((sum, one) => sum + one.loss, 0) / batches;
    kept = [];
    return inner(x, mean, (t + 1) / batches - 1, meanLoss);
  };
};

const sgdWhole = (): Whole => whole(recurrences.heavyBall(f(0.05), f(0.9), false));
const adamWhole = (): Whole => whole(recurrences.adam(f(0.02), f(0.9), f(0.999), f(1e-8), 0));
const momentum = () => sgd({ learningRate: 0.05, momentum: 0.9 });
const plainAdam = () => adam({ learningRate: 0.02 });

interface Row {
  readonly name: string;
  readonly optimizer: LearnedOptimizer;
  readonly expected: () => Whole;
}

const rows: readonly Row[] = [
  {
    name: 'clip-gradients(sgd), by the norm of all, learned',
    optimizer: clipGradients({ maxNorm: meta.log(3), optimizer: momentum() }),
    expected: () => clipped({ all: Math.exp(f(Math.log(3))) }, sgdWhole()),
  },
  {
    name: 'clip-gradients(adam), by tensor',
    optimizer: clipGradients({ maxTensorNorm: 0.5, optimizer: plainAdam() }),
    expected: () => clipped({ tensor: 0.5 }, adamWhole()),
  },
  {
    name: 'clip-gradients(sgd), by all three',
    optimizer: clipGradients({ maxValue: 0.5, maxTensorNorm: 1, maxNorm: 1.5, optimizer: momentum() }),
    expected: () => clipped({ value: 0.5, tensor: 1, all: 1.5 }, sgdWhole()),
  },
  {
    name: 'weight-decay(adam), on a schedule',
    optimizer: withWeightDecay({
      weightDecay: inverseTime({ initial: meta.log(0.1), decay: 1 }),
      optimizer: plainAdam(),
    }),
    expected: () => decayed((t) => Math.exp(f(Math.log(0.1))) / (1 + t / HORIZON), adamWhole()),
  },
  {
    name: 'graft(adam, sgd)',
    optimizer: graft({ direction: plainAdam(), magnitude: momentum() }),
    expected: () => grafted(adamWhole(), sgdWhole()),
  },
  {
    name: 'accumulate-gradients(adam)',
    optimizer: accumulateGradients({ batches: 3, optimizer: plainAdam() }),
    expected: () => accumulated(3, adamWhole()),
  },
  {
    name: 'accumulate-gradients(sgd on a schedule over its updates)',
    optimizer: accumulateGradients({
      batches: 4,
      optimizer: sgd({ learningRate: inverseTime({ initial: 0.1, decay: 1 }) }),
    }),
    expected: () => accumulated(4, whole(recurrences.heavyBall((t) => f(0.1) / (1 + t / (HORIZON / 4)), 0, false))),
  },
  {
    name: 'clip-gradients(weight-decay(adam))',
    optimizer: clipGradients({
      maxNorm: 1,
      optimizer: withWeightDecay({ weightDecay: meta.linear(0.03), optimizer: plainAdam() }),
    }),
    expected: () => clipped({ all: 1 }, decayed(f(0.03), adamWhole())),
  },
  {
    name: 'accumulate-gradients(clip-gradients(graft(lamb, adafactor)))',
    optimizer: accumulateGradients({
      batches: 2,
      optimizer: clipGradients({
        maxNorm: meta.log(2),
        optimizer: graft({ direction: lamb({ learningRate: meta.log(0.01) }), magnitude: adafactor() }),
      }),
    }),
    expected: () =>
      accumulated(
        2,
        clipped(
          { all: Math.exp(f(Math.log(2))) },
          grafted(
            whole(recurrences.lamb(Math.exp(f(Math.log(0.01))), f(0.9), f(0.999), f(1e-6), f(0.01))),
            whole(recurrences.adafactor(f(0.01), f(0.8), f(1e-30), f(1e-3), 1)),
          ),
        ),
      ),
  },
  {
    name: 'clip-gradients(accumulate-gradients(learnable-sgdm))',
    optimizer: clipGradients({
      maxValue: 0.7,
      optimizer: accumulateGradients({ batches: 3, optimizer: learnableSgdm({ learningRate: 0.1, momentum: 0.5 }) }),
    }),
    expected: () =>
      clipped({ value: f(0.7) }, accumulated(3, whole(recurrences.heavyBall(Math.exp(f(Math.log(0.1))), 0.5, false)))),
  },
];

/** Gradient x + sin x + 2 cos(t + i), and a loss that differs from step to step. */
function problemOf(optimizer: LearnedOptimizer, steps = HORIZON) {
  const bound = optimizer.forHorizon?.(steps) ?? optimizer;
  return {
    name: 'gradients that change',
    horizon: steps,
    initTheta: (random: EagerRandom) => bound.initTheta(random),
    initState: (theta: TensorTree) => {
      const params = SHAPES.map((shape, k) => tf.tensor(STARTS[k], [...shape]));
      return { params, optimizer: bound.optimizer(theta).init(params) };
    },
    step: (theta: TensorTree, state: TensorTree, { t, random }: { t: tf.Scalar; random: EagerRandom }) => {
      const { params, optimizer: before } = state as { params: TensorTree; optimizer: TensorTree };
      const time = tf.cast(t, 'float32');
      const gradients = treeFlatten<tf.Tensor>(params).map((x, k) => {
        const i = tf.tensor(
          Array.from({ length: SIZES[k] }, (_, n) => n),
          [...SHAPES[k]],
        );
        return tf.add(tf.add(x, tf.sin(x)), tf.mul(tf.cos(tf.add(i, time)), 2));
      });
      const loss = tf.square(time);
      const after = bound.optimizer(theta).update({ params, gradients, state: before, t, loss, random });
      const squares = treeFlatten<tf.Tensor>(after.params).map((x) => tf.sum(tf.square(x)));
      return {
        state: { params: after.params, optimizer: after.state },
        loss: squares.reduce((a, b) => tf.add(a, b)),
      };
    },
  };
}

beforeAll(() => tf.setBackend('cpu'));

describe.each(rows)('$name', ({ name, optimizer, expected }) => {
  let run: ReturnType<typeof runnerOf>;
  beforeAll(() => {
    run = runnerOf(problemOf(optimizer) as never);
  });

  test('follows its recurrence', () => {
    const { states } = run({ steps: HORIZON });
    const step = expected();
    let x: number[][] = STARTS;
    let worst = 0;
    for (let t = 0; t < HORIZON; t++) {
      const g = x.map((leaf) => leaf.map((v, i) => v + Math.sin(v) + 2 * Math.cos(i + t)));
      x = step(x, g, t, t * t);
      x.forEach((leaf, k) =>
        leaf.forEach((v, i) => (worst = Math.max(worst, Math.abs(states[t + 1][`params.${k}`][i] - v)))),
      );
    }
    // Rounding of float64, times the number of steps.
    expect(worst).toBeLessThan(1e-12);
  });

  test('θ nests, and every number of it matters', () => {
    const theta = optimizer.initTheta(new EagerRandom(seedKey(0)));
    const paths = treeLeaves<tf.Tensor>(theta).map(({ path }) => path);
    expect(Object.keys(optimizer.describeTheta!(theta, HORIZON).values).sort()).toEqual(paths);
    const at = initialTheta(problemOf(optimizer) as never);
    const { losses } = run({ steps: 20, theta: at });
    at.forEach((leaf, k) => {
      const moved = at.map((other, n) => (n === k ? leaf.map((v) => v + 0.1) : other));
      expect([paths[k], run({ steps: 20, theta: moved }).losses[19]]).not.toEqual([paths[k], losses[19]]);
    });
  });

  test('is named by what it is around', () => {
    expect(name).toContain(optimizer.name.split('(')[0]);
  });
});

test('θ of two optimizers stands under their names', () => {
  const optimizer = clipGradients({
    maxNorm: meta.log(2),
    optimizer: graft({
      direction: learnableSgdm(),
      magnitude: sgd({ learningRate: cosine({ initial: meta.log(0.1) }) }),
    }),
  });
  const theta = optimizer.initTheta(new EagerRandom(seedKey(0)));
  expect(treeLeaves(theta).map(({ path }) => path)).toEqual([
    'maxNorm',
    'optimizer.direction.learningRate',
    'optimizer.direction.momentum',
    'optimizer.magnitude.learningRate.initial',
  ]);
  expect(optimizer.name).toBe('clip-gradients(graft(learnable-sgdm, sgd))');
});

test('schedules within accumulated gradients are described at the steps of their updates', () => {
  const optimizer = accumulateGradients({
    batches: 4,
    optimizer: sgd({ learningRate: cosine({ initial: 0.1 }) }),
  }).forHorizon!(40);
  const { curves } = optimizer.describeTheta!(optimizer.initTheta(new EagerRandom(seedKey(0))), 40);
  const { t, value } = curves!['optimizer.learningRate'];
  expect(t).toEqual(Array.from({ length: 10 }, (_, update) => 4 * update + 3));
  value.forEach((rate, update) => expect(rate).toBeCloseTo(0.05 * (1 + Math.cos((Math.PI * update) / 10)), 6));
});

test('an optimizer within accumulated gradients is told the mean loss, and counts updates', () => {
  const probe: LearnedOptimizer = {
    name: 'probe',
    initTheta: () => ({}),
    optimizer: () => ({
      init: () => ({ loss: tf.scalar(-1), t: tf.scalar(-1, 'int32') }),
      update: ({ params, loss, t }) => ({ params, state: { loss, t } }),
    }),
  };
  const { states } = runnerOf(problemOf(accumulateGradients({ batches: 3, optimizer: probe }), 9) as never)({
    steps: 9,
  });
  const seen = states.map((state) => [state['optimizer.optimizer.t'][0], state['optimizer.optimizer.loss'][0]]);
  // Losses are t²: (0 + 1 + 4)/3, then (9 + 16 + 25)/3, then (36 + 49 + 64)/3.
  [
    [-1, -1],
    [-1, -1],
    [-1, -1],
    [0, 5 / 3],
    [0, 5 / 3],
    [0, 5 / 3],
    [1, 50 / 3],
    [1, 50 / 3],
    [1, 50 / 3],
    [2, 149 / 3],
  ].forEach(([t, loss], i) => {
    expect(seen[i][0]).toBe(t);
    expect(seen[i][1]).toBeCloseTo(loss, 6);
  });
});

test('a gradient whose square overflows is clipped to the limit', () => {
  const problem = {
    name: 'huge',
    horizon: 1,
    initTheta: () => ({}),
    initState: () => ({ x: tf.zeros([2]) }),
    step: (_: TensorTree, state: TensorTree, { t, random }: { t: tf.Scalar; random: EagerRandom }) => {
      const clipped = clipGradients({ maxNorm: 1, optimizer: sgd({ learningRate: 1 }) }).optimizer({ optimizer: {} });
      const gradients = { x: tf.tensor1d([3e30, -3e30]) };
      const loss = tf.scalar(0);
      return { state: clipped.update({ params: state, gradients, state: {}, t, loss, random }).params, loss };
    },
  };
  const { states } = runnerOf(problem as never, { floats: 'float32' })({ steps: 1 });
  expect([...states[1].x].map((v) => v * Math.SQRT2)).toEqual([expect.closeTo(-1, 6), expect.closeTo(1, 6)]);
});

test.each([
  [
    'clip-gradients: expected one or more of maxNorm, maxTensorNorm and maxValue, got none',
    () => clipGradients({ optimizer: sgd() }),
  ],
  ['maxNorm: expected a finite number above 0, got 0', () => clipGradients({ maxNorm: 0, optimizer: sgd() })],
  ['batches: expected a positive integer, got 1.5', () => accumulateGradients({ batches: 1.5, optimizer: sgd() })],
  [
    'weightDecay: expected a finite number at least 0, got -1',
    () => withWeightDecay({ weightDecay: -1, optimizer: sgd() }),
  ],
])('%s', (message, make) => {
  expect(make).toThrow(message);
});
