/** Every evolutionary estimator × every property that they share. Unbiasedness and bias: unbiased.test.ts, same rows. */
import type { Estimate, EstimatorPopulation, GradientEstimator, Registrar, Registration } from '../../src/contracts';
import { ESTIMATOR_PROPERTIES } from '../../src/conformance';
import { CheckpointError, ConfigurationError, ShapeError } from '../../src/contracts/errors';
import { fullEs, gpes, nres, pes, registerMetaTrainers, truncatedEs } from '../../meta-trainers';
import { byHand } from '../support/estimator-by-hand';
import { type EstimatorRow, estimatorRows, HORIZON, type StartSettings, WINDOW } from '../support/estimator-rows';
import { linearProblem, linearSystem, meanLoss, trajectory } from '../support/linear-program';
import { plainProgram, type PlainProblem, type PlainProgram } from '../support/plain-program';

const SIGMA = 0.5;
const SEED = 20;
const system = linearSystem('cosine', HORIZON);
const problem = linearProblem(system);
/** θ of iteration i: moves as in training, so that a window that used an older θ would differ. */
const thetaAt = (i: number): Float64Array => Float64Array.of(0.3 + 0.05 * i, -0.4 - 0.02 * i);
const thetas = Array.from({ length: 10 }, (_, i) => thetaAt(i));

/** NaN for all of worker 1 late in its first episode; an infinite loss for the partner (seldom both) of worker 2 in its second
 * that has the larger θ₀. */
const faulty: PlainProblem = {
  ...problem,
  step: (theta, state, t, worker, episode) => {
    const loss = problem.step(theta, state, t, worker, episode);
    if (worker === 1 && episode === 0 && t >= 4) return NaN;
    if (worker === 2 && episode === 1 && t === 7 && theta[0] > 0.35) return Infinity;
    return loss;
  },
};

/** θ decides where an episode starts, as it does where a learned optimizer's own state comes from θ. */
const startsAtTheta: PlainProblem = {
  ...problem,
  init: (theta, state, worker, episode) => {
    problem.init(theta, state, worker, episode);
    theta.forEach((x, k) => (state[k] += x));
  },
};

/** What an engine draws by (worker, episode, step): where an episode starts, and the batch that weighs a loss. */
const drawn: PlainProblem = {
  ...problem,
  init: (theta, state, worker, episode) => {
    problem.init(theta, state, worker, episode);
    state[0] += Math.sin(3 + 5 * worker + 7 * episode);
  },
  step: (theta, state, t, worker, episode) =>
    problem.step(theta, state, t, worker, episode) * (1 + 0.5 * Math.sin(1 + 11 * worker + 13 * episode + 17 * t)),
};

interface Run {
  readonly estimates: Estimate[];
  readonly population: EstimatorPopulation;
  /** Where each worker's first scored window began. */
  readonly offsets: number[];
}

async function run(row: EstimatorRow, estimator: GradientEstimator, program: PlainProgram, seed = SEED): Promise<Run> {
  const population = await estimator.populate(program, seed);
  const estimates: Estimate[] = [];
  let offsets: number[] = [];
  for (const [i, theta] of thetas.entries()) {
    estimates.push(await estimator.estimate(theta, population, i));
    if (i === 0) {
      const { phases } = await population.save();
      offsets = Array.from(phases.data, (t) => t - row.scoredSteps);
    }
  }
  return { estimates, population, offsets };
}

const starts = (row: EstimatorRow): StartSettings[] =>
  row.canUnlock ? [{ lockstep: true }, {}, { offsets: 'independent' }] : [{}];

/** Workers, rows × ways to start. */
const cases = estimatorRows.flatMap((row) =>
  starts(row).map((start) => ({ row, start, title: `${row.label} ${JSON.stringify(start)}` })),
);

const gradients = (estimates: readonly Estimate[]): number[][] => estimates.map(({ gradient }) => Array.from(gradient));

