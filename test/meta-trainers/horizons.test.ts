/**
 * Episodes of different lengths: what schedules give, in closed form, and what estimators estimate with them: the mean loss
 * over the steps that are run, Σ p(T)·T·ḡ(T) / Σ p(T)·T with ḡ(T) the gradient of the mean loss of T steps.
 *
 * Every statistical statement is tested at 1e-4 (two-sided, Bonferroni over the lines of this file), with fixed seeds.
 */
import { ConfigurationError, type GradientEstimator, type HorizonSchedule } from '../../src/contracts';
import { gridSearch, nres, pes, randomSearch } from '../../meta-trainers';
import { episodeLengths } from '../../meta-trainers/estimators/lengths';
import { stratifiedUniforms } from '../../meta-trainers/estimators/offsets';
import {
  estimatorRows,
  gradientRows,
  HORIZON as T,
  SIGMA,
  WINDOW as W,
  type StartSettings,
} from '../support/estimator-rows';
import {
  horizonGradient,
  linearProblem,
  linearSystem,
  squaredNorm,
  type SmoothingOptions,
} from '../support/linear-program';
import { plainProgram } from '../support/plain-program';
import { meanTest, normalQuantile } from '../support/statistics';

const LOG: HorizonSchedule = { name: 'log-uniform', low: W, high: T };
const GROWING: HorizonSchedule = { name: 'growing', from: W, to: T, iterations: 9 };
const theta = Float64Array.of(0.3, -0.4);
const system = linearSystem('cosine', T);
const program = (horizonSchedule: HorizonSchedule) => plainProgram({ ...linearProblem(system), horizonSchedule });

/** All estimators, of so many pairs or workers. */
const every = [
  ...estimatorRows.map(({ label, name, make }) => ({
    label,
    name,
    make: (pairs: number, sigma: number): GradientEstimator => make({ pairs, sigma }),
  })),
  ...gradientRows
    .filter(({ label }) => label !== 'pes-analytic, W=T')
    .map(({ label, name, make }) => ({
      label,
      name,
      make: (workers: number, _sigma: number): GradientEstimator => make({ workers }),
    })),
];

/** Probability of m units, low = 1 unit and high = 4: the cells (½, 1½], (1½, 2½] … within [1, 4]. */
const ENDS = [1, 1.5, 2.5, 3.5, 4];
const PROBABILITIES = [1, 2, 3, 4].map((m) => Math.log(ENDS[m] / ENDS[m - 1]) / Math.log(4));
const MEAN = PROBABILITIES.reduce((sum, p, i) => sum + p * (i + 1), 0);
const z = normalQuantile(1e-4 / 100);

/** Of counts with a binomial distribution each. */
function expectFrequencies(counts: readonly number[], probabilities: readonly number[]): void {
  const n = counts.reduce((a, b) => a + b);
  counts.forEach((count, i) => {
    const p = probabilities[i];
    expect(Math.abs(count - n * p) / Math.sqrt(n * p * (1 - p))).toBeLessThan(z);
  });
}

describe('log-uniform lengths', () => {
  const lengths = episodeLengths({ horizonSchedule: LOG }, W, 5)!;

  test('are multiples of the window, each as likely as its cell is wide in the logarithm', () => {
    const counts = [0, 0, 0, 0];
    for (let worker = 0; worker < 100; worker++) {
      for (let episode = 0; episode < 200; episode++) counts[lengths.of(worker, episode, 0) / W - 1]++;
    }
    expectFrequencies(counts, PROBABILITIES);
    expect(lengths.mean(0)).toBeCloseTo(W * MEAN, 12);
    expect(lengths.of(3, 4, 0)).toBe(lengths.of(3, 4, 1000));
  });

  test.each(['stratified', 'independent'] as const)(
    '%s workers: every window as often as in an endless run',
    (rule) => {
      const { lengths: all, offsets } = lengths.spread(rule, 20000);
      const places = [1, 2, 3, 4].flatMap((m) => Array.from({ length: m }, (_, j) => [m, j]));
      const counts = places.map(([m, j]) => offsets.filter((offset, w) => all[w] === W * m && offset === W * j).length);
      expect(counts.reduce((a, b) => a + b)).toBe(20000);
      const expected = places.map(([m]) => PROBABILITIES[m - 1] / MEAN);
      expectFrequencies(counts, expected);
      expect(lengths.spread(rule, 20).lengths).toEqual(all.slice(0, 20));
    },
  );
});

