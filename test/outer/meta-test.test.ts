/** Meta-testing against closed forms: SGD on ½x², whose x after t steps is (1 − α)ᵗ·x₀. */
import * as tf from '@tensorflow/tfjs';
import { meta, type LearnedOptimizer, type Task } from '../../src/contracts';
import { createEngine } from '../../src/engines';
import { metaTest, metaTestProblem, rateGrid, stepsToLevel, type Contestant, type CoursePoint } from '../../src/outer';
import { sgd } from '../../learned-optimizers';

const T = 20;
const SPLIT = 'validation';

/** x₀ is drawn by the key of the episode. */
const task: Task = {
  name: 'bowl',
  init: (random) => ({ x: random.normal([]) }),
  loss: (params) => tf.mul(tf.square((params as { x: tf.Tensor }).x), 0.5),
};
const contestant = (name: string, optimizer: LearnedOptimizer, more: Partial<Contestant> = {}): Contestant => ({
  name,
  test: metaTestProblem({ task, optimizer, horizon: T, split: SPLIT }),
  ...more,
});
const tuned = (name: string, range: readonly [number, number]): Contestant =>
  contestant(name, sgd({ learningRate: meta.log(1) }), { range });
const fixed = (name: string, rate: number): Contestant =>
  contestant(name, sgd({ learningRate: meta.log(1) }), { theta: Float64Array.of(Math.log(rate)) });

/** Mean over t of ½(1 − α)²ᵗ⁺², for x₀ = 1. */
const meanOf = (rate: number): number =>
  Array.from({ length: T }, (_, t) => 0.5 * (1 - rate) ** (2 * t + 2)).reduce((a, b) => a + b) / T;

async function tested(contestants: readonly Contestant[], more: { seed?: number; reference?: string } = {}) {
  const { engine } = await createEngine('reference');
  try {
    const counts = { horizon: T, rates: 5, tuningSeeds: 3, seeds: 6 };
    return await metaTest({ engine, contestants, ...counts, seed: 0, ...more });
  } finally {
    await engine.dispose();
  }
}

test('a grid of rates has equal ratios and both ends', () => {
  rateGrid([1e-3, 10], 5).forEach((rate, i) => expect(rate / 10 ** (i - 3)).toBeCloseTo(1, 12));
});

test('steps to a level: when the mean over a twentieth of the course is there, and not before', () => {
  // 40 points: a twentieth is two. Point k has loss 40 − k, the mean of k − 1 and k is 40.5 − k.
  const course = Array.from({ length: 40 }, (_, k): CoursePoint => ({
    t: 5 * (k + 1),
    mean: 40 - k,
    standardError: 0,
  }));
  expect(stepsToLevel(course, 30.5)).toBe(5 * 11);
  expect(stepsToLevel(course, 30.4)).toBe(5 * 12);
  expect(stepsToLevel(course, 1)).toBeUndefined();
  expect(stepsToLevel(course, 1000)).toBe(10);
});