/** ξ is kept in float32: a relative error of 6e-8 a chunk, in sums of up to 7 pairs and gradients of size 1. */
const XI_TOLERANCE = 2e-6;

describe.each(cases)('$title', ({ row, start }) => {
  const pairs = 7;
  const estimator = row.make({ pairs, sigma: SIGMA, ...start });

  it.each([
    ['sound losses', problem],
    ['NaN and infinite losses', faulty],
    ['starts that depend on θ', startsAtTheta],
    ['batches of the worker, the same for both partners', drawn],
  ])('%s: every estimate is its definition, step by step', async (_label, plain) => {
    const { estimates, offsets } = await run(row, estimator, plainProgram(plain));
    const expected = byHand({ problem: plain, row, sigma: SIGMA, seed: SEED, offsets, thetas });
    estimates.forEach((estimate, i) => {
      const truth = expected[i];
      estimate.gradient.forEach((g, k) => expect(Math.abs(g - truth.gradient[k])).toBeLessThan(XI_TOLERANCE));
      expect(estimate.meanLoss).toBeCloseTo(truth.meanLoss, 12);
      expect(estimate.metrics.metric).toBeCloseTo(truth.metric, 12);
      expect(estimate.burnInSteps).toBe(truth.burnInSteps);
      expect(estimate.droppedPairs).toBe(truth.droppedPairs);
      expect(estimate.validPairs).toBe(pairs - truth.droppedPairs);
    });
    const dropped = estimates.reduce((sum, estimate) => sum + estimate.droppedPairs, 0);
    if (plain === faulty) expect(dropped).toBeGreaterThanOrEqual(2);
    else expect(dropped).toBe(0);
  });

  it('counts inner steps (2NW, 3NW, 2NT) and burn-in, and runs no others', async () => {
    const program = plainProgram(faulty);
    const { estimates } = await run(row, estimator, program);
    for (const { innerSteps, sequentialSteps } of estimates) {
      expect(innerSteps).toBe(row.particlesPerPair * pairs * row.scoredSteps);
      expect(sequentialSteps).toBe(row.scoredSteps);
    }
    expect(program.steps).toBe(estimates.reduce((sum, e) => sum + e.innerSteps + e.burnInSteps, 0));
  });

  it.each(ESTIMATOR_PROPERTIES)('$name', async (property) => {
    const make = () => row.make({ pairs, sigma: SIGMA, ...start });
    expect(await property.check({ make, program: () => plainProgram(faulty) })).toBeUndefined();
  });

  it('another seed, other bits', async () => {
    const first = gradients((await run(row, estimator, plainProgram(problem))).estimates);
    const other = gradients((await run(row, estimator, plainProgram(problem), SEED + 1)).estimates);
    other.forEach((gradient, i) => gradient.forEach((g, k) => expect(g).not.toBe(first[i][k])));
  });

  it('more workers leave the noise and the offsets of those that were there as they were', async () => {
    const few = plainProgram(problem);
    const many = plainProgram(problem);
    few.record = many.record = true;
    const small = await run(row, estimator, few);
    const large = await run(row, row.make({ pairs: 3 * pairs, sigma: SIGMA, ...start }), many);
    expect(large.offsets.slice(0, pairs)).toEqual(small.offsets);
    expect(scored(large, many, pairs, row)).toEqual(scored(small, few, pairs, row));
  });

  it('partners run on one key with opposite signs, in one call a window', async () => {
    const program = plainProgram(problem);
    program.record = true;
    await run(row, estimator, program);
    const windows = program.calls.filter((call) => call.particles.length === row.particlesPerPair * pairs);
    expect(windows.length).toBeGreaterThanOrEqual(thetas.length);
    for (const { particles, perturbation } of windows) {
      if (perturbation.form !== 'gaussian') throw new Error('windows are perturbed');
      for (let i = 0; i < 2 * pairs; i += 2) {
        expect([particles[i], particles[i + 1]]).toEqual([i, i + 1]);
        expect([perturbation.signs[i], perturbation.signs[i + 1]]).toEqual([1, -1]);
        expect(perturbation.keys.slice(2 * i, 2 * i + 2)).toEqual(perturbation.keys.slice(2 * i + 2, 2 * i + 4));
      }
      // Mean states run with θ itself.
      expect(Array.from(perturbation.signs.slice(2 * pairs)).every((sign) => sign === 0)).toBe(true);
    }
  });

  it('with a tiny σ the mean loss and metrics are those of θ', async () => {
    const { estimates } = await run(row, row.make({ pairs: 4, sigma: 1e-9, lockstep: true }), plainProgram(problem));
    const theta = thetas[0];
    const states = trajectory(system, theta).slice(0, row.scoredSteps);
    expect(estimates[0].metrics.metric).toBeCloseTo(states.reduce((sum, s) => sum + s[0], 0) / states.length, 7);
    const first = { ...system, horizon: row.scoredSteps };
    expect(estimates[0].meanLoss).toBeCloseTo(meanLoss(first, theta), 7);
  });

  it('without a valid pair: zeros, NaN means, and everyone back at the old phase', async () => {
    const never = plainProgram({ ...problem, step: () => NaN });
    const population = await estimator.populate(never, SEED);
    const estimate = await estimator.estimate(thetas[0], population, 0);
    expect(Array.from(estimate.gradient)).toEqual([0, 0]);
    expect(estimate.meanLoss).toBeNaN();
    expect([estimate.validPairs, estimate.droppedPairs]).toEqual([0, pairs]);
    const { phases, episodes } = await population.save();
    const { offsets } = await run(row, estimator, plainProgram(problem));
    expect(Array.from(phases.data)).toEqual(offsets.map((o) => o + row.scoredSteps));
    expect(Array.from(episodes.data)).toEqual(offsets.map((o) => (o + row.scoredSteps === HORIZON ? 0 : 1)));
  });

  it('refuses θ of another size and a bundle of another population', async () => {
    const population = await estimator.populate(plainProgram(problem), SEED);
    await expect(estimator.estimate(new Float64Array(3), population, 0)).rejects.toThrow(ShapeError);
    const other = await run(row, row.make({ pairs: 2, sigma: SIGMA, ...start }), plainProgram(problem));
    await expect(population.load(await other.population.save())).rejects.toThrow(CheckpointError);
    await expect(population.load({})).rejects.toThrow('checkpoint array "episodes": expected 7 numbers');
  });
});

