/**
 * What gradient estimators estimate, on a linear system whose gradients have closed forms (test/support/linear-program).
 *
 * Of those that draw at random every statement is tested at 1e-4 (two-sided, Bonferroni over components and lines of
 * this file): with the fixed seeds below a right estimator failed with that probability when the seeds were chosen, and
 * never fails again.
 */
import { gradientRows as rows, HORIZON as T, WINDOW as W, type StartSettings } from '../support/estimator-rows';
import {
  horizonGradient,
  linearProgram,
  linearSystem,
  meanLoss,
  squaredNorm,
  trajectory,
  type LinearSystem,
} from '../support/linear-program';

const theta = Float64Array.of(0.3, -0.4);
const LOSSES = ['quadratic', 'cosine'] as const;
const losses = LOSSES.map((loss) => [loss, linearSystem(loss, T)] as const);

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
