/**
 * Variances by the formulas for linear losses, against Monte Carlo and enumeration; gradients of windows by chunks of noise,
 * against closed forms and central differences; both together against estimators that run.
 *
 * Statistical statements are tested at 1e-4 (Bonferroni over the lines of a test): with fixed seeds a right formula failed
 * with that probability when the seeds were chosen, and never fails again.
 */
import { dodge, fullEs, gpes, nres, pes } from '../../meta-trainers';
import type { GradientEstimator, UnrollProgram } from '../../src/contracts';
import {
  noiseModel,
  pairSquare,
  planMoments,
  predictedVariance,
  sampleGradients,
  windowMoments,
  type EpisodeMoments,
  type MomentsPlan,
  type NoiseModel,
} from '../../src/outer';
import { foldIn, normals, seedKey } from '../../src/random';
import { lorenz as lorenzProblem } from '../../tasks/lorenz';
import { ENGINES } from '../support/engine-table';
import {
  horizonGradient,
  linearProgram,
  linearSystem,
  squaredNorm,
  windowGradients,
  windowTotals,
} from '../support/linear-program';
import { lorenz, THETA_START } from '../support/lorenz';
import { plainProgram, type PlainProblem } from '../support/plain-program';
import { meanTest, normalQuantile } from '../support/statistics';

const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((sum, x) => sum + x / values.length, 0);

function planned(models: readonly NoiseModel[], horizon: number, d: number, episodes = 2): MomentsPlan {
  const plan = planMoments({ models, horizon, d, budget: Infinity, episodes });
  if ('reason' in plan) throw new Error(plan.reason);
  return plan;
}

async function momentsOf(
  program: UnrollProgram,
  theta: Float64Array,
  plan: MomentsPlan,
  seed = 5,
): Promise<readonly (readonly EpisodeMoments[])[]> {
  const result = await windowMoments(program, plan, { theta, seed });
  if ('reason' in result) throw new Error(result.reason);
  return result.moments;
}

test('m = c·d·Σ‖g_j‖² + 2‖Σg_j‖² is what (Σ g_j·ε_j)·Σ ε_j has on average', () => {
  const [d, chunks, draws] = [3, 4, 40_000];
  const gradients = Float64Array.from({ length: chunks * d }, (_, i) => Math.sin(1 + 2 * i));
  const noise = normals([3, 4], draws * gradients.length);
  const squares = Float64Array.from({ length: draws }, (_, i) => {
    const own = noise.subarray(i * gradients.length, (i + 1) * gradients.length);
    const score = new Float64Array(d);
    own.forEach((z, k) => (score[k % d] += z));
    return own.reduce((sum, z, k) => sum + z * gradients[k], 0) ** 2 * squaredNorm(score);
  });
  expect(Math.abs(meanTest(squares, pairSquare(gradients, d)).z)).toBeLessThan(normalQuantile(1e-4));
});

describe('special cases', () => {
  const d = 3;
  const n = 5;
  const g = Array.from({ length: n }, (_, t) => Float64Array.from({ length: d }, (_x, k) => Math.cos(1 + t * d + k)));
  const whole = Float64Array.from({ length: d }, (_, k) => mean(g.map((row) => row[k])));
  const nresEpisode: EpisodeMoments = {
    squares: Float64Array.from(g, (row) => pairSquare(row, d)),
    gradients: Float64Array.from(g.flatMap((row) => Array.from(row))),
  };
  const meanSquare = mean(g.map(squaredNorm));

  test('FullES, one pair: (d+1)‖ḡ‖²', () => {
    const episode = { squares: Float64Array.of(pairSquare(whole, d)), gradients: whole };
    const model = { window: 10, noisePeriod: 10, offsets: 'start', count: 1 } as const;
    const { value, standardError } = predictedVariance(model, [episode], d);
    expect(value).toBeCloseTo((d + 1) * squaredNorm(whole), 12);
    expect(standardError).toBe(0);
  });

  test('NRES, n = T/W i.i.d. pairs: ((d+2)·mean‖g_τ‖² − ‖ḡ‖²)/n; stratified: (d+1)·mean‖g_τ‖²/n', () => {
    const model = { window: 2, noisePeriod: 10, offsets: 'independent', count: n } as const;
    const expected = ((d + 2) * meanSquare - squaredNorm(whole)) / n;
    expect(predictedVariance(model, [nresEpisode], d).value).toBeCloseTo(expected, 12);
    const stratified = predictedVariance({ ...model, offsets: 'stratified' }, [nresEpisode], d).value;
    expect(stratified).toBeCloseTo(((d + 1) * meanSquare) / n, 12);
  });

  test('in lockstep the first window is all there is', () => {
    const model = { window: 2, noisePeriod: 10, offsets: 'start', count: 2 } as const;
    const { value } = predictedVariance(model, [nresEpisode], d);
    expect(value).toBeCloseTo(((d + 1) * squaredNorm(g[0])) / 2, 12);
  });

  test('windows without noise: only where they lie varies, as all orders of a stratified sample say', () => {
    // N = 7 of 5 windows: all of them, and two without replacement.
    const sums: Float64Array[] = [];
    for (let a = 0; a < n; a++) {
      for (let b = 0; b < n; b++) {
        if (a !== b) sums.push(whole.map((x, k) => (n * x + g[a][k] + g[b][k]) / 7));
      }
    }
    const middle = whole.map((_, k) => mean(sums.map((row) => row[k])));
    const variance = mean(sums.map((row) => squaredNorm(row.map((x, k) => x - middle[k]))));
    const still = { ...nresEpisode, squares: Float64Array.from(g, squaredNorm) };
    const model = { window: 2, noisePeriod: 10, offsets: 'stratified', count: 7 } as const;
    expect(predictedVariance(model, [still], d).value).toBeCloseTo(variance, 12);
  });
});