/** [worker, episode and step are implied by order; key] of the scored windows of the first workers, in order. */
function scored(of: Run, program: PlainProgram, pairs: number, row: EstimatorRow): number[][] {
  const size = row.particlesPerPair * of.offsets.length;
  return program.calls
    .filter((call) => call.particles.length === size)
    .map(({ perturbation }) =>
      perturbation.form === 'gaussian' ? Array.from(perturbation.keys.slice(0, 4 * pairs)) : [],
    );
}

describe('offsets', () => {
  const windows = HORIZON / WINDOW;
  const offsetsOf = async (row: EstimatorRow, pairs: number, start: StartSettings, seed = SEED): Promise<number[]> =>
    (await run(row, row.make({ pairs, sigma: SIGMA, ...start }), plainProgram(problem), seed)).offsets;
  const counts = (offsets: readonly number[]): number[] =>
    Array.from({ length: windows }, (_, i) => offsets.filter((o) => o === i * WINDOW).length);

  it.each(estimatorRows.filter((row) => row.canUnlock))(
    '$label: stratified ones cover {0, W, …, T−W} evenly',
    async (row) => {
      expect(counts(await offsetsOf(row, 5 * windows, {}))).toEqual(new Array(windows).fill(5));
      // What does not fill a block: no offset twice in it.
      const partial = counts(await offsetsOf(row, 5 * windows + 2, {}));
      expect(partial.filter((n) => n === 6)).toHaveLength(2);
      expect(partial.filter((n) => n === 5)).toHaveLength(windows - 2);
    },
  );

  it('each block of workers and each seed has its own order', async () => {
    const row = estimatorRows[2];
    const offsets = await offsetsOf(row, 8 * windows, {});
    const blocks = Array.from({ length: 8 }, (_, b) => offsets.slice(b * windows, (b + 1) * windows).join());
    expect(new Set(blocks).size).toBeGreaterThan(4);
    expect(await offsetsOf(row, 8 * windows, {}, SEED + 1)).not.toEqual(offsets);
  });

  it('independent ones are uniform: χ² with 3 degrees of freedom below its 1e-4 quantile, 21.1', async () => {
    const pairs = 400;
    const found = counts(await offsetsOf(estimatorRows[2], pairs, { offsets: 'independent' }));
    const mean = pairs / windows;
    expect(found.reduce((sum, n) => sum + n, 0)).toBe(pairs);
    expect(found.reduce((sum, n) => sum + (n - mean) ** 2 / mean, 0)).toBeLessThan(21.1);
    expect(new Set(found).size).toBeGreaterThan(1);
  });

  it('lockstep ones are 0', async () => {
    expect(await offsetsOf(estimatorRows[2], 6, { lockstep: true })).toEqual(new Array(6).fill(0));
  });
});

