/** Every optimizer on an engine, a window forward or one that goes back through all updates, against float64. */
import type { Differentiation } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import { traceProblem } from '../../src/graph/trace';
import { ALL_OPTIMIZERS, allOptimizersProblem } from './all-optimizers';
import { ENGINES, type EngineUnderTest } from './engine-table';
import { initialTheta } from './run-problem';

const STEPS = 5;
const REVERSE: Differentiation = { mode: 'reverse', steps: STEPS, windowLoss: 'mean', start: true };
const COMPILING = 300_000;
const PARTICLES = Int32Array.of(0, 1);

export function engineRunsOptimizers(
  mode: 'forward' | 'reverse',
  engines: readonly EngineUnderTest[],
  optimizers = ALL_OPTIMIZERS,
): void {
  const problem = allOptimizersProblem(optimizers);
  const traced = traceProblem(problem, mode === 'reverse' ? { for: 'differentiate' } : {});
  const theta = Float64Array.from(initialTheta(problem).flat());
  const { leaves, size } = traced.theta;

  async function run(engine: GraphEngine) {
    const request = { particles: PARTICLES, perturbation: { form: 'none', theta } as const };
    const options = { size: PARTICLES.length, seed: 3 };
    const start = { ...request, workers: PARTICLES, episodes: PARTICLES };
    const window = { ...request, steps: STEPS };
    if (mode === 'forward') {
      const program = await engine.compileTraced(traced);
      const population = await program.createPopulation(options);
      await population.reset(start);
      const { metricSums } = await population.advance(window);
      await program.dispose();
      return { metricSums, derivatives: new Float64Array(0) };
    }
    const program = await engine.compileDerivative(traced, REVERSE);
    const population = await program.createPopulation(options);
    await population.reset(start);
    const { metricSums, derivatives } = await population.differentiate(window);
    await program.dispose();
    return { metricSums, derivatives };
  }

  let expected: Awaited<ReturnType<typeof run>>;
  beforeAll(async () => {
    expected = await run(await ENGINES[0].open());
  });

  test.each(engines.filter(({ name }) => name !== ENGINES[0].name))(
    `$name: ${mode === 'forward' ? 'losses' : 'losses and derivatives'} are those of float64`,
    async ({ open }) => {
      const engine = await open();
      const got = await run(engine);
      await engine.dispose();
      const far = Object.entries(expected.metricSums).flatMap(([name, sums]) =>
        // Five steps in float32; where a gradient is small, what divides by its size carries its relative rounding on.
        [...sums].filter((sum, i) => !(Math.abs(got.metricSums[name][i] - sum) < 2e-5 * Math.abs(sum))).map(() => name),
      );
      expect(far).toEqual([]);
      if (mode === 'forward') return;
      const wrong = leaves.filter(({ offset }) =>
        [0, 1].some((row) => {
          const at = row * size + offset;
          const scale = Math.max(Math.abs(expected.derivatives[at]), 1e-3);
          return !(Math.abs(got.derivatives[at] - expected.derivatives[at]) < 1e-3 * scale);
        }),
      );
      expect(wrong.map(({ path }) => path)).toEqual([]);
    },
    COMPILING,
  );

  if (mode === 'forward') return;
  test('every number of θ has a derivative, finite and not zero', () => {
    expect(expected.derivatives.every(Number.isFinite)).toBe(true);
    expect(leaves.filter(({ offset }) => expected.derivatives[offset] === 0)).toEqual([]);
  });
}