describe('over episodes that differ', () => {
  const d = 2;
  const n = 3;
  const SPREAD = 0.7;
  const EPISODES = 6;
  const SETS = 4000;
  const centres = [1, -0.5, 0.3, 0.8, -1.2, 0.1];
  /** g_τ = centre + SPREAD·z, one chunk. */
  const sets = Array.from({ length: SETS }, (_, s) =>
    Array.from({ length: EPISODES }, (_e, e): EpisodeMoments => {
      const z = normals(foldIn([1, 2], s * EPISODES + e), n * d);
      const gradients = Float64Array.from(centres, (c, i) => c + SPREAD * z[i]);
      const rows = Array.from({ length: n }, (_r, t) => gradients.subarray(t * d, (t + 1) * d));
      return { gradients, squares: Float64Array.from(rows, (row) => pairSquare(row, d)) };
    }),
  );
  const expectedGradient = [0, 1].map((k) => mean([centres[k], centres[2 + k], centres[4 + k]]));
  const windowSquare = squaredNorm(centres) / n;
  // E‖g_τ‖² is ‖E g_τ‖² + d·SPREAD².
  const second = (d + 2) * (windowSquare + d * SPREAD ** 2);
  test.each<[NoiseModel['offsets'], number, number]>([
    ['independent', 4, (second - squaredNorm(expectedGradient)) / 4],
    ['stratified', 6, (second - windowSquare) / 6],
    [
      'stratified',
      4,
      (second - windowSquare) / 4 +
        (((1 * 2) / 3) * ((3 * (windowSquare - squaredNorm(expectedGradient))) / 2)) / 4 ** 2,
    ],
    ['start', 2, ((d + 2) * (1.25 + d * SPREAD ** 2) - 1.25) / 2],
  ])('%s, %d pairs: unbiased, and its standard error is right to 5 %%', (offsets, count, expected) => {
    const predictions = sets.map((set) => predictedVariance({ window: 2, noisePeriod: 6, offsets, count }, set, d));
    const test = meanTest(
      predictions.map(({ value }) => value),
      expected,
    );
    expect(Math.abs(test.z)).toBeLessThan(normalQuantile(1e-4 / 4));
    const spread = test.standardError * Math.sqrt(SETS);
    const stated = Math.sqrt(mean(predictions.map(({ standardError = NaN }) => standardError ** 2)));
    expect(Math.abs(stated / spread - 1)).toBeLessThan(0.05);
  });

  test('two episodes give a value whose error is not known', () => {
    const model = { window: 2, noisePeriod: 6, offsets: 'independent', count: 1 } as const;
    expect(predictedVariance(model, sets[0].slice(0, 2), d).standardError).toBeUndefined();
  });
});

