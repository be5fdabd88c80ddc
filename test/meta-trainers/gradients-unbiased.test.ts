/**
 * What gradient estimators estimate, on a linear system whose gradients have closed forms (test/support/linear-program).
 *
 * Of those that draw at random every statement is tested at 1e-4 (two-sided, Bonferroni over components and lines of
 * this file): with the fixed seeds below a right estimator failed with that probability when the seeds were chosen, and
 * never fails again.
 */
import type { GradientEstimator } from '../../src/contracts';
import { bptt, dodge, nres, pes, pesAnalytic } from '../../meta-trainers';
import { gradientRows as rows, HORIZON as T, SIGMA, WINDOW as W, type StartSettings } from '../support/estimator-rows';
import {
  horizonGradient,
  linearProblem,
  linearProgram,
  linearSystem,
  meanLoss,
  squaredNorm,
  trajectory,
  type LinearSystem,
} from '../support/linear-program';
import { plainProgram } from '../support/plain-program';
import { meanTest, normalQuantile } from '../support/statistics';

const theta = Float64Array.of(0.3, -0.4);
const LOSSES = ['quadratic', 'cosine'] as const;
const losses = LOSSES.map((loss) => [loss, linearSystem(loss, T)] as const);

/** Populations a mean is taken over. */
const MEANS = 250;

/** The gradient of the mean loss of a whole episode; without smoothing. */
const exact = { sigma: 0, period: T, window: W, perturbed: 'persistent' } as const;

describe('without noise: the mean over a whole horizon is the closed form', () => {
  const rowsOf = rows.filter(({ kind }) => kind === 'detached' || kind === 'carried');
  describe.each(rowsOf)('$label', (row) => {
    const starts: [string, number, StartSettings, number][] = row.canUnlock
      ? [
          ['lockstep, over a horizon', 1, { lockstep: true }, T / row.scoredSteps],
          ['step-unlocked, one worker a window', T / W, {}, 1],
        ]
      : [['every estimate', 1, {}, 1]];
    describe.each(losses)('%s loss', (_loss, system) => {
      it.each(starts)('%s', async (_label, workers, start, estimates) => {
        const estimator = row.make({ workers, ...start });
        const population = await estimator.populate(linearProgram(system), 1);
        const sum = new Float64Array(theta.length);
        for (let i = 0; i < estimates; i++) {
          const { gradient } = await estimator.estimate(theta, population, i);
          gradient.forEach((g, k) => (sum[k] += g / estimates));
        }
        const truth =
          row.loss === 'last'
            ? lastLossGradient(system)
            : horizonGradient(system, theta, {
                ...exact,
                perturbed: row.kind === 'detached' ? 'truncated' : 'persistent',
              });
        // Central differences of a smooth function with h = 1e-4 are right to 1e-8.
        const tolerance = row.loss === 'last' ? 1e-8 : 1e-12;
        truth.forEach((g, k) => expect(Math.abs(sum[k] - g)).toBeLessThan(tolerance));
      });
    });
  });

  it('tells them apart: what TBPTT leaves out is more than the tests resolve', () => {
    for (const [, system] of losses) {
      const whole = horizonGradient(system, theta, exact);
      const truncated = horizonGradient(system, theta, { ...exact, perturbed: 'truncated' });
      expect(Math.sqrt(squaredNorm(whole.map((x, k) => x - truncated[k])))).toBeGreaterThan(0.1);
    }
  });
});

it('BPTT goes through initState: central differences of the mean loss', async () => {
  const [, system] = losses[1];
  const plain = linearProblem(system);
  /** θ is where the episode starts, too. */
  const startsAt = (moved: ArrayLike<number>): number[] => system.start.map((s, i) => s + (i < 2 ? 3 * moved[i] : 0));
  const program = plainProgram({
    ...plain,
    init: (moved, state) => state.set(startsAt(moved)),
    tangent: { ...plain.tangent!, init: (_theta, v, out) => out.fill(0).set(v.map((x) => 3 * x)) },
  });
  const estimator = bptt({ workers: 2 });
  const { gradient } = await estimator.estimate(theta, await estimator.populate(program, 1), 0);
  const at = (k: number, h: number): number => {
    const moved = theta.map((x, i) => (i === k ? x + h : x));
    return meanLoss({ ...system, start: startsAt(moved) }, moved);
  };
  gradient.forEach((g, k) => expect(Math.abs(g - (at(k, 1e-4) - at(k, -1e-4)) / 2e-4)).toBeLessThan(1e-7));
  const within = horizonGradient({ ...system, start: startsAt(theta) }, theta, exact);
  expect(Math.abs(gradient[0] - within[0])).toBeGreaterThan(0.1);
});

