/** Random and grid search: the properties of the conformance table that apply to a method without gradients. */
import type { ArrayBundle, Estimate, EstimatorPopulation, GradientEstimator } from '../../src/contracts';
import { CheckpointError, ConfigurationError, ShapeError } from '../../src/contracts/errors';
import { gridSearch, randomSearch } from '../../meta-trainers';
import { initialState, runOuterLoop, type RunEvent } from '../../src/outer';
import { outer } from 'outerloop';
import { linearProblem, linearSystem, meanLoss, trajectory } from '../support/linear-program';
import { plainProgram, type PlainProblem, type PlainProgram } from '../support/plain-program';

const HORIZON = 12;
const SEED = 5;
const ITERATIONS = 6;
const system = linearSystem('quadratic', HORIZON);
const problem = linearProblem(system);
const START = Float64Array.of(0.3, -0.4);
const LOWER = [-1, -2];
const UPPER = [1, 0.5];

interface Row {
  readonly label: string;
  readonly make: (options?: { readonly batch?: number; readonly starts?: number }) => GradientEstimator;
}
const rows: Row[] = [
  { label: 'random-search', make: (options) => randomSearch({ lower: LOWER, upper: UPPER, batch: 4, ...options }) },
  {
    label: 'grid-search',
    make: (options) => gridSearch({ lower: LOWER, upper: UPPER, points: [5, 4], batch: 4, ...options }),
  },
];

/** The candidates that a program was asked to run, in order, each once. */
function candidatesOf(program: PlainProgram, starts = 1): number[][] {
  return program.calls.flatMap(({ perturbation }) => {
    if (perturbation.form !== 'explicit') throw new Error('candidates are explicit');
    const { thetas } = perturbation;
    const all = Array.from({ length: thetas.length / 2 }, (_, i) => Array.from(thetas.slice(2 * i, 2 * i + 2)));
    return all.filter((_, i) => i % starts === 0);
  });
}

interface Run {
  readonly estimates: Estimate[];
  readonly population: EstimatorPopulation;
  readonly program: PlainProgram;
}

async function run(estimator: GradientEstimator, plain: PlainProblem = problem, seed = SEED): Promise<Run> {
  const program = plainProgram(plain);
  program.record = true;
  const population = await estimator.populate(program, seed);
  const estimates: Estimate[] = [];
  let theta: Float64Array = START;
  for (let i = 0; i < ITERATIONS; i++) {
    const estimate = await estimator.estimate(theta, population, i);
    theta = estimate.theta ?? theta;
    estimates.push(estimate);
  }
  return { estimates, population, program };
}

/** Every candidate in the right half fails late. */
const faulty: PlainProblem = {
  ...problem,
  step: (theta, state, t, worker, episode) => {
    const loss = problem.step(theta, state, t, worker, episode);
    if (theta[0] > 0 && t === 10) return theta[1] > 0 ? NaN : -Infinity;
    return loss;
  },
};

/** Starts differ in what they add to the loss of θ[0]. */
const manyStarts: PlainProblem = {
  ...problem,
  step: (theta, state, t, worker, episode) =>
    problem.step(theta, state, t, worker, episode) + (worker === 1 ? 30 * theta[0] : 0) + 1000 * episode,
};