test('stratified workers: each block has one in every stratum, wherever in it', () => {
  const all = stratifiedUniforms('stratified', [1, 2], 4000, 4);
  for (let first = 0; first < 4000; first += 4) {
    const strata = Array.from(all.subarray(first, first + 4), (u) => Math.floor(4 * u));
    expect(strata.sort()).toEqual([0, 1, 2, 3]);
  }
  const halves = all.filter((u) => (4 * u) % 1 < 0.5).length;
  expectFrequencies([halves, 4000 - halves], [0.5, 0.5]);
});

describe('growing lengths', () => {
  test('are linear in the iteration; between two multiples of the window by chance', () => {
    const lengths = episodeLengths(
      { horizonSchedule: { name: 'growing', from: 10, to: 100, iterations: 900 } },
      10,
      0,
    )!;
    expect([0, 25, 450, 900, 5000].map((i) => lengths.mean(i))).toEqual([10, 12.5, 55, 100, 100]);
    const counts = (iteration: number): number[] => {
      const all = Array.from({ length: 4000 }, (_, worker) => lengths.of(worker, 7, iteration));
      return [10, 20, 100].map((steps) => all.filter((length) => length === steps).length);
    };
    expect([counts(0), counts(900)]).toEqual([
      [4000, 0, 0],
      [0, 0, 4000],
    ]);
    // 12.5 is a quarter of the way from 10 to 20.
    expectFrequencies(counts(25).slice(0, 2), [0.75, 0.25]);
  });

  test('leave workers spread over the whole of the episode', async () => {
    const long = linearSystem('linear', 120);
    const schedule: HorizonSchedule = { name: 'growing', from: 12, to: 120, iterations: 360 };
    const population = await nres({ pairs: 80, sigma: 1, window: 3 }).populate(
      plainProgram({ ...linearProblem(long), horizonSchedule: schedule }),
      1,
    );
    const workers = population as unknown as { phases: Int32Array; lengths: Float64Array };
    for (let i = 0; i <= 400; i++) {
      await nres({ pairs: 80, sigma: 1, window: 3 }).estimate(theta, population, i);
    }
    expect(Array.from(workers.lengths).filter((length) => length >= 105).length).toBeGreaterThan(70);
    const quarters = [0, 0, 0, 0];
    workers.phases.forEach((t, w) => quarters[Math.min(3, Math.floor((4 * (t - 1)) / workers.lengths[w]))]++);
    // 20 each if the phases were spread evenly; bunched workers are all in one or two.
    for (const count of quarters) expect(count).toBeGreaterThanOrEqual(10);
  });
});

/** How far other means are from that over steps; the estimators without noise tell them apart. */
const RESOLVED = 0.02;

/** What an estimator of these has as its mean. */
function truth(options: Omit<SmoothingOptions, 'window'>): number[] {
  const gradients = [1, 2, 3, 4].map((m) =>
    horizonGradient(linearSystem('cosine', W * m), theta, { ...options, window: W }),
  );
  return theta.reduce<number[]>(
    (out, _, k) => [...out, gradients.reduce((sum, g, i) => sum + PROBABILITIES[i] * (i + 1) * g[k], 0) / MEAN],
    [],
  );
}