describe('one family, same bits', () => {
  const common = { pairs: 6, sigma: SIGMA, window: WINDOW };
  const row = estimatorRows[2];
  it.each([
    ['PES = GPES_W', pes(common), gpes({ ...common, noisePeriod: WINDOW })],
    ['NRES = GPES_T', nres(common), gpes({ ...common, noisePeriod: HORIZON })],
    ['NRES = GPES_K for K > T', nres(common), gpes({ ...common, noisePeriod: 2 * HORIZON + WINDOW })],
  ])('%s', async (_label, a, b) => {
    expect((await run(row, a, plainProgram(faulty))).estimates).toEqual(
      (await run(row, b, plainProgram(faulty))).estimates,
    );
  });

  it('but PES and NRES differ', async () => {
    const a = await run(row, pes(common), plainProgram(problem));
    const b = await run(row, nres(common), plainProgram(problem));
    expect(gradients(a.estimates)).not.toEqual(gradients(b.estimates));
  });

  it('NRES keeps nothing of θ’s size, PES one vector a pair', async () => {
    const own = async (estimator: GradientEstimator): Promise<string[]> =>
      Object.keys(await (await run(row, estimator, plainProgram(problem))).population.save()).filter(
        (name) => !name.startsWith('particles.'),
      );
    // Of θ's size only up to 64 numbers: diagnostics.test.ts.
    expect(await own(nres(common))).toEqual(['episodes', 'phases', 'noiseOrigins']);
    expect(await own(pes(common))).toEqual(['episodes', 'phases', 'scores']);
  });

  it('FullES in calls of W steps is FullES', async () => {
    const a = await run(estimatorRows[0], fullEs({ pairs: 6, sigma: SIGMA }), plainProgram(problem));
    const b = await run(estimatorRows[0], fullEs(common), plainProgram(problem));
    // Sums of 12 losses in another order.
    a.estimates.forEach(({ gradient }, i) =>
      gradient.forEach((g, k) => expect(Math.abs(g - b.estimates[i].gradient[k])).toBeLessThan(1e-13)),
    );
  });
});