it('DODGE is NRES as σ goes to 0, estimate by estimate, θ moving', async () => {
  const [, system] = losses[1];
  const program = linearProgram(system);
  const [forward, es] = [dodge({ workers: 5, window: W }), nres({ pairs: 5, window: W, sigma: 1e-4 })];
  const [a, b] = [await forward.populate(program, 3), await es.populate(program, 3)];
  for (let i = 0; i < 8; i++) {
    const moving = theta.map((x) => x + 0.1 * i);
    const [one, other] = [await forward.estimate(moving, a, i), await es.estimate(moving, b, i)];
    // σ² of the next term, times products of four normals and a third derivative.
    one.gradient.forEach((g, k) => expect(Math.abs(g - other.gradient[k])).toBeLessThan(1e-6));
    expect(one.burnInSteps * 2).toBe(other.burnInSteps);
  }
});

describe('at random: the mean is the closed form', () => {
  const drawn = rows.filter(({ kind }) => kind !== 'detached' && kind !== 'carried');
  /** Two components, two losses, up to three ways to start: more lines than there are. */
  const z = normalQuantile(1e-4 / (2 * 2 * 3 * drawn.length));

  describe.each(drawn)('$label', (row) => {
    const starts: [string, number, StartSettings, number][] = row.canUnlock
      ? [
          ['lockstep, over a horizon', 4, { lockstep: true }, T / row.scoredSteps],
          ['step-unlocked, stratified', (2 * T) / W, {}, 1],
          ['step-unlocked, independent', (2 * T) / W, { offsets: 'independent' }, 1],
        ]
      : [['every estimate', 4, {}, 1]];
    describe.each(losses)('%s loss', (loss, system) => {
      // What ES smooths, PES+Analytic does: each window's own noise, too.
      const truth = horizonGradient(
        system,
        theta,
        row.kind === 'analytic' ? { ...exact, sigma: SIGMA, period: row.scoredSteps } : exact,
      );
      // Where workers start is no matter of the loss.
      it.each(loss === 'cosine' ? starts : starts.slice(0, 1))('%s', async (_label, workers, start, estimates) => {
        const samples = await gradients(row.make({ workers, ...start }), system, estimates);
        truth.forEach((g, k) => {
          const test = meanTest(
            samples.map((sample) => sample[k]),
            g,
          );
          // Where nothing varies, rounding is all there is.
          if (test.standardError < 1e-14) expect(Math.abs(test.mean - g)).toBeLessThan(1e-12);
          else expect(Math.abs(test.z)).toBeLessThan(z);
          // Else the test could not tell a wrong factor from noise.
          expect(test.standardError).toBeLessThan(0.06 * Math.sqrt(squaredNorm(truth)));
        });
      });
    });
  });

  it('a smoothed window has another gradient than the tests of PES+Analytic resolve', () => {
    const [, system] = losses[1];
    const smoothed = horizonGradient(system, theta, { ...exact, sigma: SIGMA, period: W });
    const plain = horizonGradient(system, theta, exact);
    expect(Math.sqrt(squaredNorm(smoothed.map((x, k) => x - plain[k])))).toBeGreaterThan(0.01);
  });
});

describe('PES+Analytic has less variance than PES', () => {
  const variance = async (estimator: GradientEstimator, system: LinearSystem): Promise<number> => {
    const samples = await gradients(estimator, system, T / W);
    const mean = samples[0].map((_, k) => samples.reduce((sum, g) => sum + g[k] / samples.length, 0));
    return samples.reduce((sum, g) => sum + squaredNorm(g.map((x, k) => x - mean[k])), 0) / samples.length;
  };
  it.each([W, T])('W = %d', async (window) => {
    const [, system] = losses[0];
    const options = { pairs: 2, sigma: SIGMA, window, lockstep: true };
    const [analytic, pure] = [await variance(pesAnalytic(options), system), await variance(pes(options), system)];
    // In a window that is the whole episode nothing is left for ES, and with a quadratic loss nothing varies at all.
    expect(analytic).toBeLessThan(window === T ? 1e-20 : 0.9 * pure);
  });
});

/** Gradients of independent populations (seeds 1 … 250), each the mean of its first `estimates` estimates at fixed θ. */
async function gradients(
  estimator: GradientEstimator,
  system: LinearSystem,
  estimates: number,
): Promise<Float64Array[]> {
  const out: Float64Array[] = [];
  const program = linearProgram(system);
  for (let seed = 1; seed <= MEANS; seed++) {
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

/** Mean over windows of the gradient of their last loss, the state before them held fixed: central differences. */
function lastLossGradient(system: LinearSystem): number[] {
  const states = [system.start, ...trajectory(system, theta)];
  const starts = Array.from({ length: T / W }, (_, tau) => states[tau * W]);
  const at = (moved: Float64Array): number =>
    starts.reduce((sum, start) => {
      const over = (steps: number): number => steps * meanLoss({ ...system, start, horizon: steps }, moved);
      return sum + (over(W) - over(W - 1)) / starts.length;
    }, 0);
  return Array.from(theta, (_, k) => {
    const moved = (h: number): number => at(theta.map((x, i) => (i === k ? x + h : x)));
    return (moved(1e-4) - moved(-1e-4)) / 2e-4;
  });
}
