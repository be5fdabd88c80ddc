/** Every gradient estimator × every property that they share. What they estimate: gradients-unbiased.test.ts, same rows. */
import type {
  ArrayBundle,
  Estimate,
  EstimatorPopulation,
  GradientEstimator,
  Registrar,
  Registration,
} from '../../src/contracts';
import { CheckpointError, ConfigurationError, ShapeError } from '../../src/contracts/errors';
import { registerMetaTrainers } from '../../meta-trainers';
import {
  gradientRows,
  HORIZON,
  SIGMA,
  WINDOW,
  type GradientRow,
  type GradientSettings,
  type StartSettings,
} from '../support/estimator-rows';
import { gradientByHand } from '../support/gradient-by-hand';
import { linearProblem, linearSystem } from '../support/linear-program';
import { plainProgram, type PlainProblem, type PlainProgram } from '../support/plain-program';

const SEED = 20;
const WORKERS = 7;
const problem = linearProblem(linearSystem('cosine', HORIZON));
/** θ of iteration i: moves as in training, so that a window that used an older θ would differ. */
const thetas = Array.from({ length: 10 }, (_, i) => Float64Array.of(0.3 + 0.05 * i, -0.4 - 0.02 * i));

/** NaN for all of worker 1 late in its first episode; an infinite loss of worker 2 in its second. */
const faulty: PlainProblem = {
  ...problem,
  step: (theta, state, t, worker, episode) => {
    const loss = problem.step(theta, state, t, worker, episode);
    if (worker === 1 && episode === 0 && t >= 4) return NaN;
    if (worker === 2 && episode === 1 && t === 7) return Infinity;
    return loss;
  },
};

/** Losses are finite, but the derivative of worker 3 overflows in its first episode, and is no number in its second. */
const exploding: PlainProblem = {
  ...problem,
  tangent: {
    ...problem.tangent!,
    step: (at, along, where) => {
      const slope = problem.tangent!.step(at, along, where);
      if (where.worker === 3 && where.episode === 0 && where.t >= 4) return Infinity;
      return where.worker === 3 && where.episode === 1 && where.t === 8 ? NaN : slope;
    },
  },
};

/** θ decides where an episode starts, as it does where a learned optimizer's own state comes from θ. */
const startsAtTheta: PlainProblem = {
  ...problem,
  init: (theta, state, worker, episode) => {
    problem.init(theta, state, worker, episode);
    theta.forEach((x, k) => (state[k] += x));
  },
  tangent: { ...problem.tangent!, init: (_theta, v, out) => out.fill(0).set(v) },
};

interface Run {
  readonly estimates: Estimate[];
  readonly population: EstimatorPopulation;
  /** Where each worker's first scored window began. */
  readonly offsets: number[];
}

async function run(row: GradientRow, estimator: GradientEstimator, program: PlainProgram, seed = SEED): Promise<Run> {
  const population = await estimator.populate(program, seed);
  const estimates: Estimate[] = [];
  let offsets: number[] = [];
  for (const [i, theta] of thetas.entries()) {
    estimates.push(await estimator.estimate(theta, population, i));
    if (i === 0) offsets = Array.from((await population.save()).phases.data, (t) => t - row.scoredSteps);
  }
  return { estimates, population, offsets };
}

const starts = (row: GradientRow): StartSettings[] =>
  row.canUnlock ? [{ lockstep: true }, {}, { offsets: 'independent' }] : [{}];
const cases = gradientRows.flatMap((row) =>
  starts(row).map((start) => ({ row, start, title: `${row.label} ${JSON.stringify(start)}` })),
);
const gradients = (estimates: readonly Estimate[]): number[][] => estimates.map(({ gradient }) => Array.from(gradient));

