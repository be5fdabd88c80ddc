/**
 * What estimators estimate, on a linear system whose smoothed gradients have closed forms (test/support/linear-program).
 *
 * Every statement is tested at 1e-4 (two-sided, Bonferroni over components and lines of this file): with the fixed seeds
 * below a right estimator failed with that probability when the seeds were chosen, and never fails again.
 */
import type { GradientEstimator } from '../../src/contracts';
import { fullEs, gpes, nres, truncatedEs } from '../../meta-trainers';
import { estimatorRows as rows, HORIZON as T, type StartSettings, WINDOW as W } from '../support/estimator-rows';
import {
  horizonGradient,
  linearProgram,
  linearSystem,
  meanLoss,
  squaredNorm,
  windowGradients,
  windowTotals,
} from '../support/linear-program';
import { meanTest, normalQuantile } from '../support/statistics';

const SIGMA = 0.5;
/** Populations a mean is taken over. */
const MEANS = 700;
const theta = Float64Array.of(0.3, -0.4);

const common = { sigma: SIGMA, window: W };

/** Two components, two losses, up to three ways to start, six rows. */
const z = normalQuantile(1e-4 / (2 * 2 * 3 * rows.length));

/** Gradients of independent populations (seeds 1 … n), each the mean of its first `estimates` estimates at fixed θ. */
async function gradients(
  program: ReturnType<typeof linearProgram>,
  estimator: GradientEstimator,
  n: number,
  estimates: number,
): Promise<Float64Array[]> {
  const out: Float64Array[] = [];
  for (let seed = 1; seed <= n; seed++) {
    const population = await estimator.populate(program, seed);
    const sum = new Float64Array(theta.length);
    for (let i = 0; i < estimates; i++) {
      const { gradient } = await estimator.estimate(theta, population, i);
      gradient.forEach((g, k) => (sum[k] += g / estimates));
    }
    out.push(sum);
  }
  return out;
}

describe('the closed forms', () => {
  it.each(['quadratic', 'linear', 'cosine'] as const)('%s: gradient = central differences', (loss) => {
    const system = linearSystem(loss, T);
    for (const period of [W, T]) {
      const exact = horizonGradient(system, theta, { sigma: 0, period, window: W, perturbed: 'persistent' });
      exact.forEach((g, k) => {
        const at = (h: number) =>
          meanLoss(
            system,
            theta.map((x, i) => (i === k ? x + h : x)),
          );
        expect((at(1e-5) - at(-1e-5)) / 2e-5).toBeCloseTo(g, 8);
      });
    }
  });

  it('tell the estimators apart: smoothing and truncation move the gradient by more than the tests resolve', () => {
    const system = linearSystem('cosine', T);
    const of = (period: number, perturbed: 'persistent' | 'truncated') =>
      horizonGradient(system, theta, { sigma: SIGMA, period, window: W, perturbed });
    const variants = [of(T, 'persistent'), of(W, 'persistent'), of(W, 'truncated')];
    const plain = horizonGradient(system, theta, { sigma: 0, period: T, window: W, perturbed: 'persistent' });
    variants.forEach((a, i) => {
      for (const b of [plain, ...variants.slice(0, i)]) {
        expect(Math.sqrt(squaredNorm(a.map((x, k) => x - b[k])))).toBeGreaterThan(0.01);
      }
    });
  });
});

describe.each(rows)('$label', (row) => {
  describe.each(['quadratic', 'cosine'] as const)('%s loss', (loss) => {
    const system = linearSystem(loss, T);
    const truth = horizonGradient(system, theta, {
      sigma: SIGMA,
      period: row.noisePeriod,
      window: W,
      perturbed: row.perturbed,
    });
    const starts: [string, number, StartSettings, number][] = row.canUnlock
      ? [
          ['lockstep, over a horizon', 4, { lockstep: true }, T / row.scoredSteps],
          ['step-unlocked, stratified', (2 * T) / W, {}, 1],
          ['step-unlocked, independent', (2 * T) / W, { offsets: 'independent' }, 1],
        ]
      : [['every estimate', 4, {}, 1]];
    it.each(starts)('%s: mean = closed form', async (_label, pairs, more, estimates) => {
      const samples = await gradients(
        linearProgram(system),
        row.make({ pairs, sigma: SIGMA, ...more }),
        MEANS,
        estimates,
      );
      truth.forEach((g, k) => {
        const test = meanTest(
          samples.map((sample) => sample[k]),
          g,
        );
        expect(Math.abs(test.z)).toBeLessThan(z);
        // Else the test could not tell a wrong factor from noise.
        expect(test.standardError).toBeLessThan(0.06 * Math.sqrt(squaredNorm(truth)));
      });
    });
  });
});

