/**
 * Windows that give derivatives, on every engine that has them and every registered problem:
 * reverse = tangent = central differences in float64, and every engine is held against float64.
 */
import type { DerivativePopulation, DerivativeProgram, Differentiation, Perturbation } from '../../src/contracts';
import { EngineError } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import type { TracedProblem } from '../../src/graph/program';
import { traceProblem } from '../../src/graph/trace';
import { ENGINES } from '../support/engine-table';
import { SMALL_PROBLEMS, spreadThetas } from '../support/registered-problems';

const SEED = 41;
const SIZE = 3;
const ALL = Int32Array.of(0, 1, 2);
const STEPS = 6;
const REFERENCE = ENGINES[0];
const COMPILING = 300_000;

async function traceOf(name: string): Promise<TracedProblem> {
  const { problem } = SMALL_PROBLEMS.find((row) => row.name === name)!;
  return traceProblem(await problem(), { for: 'differentiate' });
}

const explicit = (thetas: Float64Array): Perturbation => ({ form: 'explicit', thetas });

/** Each row of θ with identity directions. */
function basis(size: number): Float64Array {
  return Float64Array.from({ length: SIZE * size * size }, (_, at) => {
    const within = at % (size * size);
    return Math.floor(within / size) === within % size ? 1 : 0;
  });
}

async function started(
  program: DerivativeProgram,
  thetas: Float64Array,
  directions?: Float64Array,
): Promise<DerivativePopulation> {
  const population = await program.createPopulation({ size: SIZE, seed: SEED });
  await population.reset({
    particles: ALL,
    perturbation: explicit(thetas),
    workers: ALL,
    episodes: Int32Array.of(0, 4, 1),
    ...(directions === undefined ? {} : { directions }),
  });
  return population;
}

const reverse = (options: Partial<Extract<Differentiation, { mode: 'reverse' }>> = {}): Differentiation => ({
  mode: 'reverse',
  steps: STEPS,
  windowLoss: 'mean',
  ...options,
});

/** max |a − b| / max(max |b|, floor) of each row. */
function away(got: Float64Array, expected: Float64Array, rows: number, floor = 1e-12): number {
  const width = expected.length / rows;
  expect(got.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < rows; i++) {
    const row = expected.subarray(i * width, (i + 1) * width);
    const size = Math.max(floor, ...row.map(Math.abs));
    row.forEach((value, k) => (worst = Math.max(worst, Math.abs(got[i * width + k] - value) / size)));
  }
  return worst;
}

describe.each(SMALL_PROBLEMS.map(({ name }) => name))('in float64: %s', (name) => {
  let engine: GraphEngine;
  let traced: TracedProblem;
  let thetas: Float64Array;
  beforeAll(async () => {
    engine = await REFERENCE.open();
    traced = await traceOf(name);
    thetas = spreadThetas(traced, SIZE, 0.02);
  });

  /**
   * Central differences with steps h and 2h of the window's loss by each number of θ. Their own error: rounding, and the
   * next term of the series, for which a third of the difference of the two stands.
   */
  async function differences(
    loss: (moved: Float64Array) => Promise<Float64Array>,
  ): Promise<{ value: number; error: number }[]> {
    const { size } = traced.theta;
    const found: { value: number; error: number }[] = [];
    const base = await loss(thetas);
    for (let k = 0; k < size; k++) {
      const at = async (h: number): Promise<Float64Array> => {
        const shifted = async (sign: number): Promise<Float64Array> =>
          loss(thetas.map((value, i) => (i % size === k ? value + sign * h : value)));
        const [plus, minus] = [await shifted(1), await shifted(-1)];
        return plus.map((value, i) => (value - minus[i]) / (2 * h));
      };
      const h = 1e-4;
      const [one, two] = [await at(h), await at(2 * h)];
      one.forEach((value, i) => {
        const rounding = (100 * 2 ** -53 * Math.max(1, Math.abs(base[i]))) / h;
        found[i * size + k] = { value, error: Math.abs(two[i] - value) + rounding };
      });
    }
    return found;
  }

  test.each(['mean', 'last'] as const)('reverse = differences, from initState on, %s loss', async (windowLoss) => {
    const program = await engine.compileDerivative(traced, reverse({ windowLoss, start: true }));
    const { derivatives } = await (
      await started(program, thetas)
    ).differentiate({ particles: ALL, perturbation: explicit(thetas), steps: STEPS });
    const expected = await differences(async (moved) => {
      const result = await (
        await started(program, moved)
      ).advance({ particles: ALL, perturbation: explicit(moved), steps: STEPS });
      return windowLoss === 'last' ? result.lastLoss : result.lossSum.map((sum) => sum / STEPS);
    });
    expected.forEach(({ value, error }, i) => expect(Math.abs(derivatives[i] - value)).toBeLessThanOrEqual(error));
    expect(derivatives.some((value) => value !== 0)).toBe(true);
  });

  test('reverse = differences, within a window, the state before it held fixed', async () => {
    const program = await engine.compileDerivative(traced, reverse());
    const middle = async (): Promise<DerivativePopulation> => {
      const population = await started(program, thetas);
      await population.advance({ particles: ALL, perturbation: explicit(thetas), steps: 2 });
      return population;
    };
    const { derivatives } = await (
      await middle()
    ).differentiate({ particles: ALL, perturbation: explicit(thetas), steps: 4 });
    const expected = await differences(async (moved) => {
      const { lossSum } = await (await middle()).advance({ particles: ALL, perturbation: explicit(moved), steps: 4 });
      return lossSum.map((sum) => sum / 4);
    });
    expected.forEach(({ value, error }, i) => expect(Math.abs(derivatives[i] - value)).toBeLessThanOrEqual(error));
  });

  test('tangents along all directions, carried over two windows = reverse over both', async () => {
    const { size } = traced.theta;
    const whole = await engine.compileDerivative(traced, reverse({ start: true }));
    const request = { particles: ALL, perturbation: explicit(thetas) };
    const exact = await (await started(whole, thetas)).differentiate({ ...request, steps: STEPS });
    const program = await engine.compileDerivative(traced, { mode: 'tangent', directions: size });
    expect(program.derivatives).toBe(size);
    const directions = basis(size);
    const population = await started(program, thetas, directions);
    const first = await population.differentiate({ ...request, steps: 2, directions });
    const second = await population.differentiate({ ...request, steps: STEPS - 2, directions });
    const both = first.derivatives.map((value, i) => (2 * value + (STEPS - 2) * second.derivatives[i]) / STEPS);
    // Both are sums of the same products in another order.
    expect(away(both, exact.derivatives, SIZE)).toBeLessThan(1e-10);
    second.lastLoss.forEach((loss, i) => expect(loss).toBeCloseTo(exact.lastLoss[i], 12));
  });
});

