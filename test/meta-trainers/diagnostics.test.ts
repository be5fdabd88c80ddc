/** Numbers beside the estimates of the evolutionary family, against closed forms and against θ's own path. */
import type { GradientEstimator } from '../../src/contracts';
import { fullEs, gpes, nres, pes, truncatedEs } from '../../meta-trainers';
import { NoiseOrigins } from '../../meta-trainers/estimators/noise-origins';
import { normals } from '../../src/random/draws';
import { linearProblem, linearSystem } from '../support/linear-program';
import { plainProgram } from '../support/plain-program';
import { meanTest, normalQuantile } from '../support/statistics';

const HORIZON = 12;
const PAIRS = 5;
const theta = Float64Array.of(0.3, -0.4);
const program = plainProgram(linearProblem(linearSystem('linear', HORIZON)));

describe('signal to noise', () => {
  /** ‖g‖² and tr Var ĝ of n pairs by FullES on linear losses: (d + 1)‖g‖²/n. */
  const d = 2;
  const { a, b, target } = linearSystem('linear', HORIZON);
  const gradient = [0, 1].map((k) => {
    let s = [0, 0, 0];
    let sum = 0;
    for (let t = 0; t < HORIZON; t++) {
      s = a.map((row, i) => row.reduce((x, value, j) => x + value * s[j], 0) + b[i][k]);
      sum += target.reduce((x, w, i) => x + w * s[i], 0) / HORIZON;
    }
    return sum;
  });
  const squares = gradient.reduce((sum, g) => sum + g * g, 0);

  it.each([1, PAIRS])('implies the variance (d + 1)‖g‖²/n of FullES, n = %d', async (n) => {
    const estimator = fullEs({ pairs: n, sigma: 0.1 });
    const population = await estimator.populate(program, 7);
    const variances: number[] = [];
    for (let i = 0; i < 4000; i++) {
      const { gradient: found, diagnostics } = await estimator.estimate(theta, population, i);
      variances.push((found[0] ** 2 + found[1] ** 2) / diagnostics.signalToNoise ** 2);
    }
    const expected = ((d + 1) * squares) / n;
    expect(Math.abs(meanTest(variances, expected).z)).toBeLessThan(normalQuantile(1e-4));
    // Without the share of the noise's length it would be (d − 1)/n or d/n, which the test can tell.
    expect(Math.abs(meanTest(variances, (d * squares) / n).z)).toBeGreaterThan(normalQuantile(1e-4));
  });

  it('is absent where no pair is valid', async () => {
    const broken = plainProgram({ ...linearProblem(linearSystem('linear', HORIZON)), step: () => NaN });
    const estimator = nres({ pairs: 3, sigma: 0.1, window: 3 });
    const estimate = await estimator.estimate(theta, await estimator.populate(broken, 1), 0);
    expect(estimate.diagnostics).not.toHaveProperty('signalToNoise');
  });
});

describe('staleness', () => {
  const SIGMA = 0.5;
  const length = SIGMA * Math.sqrt(2);
  const at = (i: number): Float64Array => Float64Array.of(0.3 + 0.03 * i, -0.4 + 0.04 * i);
  const run = async (estimator: GradientEstimator): Promise<(number | undefined)[]> => {
    const population = await estimator.populate(program, 3);
    const found: (number | undefined)[] = [];
    for (let i = 0; i < 9; i++) found.push((await estimator.estimate(at(i), population, i)).diagnostics.staleness);
    return found;
  };
  const common = { pairs: PAIRS, sigma: SIGMA, window: 3, lockstep: true };
  // θ moves by 0.05 each time.
  const expectSteps = (found: readonly (number | undefined)[], period: number): void => {
    found.forEach((value, i) => expect(value).toBeCloseTo(((i % period) * 0.05) / length, 10));
  };

  it('of NRES in lockstep counts from the episode’s start, of GPES from the chunk’s', async () => {
    expectSteps(await run(nres(common)), HORIZON / 3);
    expectSteps(await run(gpes({ ...common, noisePeriod: 6 })), 2);
  });

  it('of step-unlocked NRES is the mean over workers at every phase', async () => {
    const found = await run(nres({ ...common, pairs: 4, lockstep: false }));
    // Once every first episode is over, the four workers are 0, 1, 2 and 3 windows into theirs.
    found.slice(3).forEach((value) => expect(value).toBeCloseTo((1.5 * 0.05) / length, 10));
  });

  it('is no number where noise is drawn for every estimate', async () => {
    const estimators = [pes(common), truncatedEs(common), fullEs({ pairs: PAIRS, sigma: SIGMA })];
    for (const estimator of estimators) expect((await run(estimator)).every((value) => value === undefined)).toBe(true);
  });

  it('goes on without it from a checkpoint that is older, until noise is drawn anew', async () => {
    const estimator = nres(common);
    const population = await estimator.populate(program, 3);
    await estimator.estimate(at(0), population, 0);
    const { noiseOrigins, ...older } = await population.save();
    expect(noiseOrigins.shape).toEqual([PAIRS, 2]);
    const later = await estimator.populate(program, 3);
    await later.load(older);
    const found: (number | undefined)[] = [];
    for (let i = 1; i < 6; i++) found.push((await estimator.estimate(at(i), later, i)).diagnostics.staleness);
    expect(found.slice(0, 3)).toEqual([undefined, undefined, undefined]);
    expect(found[3]).toBe(0);
    expect(found[4]).toBeCloseTo(0.05 / length, 10);
  });

  it('of 10,000 numbers is kept in 64 a worker, and right to 5 of their standard deviations', () => {
    const size = 10000;
    const origins = new NoiseOrigins(2, size);
    expect(origins.meanDistance(new Float64Array(size))).toBeNaN();
    origins.drawn(Int32Array.of(1), new Float64Array(size).fill(3));
    const step = Float64Array.from(normals([5, 6], size));
    const distance = Math.hypot(...step);
    // A worker whose origin is not known is left out.
    const found = origins.meanDistance(step.map((x) => x + 3));
    expect(Math.abs((found / distance) ** 2 - 1)).toBeLessThan(5 * Math.sqrt(2 / 64));
    expect(found / distance).not.toBe(1);
    // A common direction too: without signs its coordinates would add up.
    const common = origins.meanDistance(new Float64Array(size).fill(4));
    expect(Math.abs((common / 100) ** 2 - 1)).toBeLessThan(5 * Math.sqrt(2 / 64));
    expect(origins.save().noiseOrigins.shape).toEqual([2, 64]);
  });
});

it('truncated ES says how ±σ bends the loss: σ²/2 times the trace of its Hessian', async () => {
  // ½‖s − y‖² after one step from a state without θ in it: the Hessian is BᵀB, whatever the state.
  const quadratic = linearSystem('quadratic', HORIZON);
  const trace = quadratic.b.flat().reduce((sum, x) => sum + x * x, 0);
  const sigma = 0.2;
  const estimator = truncatedEs({ pairs: 2000, sigma, window: 1, lockstep: true });
  const quad = plainProgram(linearProblem(quadratic));
  const { diagnostics } = await estimator.estimate(theta, await estimator.populate(quad, 2), 0);
  const expected = (sigma ** 2 / 2) * trace;
  // Of nᵀBᵀBn the standard deviation is at most √2·trace.
  expect(Math.abs(diagnostics.sigmaCurvature / expected - 1)).toBeLessThan(normalQuantile(1e-4) * Math.sqrt(2 / 2000));
});