describe('truncated ES is biased by what the window leaves out', () => {
  it('on the quadratic loss: its mean is over 20 standard errors from the whole gradient', async () => {
    const system = linearSystem('quadratic', T);
    const whole = horizonGradient(system, theta, { sigma: SIGMA, period: T, window: W, perturbed: 'persistent' });
    const samples = await gradients(linearProgram(system), truncatedEs({ ...common, pairs: (2 * T) / W }), MEANS, 1);
    const worst = Math.max(
      ...whole.map((g, k) =>
        Math.abs(
          meanTest(
            samples.map((sample) => sample[k]),
            g,
          ).z,
        ),
      ),
    );
    expect(worst).toBeGreaterThan(20);
  });
});

/** ‖g‖² of single pairs against its expectation: 2500 seeds, so that heavy tails average out. */
describe('variance on a linear loss', () => {
  const system = linearSystem('linear', T);
  const d = theta.length;
  const quantile = normalQuantile(1e-4 / 30);
  const SEEDS = 2500;

  it.each([W, 6, 9, T])('one GPES_K pair, K=%d: c·d·Σ_j‖g_τj‖² + 2‖Σ_j g_τj‖² in every window τ', async (K) => {
    const estimator = gpes({ ...common, pairs: 1, noisePeriod: K, lockstep: true });
    const program = linearProgram(system);
    const windows = windowGradients(system, theta, { sigma: 0, period: K, window: W, perturbed: 'persistent' });
    const squares = windows.map(() => new Float64Array(SEEDS));
    for (let seed = 0; seed < SEEDS; seed++) {
      const population = await estimator.populate(program, seed);
      for (const square of squares)
        square[seed] = squaredNorm((await estimator.estimate(theta, population, 0)).gradient);
    }
    windows.forEach((chunks, tau) => {
      const total = windowTotals([chunks])[0];
      const expected = chunks.length * d * chunks.reduce((sum, g) => sum + squaredNorm(g), 0) + 2 * squaredNorm(total);
      const test = meanTest(squares[tau], expected);
      expect(Math.abs(test.z)).toBeLessThan(quantile);
      expect(test.standardError).toBeLessThan(0.08 * expected);
    });
  });

  it('one FullES pair: tr Var = (d+1)‖ḡ‖²', async () => {
    const mean = horizonGradient(system, theta, { sigma: 0, period: T, window: W, perturbed: 'persistent' });
    const samples = await gradients(linearProgram(system), fullEs({ pairs: 1, sigma: SIGMA }), SEEDS, 1);
    const deviations = samples.map((g) => squaredNorm(g.map((x, k) => x - mean[k])));
    expect(Math.abs(meanTest(deviations, (d + 1) * squaredNorm(mean)).z)).toBeLessThan(quantile);
  });

  it('NRES averaged over T/W independent workers: ((d+2)·mean_τ‖g_τ‖² − ‖ḡ‖²)/n', async () => {
    const options = { sigma: 0, period: T, window: W, perturbed: 'persistent' } as const;
    const mean = horizonGradient(system, theta, options);
    const totals = windowTotals(windowGradients(system, theta, options));
    const n = T / W;
    const expected =
      (((d + 2) * totals.reduce((sum, g) => sum + squaredNorm(g), 0)) / totals.length - squaredNorm(mean)) / n;
    const estimator = nres({ ...common, pairs: n, offsets: 'independent' });
    const samples = await gradients(linearProgram(system), estimator, SEEDS, 1);
    const deviations = samples.map((g) => squaredNorm(g.map((x, k) => x - mean[k])));
    expect(Math.abs(meanTest(deviations, expected).z)).toBeLessThan(quantile);
  });
});