describe('an infinite horizon', () => {
  const endless = { ...problem, horizon: Infinity };
  const common = { pairs: 4, sigma: SIGMA, window: WINDOW };
  it.each([nres(common), pes(common), gpes({ ...common, noisePeriod: 6 }), truncatedEs(common)])(
    '$name is lockstep and never reset',
    async (estimator) => {
      const population = await estimator.populate(plainProgram(endless), SEED);
      for (let i = 0; i < 8; i++) {
        expect((await estimator.estimate(thetas[i], population, i)).burnInSteps).toBe(0);
      }
      const { phases, episodes } = await population.save();
      expect(Array.from(phases.data)).toEqual([24, 24, 24, 24]);
      expect(Array.from(episodes.data)).toEqual([0, 0, 0, 0]);
    },
  );
  it('has no FullES', async () => {
    await expect(fullEs({ pairs: 1, sigma: 1 }).populate(plainProgram(endless), 0)).rejects.toMatchObject({
      key: 'horizon',
    });
  });
});

describe('σ schedules', () => {
  it('NRES runs with the σ of the iteration and divides by it', async () => {
    const sigma = { name: 'exponential', initial: 0.4, factor: 0.5, every: 2 } as const;
    const estimator = nres({ pairs: 3, window: WINDOW, sigma, lockstep: true });
    const program = plainProgram(linearProblem(linearSystem('linear', HORIZON)));
    program.record = true;
    const changing = await estimator.populate(program, SEED);
    const fixed = nres({ pairs: 3, window: WINDOW, sigma: 1, lockstep: true });
    const reference = await fixed.populate(plainProgram(linearProblem(linearSystem('linear', HORIZON))), SEED);
    for (let i = 0; i < 4; i++) {
      const estimate = await estimator.estimate(thetas[0], changing, i);
      const expected = 0.4 * 0.5 ** (i / 2);
      expect(estimate.diagnostics.sigma).toBe(expected);
      const { perturbation } = program.calls[i];
      expect(perturbation.form === 'gaussian' && perturbation.sigma).toBe(expected);
      // Losses are linear, so in the first window (no history at another σ) σ cancels.
      const truth = await fixed.estimate(thetas[0], reference, i);
      if (i === 0) estimate.gradient.forEach((g, k) => expect(g).toBeCloseTo(truth.gradient[k], 12));
    }
  });

  it('PES stays exact on linear losses while σ changes: each chunk counts with its own', async () => {
    // E[(L⁺−L⁻)·Σ_c n_c/σ_c] is the same for every σ_c; a common σ for all chunks would not be.
    const linear = linearSystem('linear', HORIZON);
    const sigma = { name: 'piecewise' as const, initial: 1, steps: [{ at: 2, factor: 0.01 }] };
    const estimator = pes({ pairs: 1, window: WINDOW, sigma, lockstep: true });
    const program = plainProgram(linearProblem(linear));
    const population = await estimator.populate(program, SEED);
    for (let i = 0; i < 3; i++) await estimator.estimate(thetas[0], population, i);
    const { scores } = await population.save();
    const first = await pes({ pairs: 1, window: WINDOW, sigma: 1, lockstep: true }).populate(program, SEED);
    const one = pes({ pairs: 1, window: WINDOW, sigma: 1, lockstep: true });
    const after: number[][] = [];
    for (let i = 0; i < 3; i++) {
      await one.estimate(thetas[0], first, i);
      after.push(Array.from((await first.save()).scores.data));
    }
    scores.data.forEach((x, k) => {
      const expected = after[1][k] + (after[2][k] - after[1][k]) / 0.01;
      expect(Math.abs(x / expected - 1)).toBeLessThan(1e-5);
    });
  });

  it('a function that gives no positive number is refused when it does', async () => {
    const estimator = nres({ pairs: 1, window: WINDOW, sigma: (i) => 1 - i });
    const population = await estimator.populate(plainProgram(problem), SEED);
    await estimator.estimate(thetas[0], population, 0);
    await expect(estimator.estimate(thetas[0], population, 1)).rejects.toMatchObject({ key: 'estimator.sigma' });
  });
});