describe.each(ENGINES)('$name', ({ name, open, exact }) => {
  let engine: GraphEngine;
  let reference: GraphEngine;
  beforeAll(async () => {
    engine = await open();
    reference = await REFERENCE.open();
  }, COMPILING);
  afterAll(() => engine.dispose());

  test('has reverse and tangent windows', () => {
    expect([...engine.capabilities].sort()).toEqual(['forward', 'reverse', 'tangent']);
  });

  const modes: readonly (readonly [string, Differentiation])[] = [
    ['reverse, mean', reverse({ start: true })],
    ['reverse, last', reverse({ windowLoss: 'last' })],
    ['tangent, two directions', { mode: 'tangent', directions: 2 }],
    ['rank-one', { mode: 'rank-one' }],
  ];

  // Written out number by number, the tangents of a network keep a compiler busy for minutes.
  const problems = name === 'native, lane-major' ? SMALL_PROBLEMS.slice(0, 4) : SMALL_PROBLEMS;
  describe.each(problems.map((problem) => problem.name))('%s', (problem) => {
    test.each(modes)(
      '%s: derivatives, losses and states are those of float64',
      async (_, differentiation) => {
        const traced = await traceOf(problem);
        const thetas = spreadThetas(traced, SIZE, 0.02);
        const directions =
          differentiation.mode === 'tangent'
            ? Float64Array.from({ length: SIZE * 2 * traced.theta.size }, (__, i) => Math.cos(i + 1))
            : undefined;
        const run = async (on: GraphEngine) => {
          const program = await on.compileDerivative(traced, differentiation);
          const population = await started(program, thetas, directions);
          const result = await population.differentiate({
            particles: ALL,
            perturbation: explicit(thetas),
            steps: STEPS,
            ...(directions === undefined ? {} : { directions }),
          });
          const state = await population.save();
          const phases = population.phases();
          await program.dispose();
          return { ...result, state, phases };
        };
        const [got, expected] = [await run(engine), await run(reference)];
        // Six steps of some hundred roundings of 6e-8; derivatives multiply as many factors again.
        const tolerance = exact ? 0 : 2e-4;
        expect(away(got.derivatives, expected.derivatives, SIZE)).toBeLessThanOrEqual(tolerance);
        expect(away(got.lossSum, expected.lossSum, 1)).toBeLessThanOrEqual(tolerance);
        expect([...got.phases]).toEqual([STEPS, STEPS, STEPS]);
        for (const { path, type } of traced.state) {
          if (type.dtype !== 'float32') continue;
          const leaf = `state.${path}`;
          const numbers = (bundle: typeof got.state): Float64Array => Float64Array.from(bundle[leaf].data);
          expect(away(numbers(got.state), numbers(expected.state), SIZE)).toBeLessThanOrEqual(tolerance);
        }
      },
      COMPILING,
    );
  });

  test('a reverse window longer than planned, or through initState from the middle, is refused', async () => {
    const traced = await traceOf('quadratic');
    const program = await engine.compileDerivative(traced, reverse({ start: true }));
    const thetas = spreadThetas(traced, SIZE, 0);
    const population = await started(program, thetas);
    const request = { particles: ALL, perturbation: explicit(thetas) };
    await expect(population.differentiate({ ...request, steps: STEPS + 1 })).rejects.toThrow(EngineError);
    await population.advance({ ...request, steps: 1 });
    await expect(population.differentiate({ ...request, steps: 2 })).rejects.toThrow(/initState.*at 1/);
    await program.dispose();
  });

  test('directions of another length are refused', async () => {
    const traced = await traceOf('quadratic');
    const program = await engine.compileDerivative(traced, { mode: 'tangent', directions: 1 });
    await expect(started(program, spreadThetas(traced, SIZE, 0), Float64Array.of(1))).rejects.toThrow(
      /directions: expected/,
    );
    await program.dispose();
  });
});