describe.each(cases)('$title', ({ row, start }) => {
  const estimator = row.make({ workers: WORKERS, ...start });
  // ξ is kept in float32: a relative error of 6e-8 a chunk, in sums of up to 7 pairs and gradients of size 1.
  const tolerance = row.kind === 'analytic' ? 2e-6 : 1e-12;

  it.each([
    ['sound losses', problem, 0],
    ['NaN and infinite losses', faulty, 2],
    ['derivatives that explode', exploding, 2],
    ['starts that depend on θ', startsAtTheta, 0],
  ])('%s: every estimate is its definition, step by step', async (_label, plain, least) => {
    const { estimates, offsets } = await run(row, estimator, plainProgram(plain));
    const expected = gradientByHand({ problem: plain, row, sigma: SIGMA, seed: SEED, offsets, thetas });
    estimates.forEach((estimate, i) => {
      const truth = expected[i];
      estimate.gradient.forEach((g, k) => expect(Math.abs(g - truth.gradient[k])).toBeLessThan(tolerance));
      expect(estimate.meanLoss).toBeCloseTo(truth.meanLoss, 12);
      expect(estimate.metrics.metric).toBeCloseTo(truth.metric, 12);
      expect(estimate.burnInSteps).toBe(truth.burnInSteps);
      expect(estimate.droppedPairs).toBe(truth.dropped);
      expect(estimate.validPairs).toBe(WORKERS - truth.dropped);
      const { diagnostics } = estimate;
      expect(diagnostics.explodedWorkers).toBe(truth.exploded);
      const rms = Math.sqrt(truth.norms.reduce((sum, x) => sum + x * x, 0) / truth.norms.length);
      expect(Math.abs(diagnostics.gradientNorm - rms)).toBeLessThan(tolerance * 10);
    });
    const dropped = estimates.reduce((sum, estimate) => sum + estimate.droppedPairs, 0);
    const exploded = estimates.reduce((sum, estimate) => sum + estimate.diagnostics.explodedWorkers, 0);
    if (least === 0) expect(dropped).toBe(0);
    else expect(dropped).toBeGreaterThanOrEqual(row.canUnlock ? least : 1);
    expect(exploded).toBe(plain === exploding ? dropped : 0);
  });

  it('counts inner steps and burn-in, and runs no others', async () => {
    const program = plainProgram(faulty);
    const { estimates } = await run(row, estimator, program);
    for (const { innerSteps, sequentialSteps } of estimates) {
      expect(innerSteps).toBe(row.particlesPerWorker * WORKERS * row.scoredSteps);
      expect(sequentialSteps).toBe(row.scoredSteps);
    }
    expect(program.steps).toBe(estimates.reduce((sum, e) => sum + e.innerSteps + e.burnInSteps, 0));
  });

  it('goes on from a checkpoint with the same bits, wherever it was taken', async () => {
    const whole = await run(row, estimator, plainProgram(faulty));
    let bundle: ArrayBundle | undefined;
    for (const [i, theta] of thetas.entries()) {
      // A process of its own each time: nothing survives but the bundle.
      const again = row.make({ workers: WORKERS, ...start });
      const population = await again.populate(plainProgram(faulty), SEED);
      if (bundle !== undefined) await population.load(bundle);
      expect(await again.estimate(theta, population, i)).toEqual(whole.estimates[i]);
      bundle = structuredClone(await population.save());
    }
  });

  it('same seed, same bits', async () => {
    const first = gradients((await run(row, estimator, plainProgram(problem))).estimates);
    expect(gradients((await run(row, estimator, plainProgram(problem))).estimates)).toEqual(first);
  });

  it('more workers leave the offsets of those that were there as they were', async () => {
    const small = await run(row, estimator, plainProgram(problem));
    const large = await run(row, row.make({ workers: 3 * WORKERS, ...start }), plainProgram(problem));
    expect(large.offsets.slice(0, WORKERS)).toEqual(small.offsets);
    expect(new Set(large.offsets).size).toBe(row.canUnlock && start.lockstep !== true ? HORIZON / WINDOW : 1);
  });

  it('without a sound worker: zeros, NaN means, and everyone back at the old phase', async () => {
    const never = plainProgram({ ...problem, step: () => NaN });
    const population = await estimator.populate(never, SEED);
    const estimate = await estimator.estimate(thetas[0], population, 0);
    expect(Array.from(estimate.gradient)).toEqual([0, 0]);
    expect(estimate.meanLoss).toBeNaN();
    expect([estimate.validPairs, estimate.droppedPairs]).toEqual([0, WORKERS]);
    const { phases, episodes } = await population.save();
    const { offsets } = await run(row, estimator, plainProgram(problem));
    expect(Array.from(phases.data)).toEqual(offsets.map((o) => o + row.scoredSteps));
    expect(Array.from(episodes.data)).toEqual(offsets.map((o) => (o + row.scoredSteps === HORIZON ? 0 : 1)));
  });

  it('signal to noise is the mean of the workers’ gradients over its standard error', async () => {
    const { estimates, offsets } = await run(row, estimator, plainProgram(problem));
    // One worker at a time, where it was among the others.
    const own = offsets.map((_, w) => {
      const step: PlainProblem['step'] = (theta, state, t, worker, episode) =>
        worker === w ? problem.step(theta, state, t, worker, episode) : NaN;
      return gradientByHand({
        problem: { ...problem, step },
        row,
        sigma: SIGMA,
        seed: SEED,
        offsets,
        thetas: thetas.slice(0, 1),
      })[0].gradient;
    });
    const n = own.length;
    const mean = own[0].map((_, k) => own.reduce((sum, g) => sum + g[k] / n, 0));
    const spread = own.reduce((sum, g) => sum + g.reduce((s, x, k) => s + (x - mean[k]) ** 2, 0), 0);
    const expected = Math.hypot(...mean) / Math.sqrt(spread / (n * (n - 1)));
    // Workers of a deterministic problem in lockstep agree to the last bit, or nearly.
    if (spread < 1e-20) expect(estimates[0].diagnostics.signalToNoise).toBeGreaterThan(1e12);
    else expect(estimates[0].diagnostics.signalToNoise / expected).toBeCloseTo(1, 5);
  });

  it('refuses θ of another size and a bundle of another population', async () => {
    const population = await estimator.populate(plainProgram(problem), SEED);
    await expect(estimator.estimate(new Float64Array(3), population, 0)).rejects.toThrow(ShapeError);
    const other = await run(row, row.make({ workers: 2, ...start }), plainProgram(problem));
    await expect(population.load(await other.population.save())).rejects.toThrow(CheckpointError);
    await expect(population.load({})).rejects.toThrow('checkpoint array "episodes": expected 7 numbers');
  });

  it('disposes of the program that it differentiates with', async () => {
    const program = plainProgram(problem);
    const population = await estimator.populate(program, SEED);
    expect(program.derivativePrograms).toBe(1);
    await population.dispose();
    expect(program.derivativePrograms).toBe(0);
  });
});