describe.each(rows)('$label', ({ make }) => {
  it('θ, mean loss and metric are those of the best candidate so far, by the closed form', async () => {
    const { estimates, program } = await run(make());
    const candidates = candidatesOf(program);
    estimates.forEach((estimate, i) => {
      const tried = candidates.slice(0, 4 * (i + 1));
      const losses = tried.map((theta) => meanLoss(system, theta));
      const best = losses.indexOf(Math.min(...losses));
      expect(Array.from(estimate.theta!)).toEqual(tried[best]);
      expect(estimate.meanLoss).toBeCloseTo(losses[best], 12);
      const states = trajectory(system, tried[best]);
      expect(estimate.metrics.metric).toBeCloseTo(states.reduce((sum, s) => sum + s[0], 0) / HORIZON, 12);
      expect(Array.from(estimate.gradient)).toEqual([0, 0]);
    });
    expect(new Set(estimates.map(({ meanLoss: loss }) => loss)).size).toBeGreaterThan(1);
  });

  it('a NaN or infinite loss (−∞ too) is never the best, and is counted', async () => {
    const { estimates, program } = await run(make(), faulty);
    const candidates = candidatesOf(program);
    estimates.forEach((estimate, i) => {
      const batch = candidates.slice(4 * i, 4 * (i + 1));
      expect(estimate.droppedPairs).toBe(batch.filter(([first]) => first > 0).length);
      expect(estimate.validPairs).toBe(batch.length - estimate.droppedPairs);
      const sound = candidates.slice(0, 4 * (i + 1)).filter(([first]) => first <= 0);
      expect(estimate.meanLoss).toBeCloseTo(Math.min(...sound.map((theta) => meanLoss(system, theta))), 12);
    });
    expect(estimates.reduce((sum, estimate) => sum + estimate.droppedPairs, 0)).toBeGreaterThanOrEqual(4);
  });

  it('without a valid candidate nothing is proposed', async () => {
    const { estimates } = await run(make(), { ...problem, step: () => NaN });
    for (const estimate of estimates) {
      expect(estimate.theta).toBeUndefined();
      expect(estimate.validPairs).toBe(0);
      expect(estimate.meanLoss).toBeNaN();
    }
  });

  it('counts n·starts·T inner steps, T of them in sequence, and runs no others', async () => {
    const { estimates, program } = await run(make({ starts: 3 }));
    for (const { innerSteps, sequentialSteps, burnInSteps, diagnostics } of estimates) {
      if (diagnostics.remaining === 0 && innerSteps === 0) expect(sequentialSteps).toBe(0);
      else expect([innerSteps, sequentialSteps, burnInSteps]).toEqual([4 * 3 * HORIZON, HORIZON, 0]);
    }
    expect(program.steps).toBe(estimates.reduce((sum, estimate) => sum + estimate.innerSteps, 0));
  });

  it('every candidate runs on the same starts, whose losses are averaged', async () => {
    const { estimates, program } = await run(make({ starts: 2 }), manyStarts);
    const losses = candidatesOf(program, 2).map((theta) => meanLoss(system, theta) + 15 * theta[0]);
    estimates.forEach((estimate, i) => {
      expect(estimate.meanLoss).toBeCloseTo(Math.min(...losses.slice(0, 4 * (i + 1))), 10);
    });
  });

  it('goes on from a checkpoint with the same bits, wherever it was taken', async () => {
    const whole = await run(make(), faulty);
    let bundle: ArrayBundle | undefined;
    let theta: Float64Array = START;
    for (let i = 0; i < ITERATIONS; i++) {
      // A process of its own each time: nothing survives but the bundle.
      const again = make();
      const population = await again.populate(plainProgram(faulty), SEED);
      if (bundle !== undefined) await population.load(bundle);
      const estimate = await again.estimate(theta, population, i);
      expect(estimate).toEqual(whole.estimates[i]);
      theta = estimate.theta ?? theta;
      bundle = structuredClone(await population.save());
    }
  });

  it('the candidates are the same whatever the batch', async () => {
    const few = candidatesOf((await run(make({ batch: 3 }))).program);
    const many = candidatesOf((await run(make({ batch: 7 }))).program);
    expect(few.length).toBeGreaterThanOrEqual(18);
    expect(many.slice(0, few.length)).toEqual(few.slice(0, many.length));
  });

  it('in the outer loop θ is the best candidate; the outer optimizer is not asked, and no streak ends the run', async () => {
    // All but the first candidate fail: more than ten iterations without a valid one.
    let seen = 0;
    const program = plainProgram({ ...problem, step: (...args) => (seen++ < HORIZON ? problem.step(...args) : NaN) });
    program.record = true;
    const optimizer = { ...outer.sgd({ learningRate: 1 }), update: () => Promise.reject(new Error()) as never };
    const events: RunEvent[] = [];
    const state = await runOuterLoop({
      program,
      estimator: make({ batch: 1 }),
      outerOptimizer: optimizer,
      seed: SEED,
      iterations: 15,
      start: initialState(START, optimizer, false),
      listener: (event) => events.push(event),
    });
    expect(state.iteration).toBe(15);
    expect(state.innerSteps).toBe(15 * HORIZON);
    expect(Array.from(state.theta)).toEqual(candidatesOf(program)[0]);
    const dropped = events.flatMap((event) => (event.type === 'iteration' ? [event.record.estimate.droppedPairs] : []));
    expect(dropped).toEqual([0, ...new Array<number>(14).fill(1)]);
  });

  it('refuses θ of another size, an infinite horizon, and a bundle of another population', async () => {
    const { population } = await run(make());
    await expect(make().estimate(new Float64Array(3), population, 0)).rejects.toThrow(ShapeError);
    await expect(population.load({})).rejects.toThrow('checkpoint array "tried": expected 1 numbers');
    const other = { ...(await population.save()), best: { shape: [3], data: new Float64Array(3) } };
    await expect(population.load(other)).rejects.toThrow(CheckpointError);
    const endless = plainProgram({ ...problem, horizon: Infinity });
    await expect(make().populate(endless, SEED)).rejects.toMatchObject({ key: 'horizon' });
  });
});