describe('shaping and clipping', () => {
  /** Losses by particle: the state is θ's noise-free tag, so that every loss is chosen here. */
  const chosen = (losses: readonly (readonly [number, number])[]): PlainProgram => {
    const sides: number[] = [];
    return plainProgram({
      name: 'chosen',
      horizon: 1,
      thetaSize: 1,
      stateSize: 1,
      init: (_theta, _state, worker) => {
        sides[worker] = 0;
      },
      // The + particle of a pair is run before the − particle.
      step: (_theta, _state, _t, worker) => losses[worker][sides[worker]++],
    });
  };
  const estimateOf = async (losses: readonly (readonly [number, number])[], more: object): Promise<number> => {
    const estimator = fullEs({ pairs: losses.length, sigma: 0.5, ...more });
    const program = chosen(losses);
    return (await estimator.estimate(Float64Array.of(0), await estimator.populate(program, SEED), 0)).gradient[0];
  };
  /** The gradient that unshaped pairs with these differences give, NaN for one that is left out. */
  const expected = (differences: readonly number[]): Promise<number> =>
    estimateOf(
      differences.map((difference) => [difference, 0] as const),
      {},
    );
  const losses = [
    [3, 1],
    [2, 8],
    [5, 5],
    [NaN, 4],
    [0, 1],
  ] as const;
  const rankOf = (rank: number): number => rank / 7 - 0.5;

  const rows: [string, object, number[]][] = [
    ['none', {}, [2, -6, 0, NaN, -1]],
    ['sign', { shaping: 'sign' }, [1, -1, 0, NaN, -1]],
    // Of 0, 1, 1, 2, 3, 5, 5, 8: ranks 0, 1.5, 1.5, 3, 4, 5.5, 5.5, 7.
    [
      'centredRanks',
      { shaping: 'centredRanks' },
      [rankOf(4) - rankOf(1.5), rankOf(3) - rankOf(7), 0, NaN, rankOf(0) - rankOf(1.5)],
    ],
    // Mean 25/8, mean of squares 129/8.
    [
      'standardised',
      { shaping: 'standardised' },
      [2, -6, 0, NaN, -1].map((f) => f / Math.sqrt(129 / 8 - (25 / 8) ** 2)),
    ],
    ['clip', { clip: 1.5 }, [1.5, -1.5, 0, NaN, -1]],
    ['clip after shaping', { shaping: 'sign', clip: 0.25 }, [0.25, -0.25, 0, NaN, -0.25]],
  ];
  it.each(rows)('%s', async (_label, more, differences) => {
    expect(await estimateOf(losses, more)).toBeCloseTo(await expected(differences), 12);
  });

  it('standardised: equal losses move nothing', async () => {
    expect(
      await estimateOf(
        [
          [2, 2],
          [2, 2],
        ],
        { shaping: 'standardised' },
      ),
    ).toBe(0);
  });

  it.each(estimatorRows)('$label takes them all', async (row) => {
    for (const shaping of ['none', 'standardised', 'centredRanks', 'sign'] as const) {
      const { estimates } = await run(
        row,
        row.make({ pairs: 4, sigma: SIGMA, shaping, clip: 0.1 }),
        plainProgram(problem),
      );
      expect(estimates[0].gradient.some((g) => g !== 0)).toBe(true);
    }
  });
});