test('the best rate of a grid is chosen, and every number is that of the closed form', async () => {
  // 0.3, 0.52, 0.9, 1.56, 2.7: of |1 − α| the least is 0.1.
  const range = [0.3, 2.7] as const;
  const { reference, results } = await tested([fixed('learned', 0.5), tuned('sgd', range)]);
  expect(reference).toBe('sgd');
  const [learned, line] = results;
  expect(line.learningRate).toBeCloseTo(0.9, 10);
  expect(line.tuning).toHaveLength(5);
  // Tuning has its own starts, common to all rates: means are in the ratio of the closed forms.
  const [first] = line.tuning!;
  line.tuning!.forEach(({ learningRate, mean }) =>
    expect(mean / first.mean / (meanOf(learningRate) / meanOf(0.3))).toBeCloseTo(1, 4),
  );
  // The judged ones are common to all optimizers.
  learned.trials.forEach((trial, i) => {
    const other = line.trials[i];
    expect(trial.meanLoss / other.meanLoss / (meanOf(0.5) / meanOf(0.9))).toBeCloseTo(1, 4);
    expect(trial.finalLoss / trial.meanLoss / ((0.5 * 0.5 ** (2 * T)) / meanOf(0.5))).toBeCloseTo(1, 4);
    expect(trial.accuracy).toBeUndefined();
  });
  // Mean square of six standard normal draws: their chi-squared is below 0.2 or above 25 with probability 5e-4.
  const squares = learned.trials.map(({ meanLoss }) => meanLoss / meanOf(0.5));
  expect(new Set(squares).size).toBe(6);
  const sum = squares.reduce((a, b) => a + b);
  expect(sum > 0.2 && sum < 25).toBe(true);
  // Starts of tuning are others.
  expect(first.mean / meanOf(0.3)).not.toBeCloseTo(squares.slice(0, 3).reduce((a, b) => a + b) / 3, 2);
  const differences = learned.trials.map(({ meanLoss }, i) => meanLoss - line.trials[i].meanLoss);
  const mean = differences.reduce((a, b) => a + b) / 6;
  const variance = differences.reduce((total, value) => total + (value - mean) ** 2, 0) / 5;
  expect(learned.difference!.mean).toBeCloseTo(mean, 12);
  expect(learned.difference!.standardError).toBeCloseTo(Math.sqrt(variance / 6), 12);
  expect(learned.difference).toMatchObject({ wins: 0, n: 6 });
  expect(line.difference).toBeUndefined();
  // A twentieth of 20 points is one: the level is the last, which 0.5 never reaches.
  expect(line.stepsToReference).toBe(T);
  expect(learned.stepsToReference).toBeUndefined();
});

test('a grid goes on where its best rate is at an end, downward too', async () => {
  // Ratio 2: 0.01 … 0.16 goes on to 0.32, 0.64, 1.28 …, of which 1.28 and 0.64 have |1 − α| 0.28 and 0.36.
  const { results: up } = await tested([tuned('sgd', [0.01, 0.16])]);
  expect(up[0].learningRate).toBeCloseTo(1.28, 10);
  expect(up[0].tuning).toHaveLength(10);
  // 3 … 48 diverge, by powers of 2 down to 3/32: 0.75 has |1 − α| 0.25.
  const { results: down } = await tested([tuned('sgd', [3, 48])]);
  expect(down[0].learningRate).toBeCloseTo(0.75, 10);
  expect(down[0].tuning!.map(({ learningRate }) => learningRate)).toEqual(
    [...down[0].tuning!].map(({ learningRate }) => learningRate).sort((a, b) => a - b),
  );
});

test('the reference is the one that is asked for, else the tuned one of the least mean loss', async () => {
  const contestants = [fixed('learned', 1), tuned('poor', [0.011, 0.012]), tuned('good', [0.3, 2.7])];
  expect((await tested(contestants)).reference).toBe('good');
  expect((await tested(contestants, { reference: 'poor' })).reference).toBe('poor');
  const alone = await tested([fixed('learned', 0.5)]);
  expect(alone.reference).toBeUndefined();
  expect(alone.results[0].difference).toBeUndefined();
});

test('another seed has other starts, the same seed the same', async () => {
  const losses = async (seed: number): Promise<number[]> =>
    (await tested([fixed('learned', 0.5)], { seed })).results[0].trials.map(({ meanLoss }) => meanLoss);
  const once = await losses(1);
  expect(await losses(1)).toEqual(once);
  expect(await losses(2)).not.toEqual(once);
});

test('an optimizer that trains with no rate is an error that says so', async () => {
  const hopeless: Task = { ...task, loss: (params) => tf.div((params as { x: tf.Tensor }).x, 0) };
  const optimizer = sgd({ learningRate: meta.log(1) });
  const bad = { name: 'sgd', test: metaTestProblem({ task: hopeless, optimizer, horizon: T, split: SPLIT }) } as const;
  await expect(tested([bad])).rejects.toThrow(/^sgd trains with none of the learning rates from .* to 1: its loss/);
});