/** The `after`-th estimates of independent populations, θ fixed. */
async function samples(estimator: GradientEstimator, seeds: number, after = 0): Promise<Float64Array[]> {
  const out: Float64Array[] = [];
  const made = program(LOG);
  for (let seed = 1; seed <= seeds; seed++) {
    const population = await estimator.populate(made, seed);
    for (let i = 0; i < after; i++) await estimator.estimate(theta, population, i);
    out.push((await estimator.estimate(theta, population, after)).gradient);
  }
  return out;
}

function expectMean(
  all: readonly Float64Array[],
  expected: readonly number[],
  error = 0.15 * Math.sqrt(squaredNorm(expected)),
): void {
  expected.forEach((g, k) => {
    const test = meanTest(
      all.map((sample) => sample[k]),
      g,
    );
    expect(Math.abs(test.z)).toBeLessThan(z);
    expect(test.standardError).toBeLessThan(error);
  });
}

describe('unbiased for the mean over steps', () => {
  test('which is neither that over episodes nor that of one length', () => {
    const options = { sigma: 0, period: T, perturbed: 'persistent', window: W } as const;
    const of = (m: number): number[] => horizonGradient(linearSystem('cosine', W * m), theta, options);
    const overEpisodes = theta.reduce<number[]>(
      (out, _, k) => [...out, PROBABILITIES.reduce((sum, p, i) => sum + p * of(i + 1)[k], 0)],
      [],
    );
    const own = truth(options);
    for (const other of [overEpisodes, of(4)]) {
      const distance = Math.sqrt(squaredNorm(own.map((g, k) => g - other[k])));
      expect(distance).toBeGreaterThan(RESOLVED);
    }
  });

  describe.each(estimatorRows)('$label', (row) => {
    const expected = truth({ sigma: SIGMA, period: row.noisePeriod, perturbed: row.perturbed });
    const starts: [string, StartSettings][] = row.canUnlock
      ? [
          ['stratified', {}],
          ['independent', { offsets: 'independent' }],
        ]
      : [['whole episodes', {}]];
    it.each(starts)('%s', async (_label, start) => {
      expectMean(await samples(row.make({ pairs: 12, sigma: SIGMA, ...start }), 350), expected);
    });
  });

  it('at later estimates, too', async () => {
    const expected = truth({ sigma: SIGMA, period: T, perturbed: 'persistent' });
    expectMean(await samples(nres({ pairs: 12, sigma: SIGMA, window: W }), 350, 5), expected);
  });

  const rows = gradientRows.filter(
    ({ loss, scoredSteps, canUnlock }) => loss === 'mean' && (canUnlock || scoredSteps === T),
  );
  describe.each(rows.filter(({ label }) => label !== 'pes-analytic, W=T'))('$label', (row) => {
    it('mean = closed form', async () => {
      const analytic = row.kind === 'analytic';
      const expected = truth({
        sigma: analytic ? SIGMA : 0,
        period: analytic ? W : T,
        perturbed: row.kind === 'detached' ? 'truncated' : 'persistent',
      });
      const sharp = row.kind === 'carried';
      const all = await samples(row.make({ workers: sharp ? 60 : 12 }), 400);
      expectMean(all, expected, sharp ? RESOLVED / z : undefined);
    });
  });
});

