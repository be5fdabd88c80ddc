import type { UnrolledProblem } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import { traceProblem } from '../../src/graph/trace';
import { initialTheta } from './run-problem';

const ONE = Int32Array.of(0);

/** The state after the first step from θ₀ on an engine: numbers by leaf. */
export async function stateAfterStep(engine: GraphEngine, problem: UnrolledProblem): Promise<Record<string, number[]>> {
  const program = await engine.compileTraced(traceProblem(problem));
  const perturbation = { form: 'none', theta: Float64Array.from(initialTheta(problem).flat()) } as const;
  const population = await program.createPopulation({ size: 1, seed: 3 });
  await population.reset({ particles: ONE, perturbation, workers: ONE, episodes: ONE });
  await population.advance({ particles: ONE, perturbation, steps: 1 });
  const saved = await population.save();
  await population.dispose();
  await program.dispose();
  return Object.fromEntries(Object.entries(saved).map(([name, { data }]) => [name, [...data]]));
}

/** |got − expected| ≤ tolerance·(1 + the largest |expected|). */
export function expectNear(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  expect([what, got.length]).toEqual([what, expected.length]);
  const size = 1 + Math.max(...Array.from(expected, Math.abs));
  const worst = Math.max(...Array.from(expected, (value, i) => Math.abs(got[i] - value)));
  if (!(worst <= tolerance * size)) throw new Error(`${what}: off by ${worst}, of numbers up to ${size - 1}`);
}