describe('gradients of windows', () => {
  const T = 12;
  const theta = Float64Array.of(0.3, -0.4);
  const model = (window: number, noisePeriod: number): NoiseModel => ({
    ...{ window, noisePeriod, offsets: 'independent', count: 1 },
  });
  // 9 does not divide the horizon: its last chunk is cut.
  const MODELS = [model(1, 1), model(3, 3), model(3, 9), model(2, 4), model(3, 12), model(12, 12), model(4, 99)];

  test.each(['quadratic', 'linear', 'cosine'] as const)(
    '%s: those of the closed forms, together and alone',
    async (loss) => {
      const system = linearSystem(loss, T);
      const program = linearProgram(system);
      program.directionsChange = true;
      const together = await momentsOf(program, theta, planned(MODELS, T, 2));
      for (const [i, { window, noisePeriod }] of MODELS.entries()) {
        const period = Math.min(noisePeriod, T);
        const chunks = windowGradients(system, theta, { window, period, sigma: 0, perturbed: 'persistent' });
        const alone = await momentsOf(program, theta, planned([MODELS[i]], T, 2));
        for (const episodes of [together[i], alone[0]]) {
          // Its episodes do not differ, so one is all.
          expect(episodes).toHaveLength(1);
          const [{ squares, gradients }] = episodes;
          const totals = windowTotals(chunks);
          expect(gradients).toHaveLength(2 * totals.length);
          totals.flat().forEach((g, k) => expect(gradients[k]).toBeCloseTo(g, 12));
          chunks.forEach((own, t) => {
            const square = own.reduce((sum, g) => sum + squaredNorm(g), 0);
            expect(squares[t]).toBeCloseTo(own.length * 2 * square + 2 * squaredNorm(totals[t]), 12);
          });
        }
      }
      expect(program.derivativePrograms).toBe(0);
    },
  );

  test('one PES pair: mean of m_τ, less ‖ḡ‖²', async () => {
    const system = linearSystem('linear', T);
    const program = linearProgram(system);
    program.directionsChange = true;
    const smoothing = { window: 3, period: 3, sigma: 0, perturbed: 'persistent' } as const;
    const squares = windowGradients(system, theta, smoothing).map((chunks) => {
      const square = chunks.reduce((sum, g) => sum + squaredNorm(g), 0);
      return chunks.length * 2 * square + 2 * squaredNorm(windowTotals([chunks])[0]);
    });
    const expected = mean(squares) - squaredNorm(horizonGradient(system, theta, smoothing));
    const plan = planned([model(3, 3)], T, 2);
    const [episodes] = await momentsOf(program, theta, plan);
    expect(predictedVariance(plan.models[0], episodes, 2).value).toBeCloseTo(expected, 12);
  });

  test.each(ENGINES.filter(({ name }) => ['reference', 'native', 'tfjs:cpu'].includes(name)))(
    '$name: Lorenz by chunks, as central differences in float64 say',
    async ({ open, exact }) => {
      const [horizon, window, h] = [24, 2, 1e-6];
      const plain = lorenz();
      /** Mean losses of windows with θ moved by `by` along coordinate k during chunk j. */
      const losses = (j: number, k: number, by: number): number[] => {
        const state = new Float64Array(plain.stateSize);
        plain.init(Float64Array.from(THETA_START), state, 0, 0);
        const sums = new Array<number>(horizon / window).fill(0);
        for (let t = 0; t < horizon; t++) {
          const moved = Math.floor(t / window) === j;
          const at = Float64Array.from(THETA_START, (x, i) => (moved && i === k ? x + by : x));
          sums[Math.floor(t / window)] += plain.step(at, state, t, 0, 0) / window;
        }
        return sums;
      };
      const slopes = Array.from({ length: horizon / window }, (_, j) =>
        [0, 1].map((k) => {
          const [up, down] = [losses(j, k, h), losses(j, k, -h)];
          return up.map((x, i) => (x - down[i]) / (2 * h));
        }),
      );
      const engine = await open();
      try {
        const program = await engine.compile(lorenzProblem({ horizon }));
        // 24 tangents: three particles, of which the second is a copy on the way.
        const plan = planned([model(window, window)], horizon, 2);
        expect(plan.layout.particles).toBe(3);
        const [[{ squares, gradients }]] = await momentsOf(program, Float64Array.from(THETA_START), plan);
        for (let t = 0; t < horizon / window; t++) {
          const own = Float64Array.from(slopes.slice(0, t + 1).flatMap((of) => of.map((windows) => windows[t])));
          expect(squares[t] / pairSquare(own, 2)).toBeCloseTo(1, exact ? 5 : 3);
          const total = [0, 1].map((k) => slopes.slice(0, t + 1).reduce((sum, of) => sum + of[k][t], 0));
          const scale = Math.sqrt(squaredNorm(total));
          total.forEach((g, k) => expect((gradients[2 * t + k] - g) / scale).toBeCloseTo(0, exact ? 5 : 3));
        }
        await program.dispose();
      } finally {
        await engine.dispose();
      }
    },
    120_000,
  );

  test('derivatives that leave the range of numbers are no prediction', async () => {
    const program = plainProgram({
      ...growing(1e80),
      init: (_theta, state) => state.fill(0),
    });
    program.directionsChange = true;
    const result = await windowMoments(program, planned([model(2, 2)], T, 2), { theta, seed: 0 });
    // 1e80⁴ is beyond 1.8e308.
    expect(result).toEqual({ reason: 'derivatives of the loss are not finite at inner step 4' });
    expect(program.derivativePrograms).toBe(0);
  });
});