describe('what is counted', () => {
  test.each(['full-es', 'bptt'])('%s: the steps of each episode; means are over them', async (name) => {
    const estimator = every.find((one) => one.name === name)!.make(6, 1e-6);
    const population = await estimator.populate(program(LOG), 3);
    const lengths = episodeLengths({ horizonSchedule: LOG }, 1, 3)!;
    for (const episode of [0, 1]) {
      const estimate = await estimator.estimate(theta, population, episode);
      const own = Array.from({ length: 6 }, (_, w) => lengths.of(w, episode, episode));
      const steps = own.reduce((a, b) => a + b);
      expect(estimate.innerSteps).toBe((name === 'bptt' ? 1 : 2) * steps);
      expect(estimate.sequentialSteps).toBe(Math.max(...own));
      expect(estimate.diagnostics.episodeLength).toBeCloseTo(steps / 6, 12);
      // All workers have one trajectory here, cut at their own ends.
      const whole = await nres({ pairs: 1, sigma: 1e-6, window: 1, lockstep: true }).populate(
        plainProgram(linearProblem(system)),
        0,
      );
      let sum = 0;
      for (let t = 0; t < T; t++) {
        const { meanLoss } = await nres({ pairs: 1, sigma: 1e-6, window: 1, lockstep: true }).estimate(theta, whole, t);
        sum += meanLoss * own.filter((length) => length > t).length;
      }
      expect(estimate.meanLoss).toBeCloseTo(sum / steps, 4);
    }
  });

  test('a worker that breaks keeps its length and its place', async () => {
    const plain = linearProblem(system);
    let broken = false;
    const made = plainProgram({
      ...plain,
      horizonSchedule: LOG,
      step: (...given) => {
        const loss = plain.step(...given);
        return broken ? NaN : loss;
      },
    });
    const estimator = nres({ pairs: 100, sigma: SIGMA, window: W });
    const population = await estimator.populate(made, 2);
    const { lengths, phases } = population as unknown as { lengths: Float64Array; phases: Int32Array };
    await estimator.estimate(theta, population, 0);
    const before = [lengths.slice(), phases.slice()];
    broken = true;
    const { droppedPairs } = await estimator.estimate(theta, population, 1);
    expect(droppedPairs).toBe(100);
    const within = Array.from(before[0].keys()).filter((w) => before[1][w] + W < before[0][w]);
    // Two windows or more before the end: (p(3) + 2·p(4))/E m, a fifth of all.
    expect(within.length).toBeGreaterThan(5);
    for (const w of within) expect([lengths[w], phases[w]]).toEqual([before[0][w], before[1][w] + W]);
  });
});

describe.each([
  ['log-uniform', LOG],
  ['growing', GROWING],
] as const)('%s: saved and loaded between any two estimates, the rest is the same', (_name, schedule) => {
  test.each(every)('$label', async (row) => {
    const estimator = row.make(5, SIGMA);
    const made = program(schedule);
    const whole = await estimator.populate(made, 4);
    for (let i = 0; i < 8; i++) {
      const again = await estimator.populate(made, 4);
      await again.load(await whole.save());
      const { gradient } = await estimator.estimate(theta, whole, i);
      expect((await estimator.estimate(theta, again, i)).gradient).toEqual(gradient);
    }
  });
});

test('one compiled program serves all lengths', async () => {
  const made = program(LOG);
  const compiled = jest.spyOn(made, 'differentiate');
  for (const row of gradientRows.filter(({ name }) => name === 'bptt' || name === 'rtrl')) {
    compiled.mockClear();
    const estimator = row.make({ workers: 8 });
    const population = await estimator.populate(made, 1);
    for (let i = 0; i < 5; i++) await estimator.estimate(theta, population, i);
    expect(compiled).toHaveBeenCalledTimes(1);
  }
});

describe('refused', () => {
  test.each([
    [gridSearch({ radius: 1, points: 2 }), 'grid-search'],
    [randomSearch({ radius: 1 }), 'random-search'],
  ])('%s, with those that take schedules', async (estimator, name) => {
    const error: unknown = await estimator.populate(program(LOG), 0).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as Error).message).toBe(
      `horizon: expected a number of steps for ${name}, got the schedule "log-uniform". These take schedules: nres, pes, ` +
        'gpes, pes-analytic, full-es, truncated-es, tbptt, bptt, rtrl, uoro, dodge.',
    );
  });

  test('a window that does not divide an end', async () => {
    const schedule: HorizonSchedule = { name: 'log-uniform', low: 4, high: T };
    await expect(pes({ pairs: 1, sigma: 1, window: W }).populate(program(schedule), 0)).rejects.toThrow(
      'estimator.window: expected a divisor of the horizon 4, got 3. The nearest: 2, 4.',
    );
  });
});