describe('bad options', () => {
  const good = { pairs: 4, sigma: 0.1, window: 3 };
  const of =
    (options: object): (() => unknown) =>
    () =>
      nres({ ...good, ...options });
  const rows: [string, () => unknown, string][] = [
    ['no pairs', of({ pairs: undefined }), 'estimator.pairs'],
    ['0 pairs', of({ pairs: 0 }), 'estimator.pairs'],
    ['half a pair', of({ pairs: 1.5 }), 'estimator.pairs'],
    ['σ of 0', of({ sigma: 0 }), 'estimator.sigma'],
    ['σ as text', of({ sigma: 'small' }), 'estimator.sigma'],
    ['no window', of({ window: undefined }), 'estimator.window'],
    ['an unknown key', of({ windows: 3 }), 'estimator.windows'],
    ['a noise period for NRES', of({ noisePeriod: 3 }), 'estimator.noisePeriod'],
    ['no noise period for GPES', () => gpes(good as never), 'estimator.noisePeriod'],
    ['an unknown shaping', of({ shaping: 'ranks' }), 'estimator.shaping'],
    ['an unknown offset rule', of({ offsets: 'random' }), 'estimator.offsets'],
    ['a clip of 0', of({ clip: 0 }), 'estimator.clip'],
    ['lockstep as text', of({ lockstep: 'yes' }), 'estimator.lockstep'],
  ];
  it.each(rows)('%s: names the key', (_label, make, key) => {
    let caught: unknown;
    try {
      make();
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(ConfigurationError);
    expect((caught as ConfigurationError).key).toBe(key);
  });

  const misfits: [string, GradientEstimator, string][] = [
    [
      'W does not divide T',
      pes({ ...good, window: 5 }),
      'estimator.window: expected a divisor of the horizon 12, got 5. The nearest: 4, 6.',
    ],
    [
      'W is over T',
      nres({ ...good, window: 24 }),
      'estimator.window: expected a divisor of the horizon 12, got 24. The nearest: 12.',
    ],
    [
      'W does not divide T, FullES',
      fullEs({ ...good, window: 5 }),
      'estimator.window: expected a divisor of the horizon 12, got 5.',
    ],
    [
      'K is no multiple of W',
      gpes({ ...good, noisePeriod: 7 }),
      'estimator.noisePeriod: expected a multiple of the window 3, got 7. For example 6.',
    ],
  ];
  it.each(misfits)('%s: refused before any step', async (_label, estimator, message) => {
    const program = plainProgram(problem);
    await expect(estimator.populate(program, SEED)).rejects.toThrow(message);
    await expect(estimator.populate(program, SEED)).rejects.toBeInstanceOf(ConfigurationError);
    expect(program.steps).toBe(0);
  });
});

describe('registration', () => {
  const registered = new Map<string, Registration<unknown>>();
  const collect = (kind: string) => (name: string, registration: unknown) =>
    registered.set(`${kind} ${name}`, registration as Registration<unknown>);
  registerMetaTrainers({
    estimator: collect('estimator'),
    outerOptimizer: collect('outerOptimizer'),
  } as never as Registrar);

  it('names what the configuration calls them', () => {
    expect([...registered.keys()].sort()).toEqual([
      'estimator bptt',
      'estimator dodge',
      'estimator full-es',
      'estimator gpes',
      'estimator grid-search',
      'estimator nres',
      'estimator pes',
      'estimator pes-analytic',
      'estimator random-search',
      'estimator rtrl',
      'estimator tbptt',
      'estimator truncated-es',
      'estimator uoro',
      'outerOptimizer adam',
      'outerOptimizer momentum',
      'outerOptimizer rmsprop',
      'outerOptimizer sgd',
    ]);
  });

  it.each(estimatorRows)('$label from options as data gives the bits of the library call', async (row) => {
    const registration = registered.get(`estimator ${row.name}`)!;
    const config = { pairs: 4, sigma: SIGMA, window: row.name === 'full-es' ? undefined : WINDOW };
    const data: Record<string, unknown> = {
      ...config,
      ...(row.name === 'gpes' ? { noisePeriod: row.noisePeriod } : {}),
    };
    const made = (await registration.create(registration.options!.parse(data), {} as never)) as GradientEstimator;
    expect(made.name).toBe(row.name);
    expect(made.needs).toEqual(['forward']);
    const fromData = await run(row, made, plainProgram(problem));
    const fromCall = await run(row, row.make({ pairs: 4, sigma: SIGMA }), plainProgram(problem));
    expect(fromData.estimates).toEqual(fromCall.estimates);
  });

  it('outer optimizers too', async () => {
    const registration = registered.get('outerOptimizer adam')!;
    const made = await registration.create(registration.options!.parse({ learningRate: 0.1 }), {} as never);
    expect(made).toMatchObject({ name: 'adam' });
  });
});