describe('grid search', () => {
  it('goes through the points in row-major order, both ends included, and then rests', async () => {
    const { estimates, program } = await run(gridSearch({ lower: LOWER, upper: UPPER, points: [2, 3], batch: 4 }));
    expect(candidatesOf(program)).toEqual([
      [-1, -2],
      [-1, -0.75],
      [-1, 0.5],
      [1, -2],
      [1, -0.75],
      [1, 0.5],
    ]);
    expect(estimates.map(({ innerSteps }) => innerSteps / HORIZON)).toEqual([4, 2, 0, 0, 0, 0]);
    expect(estimates.map(({ diagnostics }) => diagnostics.remaining)).toEqual([2, 0, 0, 0, 0, 0]);
    expect(estimates.at(-1)?.theta).toEqual(estimates[1].theta);
    expect(estimates.at(-1)?.meanLoss).toBe(estimates[1].meanLoss);
  });

  it('one point of an axis is its middle; a radius is about θ₀, wherever θ has gone', async () => {
    const { program } = await run(gridSearch({ radius: [1, 2], points: [1, 3], batch: 1 }));
    const expected = [-2.4, -0.4, 1.6];
    const found = candidatesOf(program);
    expect(found).toHaveLength(3);
    found.forEach(([first, second], i) => {
      expect(first).toBeCloseTo(0.3, 12);
      expect(second).toBeCloseTo(expected[i], 12);
    });
  });

  it('ends are exact', async () => {
    const { program } = await run(gridSearch({ lower: 0.1, upper: 0.3, points: 7, batch: 49 }));
    const firsts = new Set(candidatesOf(program).map(([first]) => first));
    expect([Math.min(...firsts), Math.max(...firsts), firsts.size]).toEqual([0.1, 0.3, 7]);
  });

  it('refuses a grid that nobody can count', async () => {
    const huge = gridSearch({ radius: 1, points: 1e9 });
    await expect(huge.populate(plainProgram(problem), 0)).rejects.toMatchObject({ key: 'estimator.points' });
  });
});

describe('random search', () => {
  it('starts with θ₀, then fills the box evenly: χ² with 15 degrees of freedom below its 1e-4 quantile, 44.3', async () => {
    const n = 1600;
    const { program } = await run(randomSearch({ lower: LOWER, upper: UPPER, batch: n / 4 }));
    const [first, ...candidates] = candidatesOf(program).slice(0, n + 1);
    expect(first).toEqual(Array.from(START));
    const cells = new Int32Array(16);
    for (const theta of candidates) {
      const [x, y] = theta.map((value, i) => Math.floor((4 * (value - LOWER[i])) / (UPPER[i] - LOWER[i])));
      expect(x >= 0 && x < 4 && y >= 0 && y < 4).toBe(true);
      cells[4 * x + y]++;
    }
    expect(cells.reduce((sum, count) => sum + (count - n / 16) ** 2 / (n / 16), 0)).toBeLessThan(44.3);
  });

  it('a radius is about θ₀, and each seed has its own candidates', async () => {
    const narrow = randomSearch({ radius: [0.01, 2], batch: 50 });
    const own = candidatesOf((await run(narrow)).program);
    const spread = own.map((theta) => theta.map((x, i) => Math.abs(x - START[i])));
    expect(Math.max(...spread.map(([first]) => first))).toBeLessThanOrEqual(0.01);
    // The most of 299 uniform draws on [0, 2): below 1.9 with probability 0.95²⁹⁹ = 2e-7.
    expect(Math.max(...spread.map(([, second]) => second))).toBeGreaterThan(1.9);
    const others = candidatesOf((await run(narrow, problem, SEED + 1)).program);
    expect(others[1]).not.toEqual(own[1]);
  });
});

describe('bad options', () => {
  const cases: [string, () => unknown, string][] = [
    ['no box', () => randomSearch({}), 'estimator.radius'],
    ['a box twice', () => randomSearch({ radius: 1, lower: 0, upper: 1 }), 'estimator.radius'],
    ['half a box', () => randomSearch({ lower: 0 }), 'estimator.upper'],
    ['a radius of 0', () => randomSearch({ radius: [1, 0] }), 'estimator.radius'],
    ['a bound as text', () => randomSearch({ radius: 'wide' } as never), 'estimator.radius'],
    ['no candidates', () => randomSearch({ radius: 1, batch: 0 }), 'estimator.batch'],
    ['pairs', () => randomSearch({ radius: 1, pairs: 3 } as never), 'estimator.pairs'],
    ['no points', () => gridSearch({ radius: 1 } as never), 'estimator.points'],
    ['half a point', () => gridSearch({ radius: 1, points: 1.5 }), 'estimator.points'],
  ];
  it.each(cases)('%s: names the key', (_label, make, key) => {
    let caught: unknown;
    try {
      make();
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(ConfigurationError);
    expect((caught as ConfigurationError).key).toBe(key);
  });

  it.each([
    [
      randomSearch({ radius: [1, 1, 1] }),
      "estimator.radius: expected a number, or one for each of θ's 2 coordinates, got 3",
    ],
    [randomSearch({ lower: [0, 1], upper: [1, 0.5] }), 'estimator.lower: expected at most "upper", which is 0.5'],
    [
      gridSearch({ radius: 1, points: [2] }),
      "estimator.points: expected a number, or one for each of θ's 2 coordinates",
    ],
  ])('numbers that do not fit θ are refused before any step', async (estimator, message) => {
    const program = plainProgram(problem);
    await expect(estimator.populate(program, SEED)).rejects.toThrow(message);
    expect(program.steps).toBe(0);
  });
});