const clippable = gradientRows.filter(({ kind }) => kind !== 'analytic');

it.each(clippable)('$label clips the gradient of each worker', async (row) => {
  const { offsets } = await run(row, row.make({ workers: WORKERS }), plainProgram(problem));
  const free = gradientByHand({ problem, row, sigma: SIGMA, seed: SEED, offsets, thetas });
  const norms = free.flatMap((truth) => truth.norms).sort((a, b) => a - b);
  const clip = norms[Math.floor(norms.length / 2)] * 0.999;
  const { estimates } = await run(row, row.make({ workers: WORKERS, clip }), plainProgram(problem));
  const expected = gradientByHand({ problem, row, sigma: SIGMA, seed: SEED, offsets, thetas, clip });
  let clipped = 0;
  estimates.forEach((estimate, i) => {
    estimate.gradient.forEach((g, k) => expect(Math.abs(g - expected[i].gradient[k])).toBeLessThan(1e-12));
    expect(estimate.diagnostics.clippedWorkers).toBe(expected[i].norms.filter((x) => x > clip).length);
    clipped += estimate.diagnostics.clippedWorkers;
  });
  expect(clipped).toBeGreaterThan(0);
  expect(clipped).toBeLessThan(WORKERS * thetas.length);
});

describe('an infinite horizon', () => {
  const endless = { ...problem, horizon: Infinity };
  it.each(gradientRows.filter((row) => row.canUnlock))('$label is lockstep and never reset', async (row) => {
    const estimator = row.make({ workers: 4 });
    const population = await estimator.populate(plainProgram(endless), SEED);
    for (let i = 0; i < 8; i++) expect((await estimator.estimate(thetas[i], population, i)).burnInSteps).toBe(0);
    const { phases, episodes } = await population.save();
    expect(Array.from(phases.data)).toEqual([24, 24, 24, 24]);
    expect(Array.from(episodes.data)).toEqual([0, 0, 0, 0]);
  });

  it.each(gradientRows.filter((row) => row.name === 'bptt'))('$label has none', async (row) => {
    const refused = row.make({ workers: 1 }).populate(plainProgram(endless), 0);
    await expect(refused).rejects.toMatchObject({ key: 'horizon' });
  });
});

describe('registration', () => {
  const registered = new Map<string, Registration<unknown>>();
  registerMetaTrainers({
    estimator: (name: string, registration: unknown) => registered.set(name, registration as Registration<unknown>),
    outerOptimizer: () => undefined,
  } as never as Registrar);

  it.each(gradientRows)('$label from options as data gives the bits of the library call', async (row) => {
    const registration = registered.get(row.name)!;
    const size = row.kind === 'analytic' ? { pairs: 4, sigma: SIGMA } : { workers: 4 };
    const made = (await registration.create(
      registration.options!.parse({ ...row.config, ...size }),
      {} as never,
    )) as GradientEstimator;
    expect(made.name).toBe(row.name);
    expect(made.needs).toEqual(['forward', row.capability]);
    const fromData = await run(row, made, plainProgram(problem));
    const fromCall = await run(row, row.make({ workers: 4 }), plainProgram(problem));
    expect(fromData.estimates).toEqual(fromCall.estimates);
  });
});

describe('bad options', () => {
  const rows = gradientRows.filter((row) => row.canUnlock);
  it.each(rows)('$label: a window that does not divide T is refused before any step', async (row) => {
    const program = plainProgram({ ...problem, horizon: 13 });
    const refused = row.make({ workers: 2 }).populate(program, SEED);
    await expect(refused).rejects.toThrow('estimator.window: expected a divisor of the horizon 13, got 3.');
    expect([program.steps, program.derivativePrograms]).toEqual([0, 0]);
  });

  it.each(gradientRows)('$label names the key', (row) => {
    for (const [settings, key] of [
      [{ workers: 0 }, row.kind === 'analytic' ? 'estimator.pairs' : 'estimator.workers'],
      [{ workers: 2, wokers: 3 }, 'estimator.wokers'],
    ] as const) {
      let caught: unknown;
      try {
        row.make(settings as GradientSettings);
      } catch (error) {
        caught = error;
      }
      expect(caught).toBeInstanceOf(ConfigurationError);
      expect((caught as ConfigurationError).key).toBe(key);
    }
  });
});