/** State multiplied by `factor` and moved by θ's first number in each step; the loss is the state. */
function growing(factor: number): PlainProblem {
  return {
    name: 'growing',
    horizon: 12,
    thetaSize: 2,
    stateSize: 1,
    init: (_theta, state) => state.fill(0),
    step: (theta, state) => (state[0] = factor * (state[0] + theta[0])),
    tangent: {
      init: (_theta, _v, out) => out.fill(0),
      step: ({ v }, along) => (along[0] = factor * (along[0] + v[0])),
    },
  };
}

describe('what a prediction may cost', () => {
  const models = [{ window: 10, noisePeriod: 10, offsets: 'independent', count: 1 }] as const;
  test('episodes as the budget has them; none, and why, below two', () => {
    // 100 chunks of 2 numbers: 25 particles with 8 tangents each, which begin 40 steps apart; the last one has run before.
    const steps = Array.from({ length: 25 }, (_, p) => 1000 - 40 * p).reduce((a, b) => a + b) + 960;
    const question = { models, horizon: 1000, d: 2, episodes: 64 };
    const work = 17 * steps;
    expect(planMoments({ ...question, budget: 5.5 * work })).toMatchObject({ episodes: 5, work: 5 * work });
    expect(planMoments({ ...question, budget: 1000 * work })).toMatchObject({ episodes: 64 });
    expect(planMoments({ ...question, budget: 1.9 * work })).toEqual({
      reason:
        '200 tangents of an episode (θ of 2, 100 chunks of noise), in two episodes, are the work of ' +
        `${(2 * work).toLocaleString('en')} inner steps, and the measurement is that of ${Math.round(1.9 * work).toLocaleString('en')}`,
    });
  });
});

describe('models of estimators', () => {
  test.each<[object, object]>([
    [
      { name: 'nres', window: 5, pairs: 3 },
      { window: 5, noisePeriod: 20, offsets: 'stratified', count: 3 },
    ],
    [
      { name: 'pes', window: 5, pairs: 3, offsets: 'independent', shaping: 'none' },
      { window: 5, noisePeriod: 5, offsets: 'independent', count: 3 },
    ],
    [
      { name: 'gpes', window: 5, noisePeriod: 10, pairs: 3, lockstep: true },
      { window: 5, noisePeriod: 10, offsets: 'start', count: 3 },
    ],
    // Its window is that of engine calls.
    [
      { name: 'full-es', window: 5, pairs: 3 },
      { window: 20, noisePeriod: 20, offsets: 'start', count: 3 },
    ],
    [
      { name: 'dodge', window: 5, workers: 3 },
      { window: 5, noisePeriod: 20, offsets: 'stratified', count: 3 },
    ],
    [{ name: 'tbptt', window: 5, workers: 3 }, { reason: 'no formula for tbptt' }],
    [{ name: 'nres', window: 5, pairs: 3, clip: 1 }, { reason: 'no formula with a clip (nres)' }],
    [{ name: 'pes', window: 5, pairs: 3, shaping: 'sign' }, { reason: 'no formula with shaping (pes)' }],
  ])('%j', (estimator, expected) => {
    expect(noiseModel(estimator as never, 20)).toEqual(expected);
  });
});

/**
 * s₀ = C θ + a(ω), s' = A s + B θ, L_t = w(ω, t)·s with ω keyed by seed, worker and episode: linear in all noise, so that the
 * formulas hold for any σ, and with minibatches as it were.
 */
function noisyLinear(horizon: number, population: { readonly seed: number }): PlainProblem {
  const { a, b } = linearSystem('linear');
  const draw = (worker: number, episode: number, t: number): Float64Array =>
    Float64Array.from(
      normals(foldIn(foldIn(foldIn(seedKey(population.seed), worker), episode), t + 1), 3),
      (z, i) => z + [1, -1, 0.5][i],
    );
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
    return sum;
  };
  const start = (theta: Float64Array, out: Float64Array): void => out.set([theta[0], -theta[1], 0.5 * theta[1]]);
  const move = (state: Float64Array, theta: Float64Array): number[] =>
    a.map((row, i) => dot(row, state) + dot(b[i], theta));
  return {
    name: 'noisy-linear',
    horizon,
    thetaSize: 2,
    stateSize: 3,
    init: (theta, state, worker, episode) => {
      start(theta, state);
      draw(worker, episode, -1).forEach((x, i) => (state[i] += x));
    },
    step: (theta, state, t, worker, episode) => {
      state.set(move(state, theta));
      return dot(draw(worker, episode, t), state);
    },
    tangent: {
      init: (_theta, v, out) => start(v, out),
      step: ({ v }, along, { t, worker, episode }) => {
        along.set(move(along, v));
        return dot(draw(worker, episode, t), along);
      },
    },
  };
}

/** Its program, whose populations are used one after another: a plain problem is not told their seeds. */
function noisyProgram(horizon: number): UnrollProgram {
  const population = { seed: 0 };
  const program = plainProgram(noisyLinear(horizon, population));
  program.directionsChange = true;
  return {
    ...program,
    createPopulation: (options) => {
      population.seed = options.seed;
      return program.createPopulation(options);
    },
    differentiate: async (differentiation) => {
      const derivative = await program.differentiate(differentiation);
      return {
        ...derivative,
        createPopulation: (options) => {
          population.seed = options.seed;
          return derivative.createPopulation(options);
        },
      };
    },
  };
}

describe('estimators that run, on a linear loss whose episodes differ', () => {
  const T = 12;
  const theta = Float64Array.of(0.3, -0.4);
  const REPEATS = 800;
  const common = { sigma: 0.5, pairs: 3, window: 3 } as const;
  const CASES: [string, GradientEstimator, object][] = [
    ['full-es', fullEs({ sigma: 0.5, pairs: 2 }), { pairs: 2 }],
    ['nres', nres({ ...common, offsets: 'independent' }), { ...common, offsets: 'independent' }],
    ['nres', nres({ ...common, pairs: 4 }), { ...common, pairs: 4 }],
    ['nres', nres({ ...common, window: 2, pairs: 8 }), { ...common, window: 2, pairs: 8 }],
    ['gpes', gpes({ ...common, noisePeriod: 9 }), { ...common, noisePeriod: 9 }],
    ['pes', pes({ ...common, offsets: 'independent' }), { ...common, offsets: 'independent' }],
    ['pes', pes({ ...common, window: 2, pairs: 6 }), { ...common, window: 2, pairs: 6 }],
    ['pes', pes({ ...common, lockstep: true }), { ...common, lockstep: true }],
    ['dodge', dodge({ window: 3, workers: 4 }), { window: 3, workers: 4 }],
  ];
  const models = CASES.map(([name, , options]) => noiseModel({ name, ...options }, T) as NoiseModel);
  let moments: readonly (readonly EpisodeMoments[])[];
  beforeAll(async () => {
    moments = await momentsOf(noisyProgram(T), theta, planned(models, T, 2, 1000));
  });

  test.each(CASES.map(([name, , options], i) => [name, JSON.stringify(options), i] as const))(
    '%s %s: the variance that was predicted',
    async (_name, _options, i) => {
      const predicted = predictedVariance(models[i], moments[i], 2);
      const at = { theta, seed: 1, role: 0, repeats: REPEATS };
      const { gradients } = await sampleGradients(CASES[i][1], noisyProgram(T), at);
      const middle = [0, 1].map((k) => mean(gradients.map((g) => g[k])));
      const squares = gradients.map((g) => squaredNorm(g.map((x, k) => x - middle[k])) * (REPEATS / (REPEATS - 1)));
      const measured = meanTest(squares, predicted.value);
      const error = Math.hypot(measured.standardError, predicted.standardError ?? NaN);
      expect(Math.abs(measured.mean - predicted.value) / error).toBeLessThan(normalQuantile(1e-4 / CASES.length));
      // Narrow enough to mean something.
      expect(error / predicted.value).toBeLessThan(0.15);
    },
  );
});
