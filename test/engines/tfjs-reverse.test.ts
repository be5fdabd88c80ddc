/** Reverse windows of tfjs engines: what they keep, what they say that they hold, and what is left of them. */
import {
  ConfigurationError,
  type DerivativePopulation,
  type DerivativeProgram,
  type Differentiation,
  type Perturbation,
} from '../../src/contracts';
import { createEngine, type TfjsEngine } from '../../src/engines';
import { thetaRows } from '../../src/engines/shared/perturbation';
import { sizeOf } from '../../src/graph/ir';
import type { TracedProblem } from '../../src/graph/program';
import { traceProblem } from '../../src/graph/trace';
import { ENGINES } from '../support/engine-table';
import { SMALL_PROBLEMS, spreadThetas } from '../support/registered-problems';

/** So many that checkpoints pay for networks, whose steps leave much more than a state. */
const STEPS = 24;
const SEED = 23;
const SIZE = 3;
const ALL = Int32Array.of(0, 1, 2);
const REVERSE: Differentiation = { mode: 'reverse', steps: STEPS, windowLoss: 'mean', start: true };
const KEEPS = ['everything', 'states', 'checkpoints'] as const;
const NETWORK = 'mlp, SGD with momentum on a schedule';

async function traceOf(name: string): Promise<TracedProblem> {
  const { problem } = SMALL_PROBLEMS.find((row) => row.name === name)!;
  return traceProblem(await problem(), { for: 'differentiate' });
}

const explicit = (thetas: Float64Array): Perturbation => ({ form: 'explicit', thetas });

async function started(
  program: Pick<DerivativeProgram, 'createPopulation'>,
  perturbation: Perturbation,
  particles = ALL,
): Promise<DerivativePopulation> {
  const population = await program.createPopulation({ size: particles.length, seed: SEED });
  await population.reset({ particles, perturbation, workers: particles, episodes: particles });
  return population;
}

/** Programs of one particle at a time that keep everything, states, checkpoints: each has a byte less than the one before. */
async function threeKinds(engine: TfjsEngine, traced: TracedProblem): Promise<DerivativeProgram[]> {
  const programs: DerivativeProgram[] = [];
  let memoryBytes = Number.MAX_SAFE_INTEGER;
  for (const keeps of KEEPS) {
    const program = await engine.compileDerivative(traced, REVERSE, { memoryBytes, workingSetBytes: 1 });
    expect(program.reverse).toMatchObject({ keeps, atOnce: 1 });
    programs.push(program);
    memoryBytes = program.reverse!.bytes - 1;
  }
  return programs;
}

/** Bytes that live on a backend beyond those of now, at most, while `run` runs. */
async function peakBytes({ device }: TfjsEngine, run: () => Promise<unknown>): Promise<number> {
  const { backend } = device;
  const live = new Map<object, number>();
  let [held, peak] = [0, 0];
  const [write, disposeData] = [backend.write.bind(backend), backend.disposeData.bind(backend)];
  const wrote = jest.spyOn(backend, 'write').mockImplementation((values, shape, dtype) => {
    const dataId = write(values, shape, dtype);
    const bytes = sizeOf(shape) * (dtype === 'bool' ? 1 : 4);
    live.set(dataId, bytes);
    held += bytes;
    peak = Math.max(peak, held);
    return dataId;
  });
  const disposed = jest.spyOn(backend, 'disposeData').mockImplementation((dataId, force) => {
    const gone = disposeData(dataId, force);
    if (gone && live.has(dataId)) held -= live.get(dataId)!;
    if (gone) live.delete(dataId);
    return gone;
  });
  await run();
  wrote.mockRestore();
  disposed.mockRestore();
  return peak;
}

describe.each(ENGINES.filter(({ name }) => name.startsWith('tfjs')))('$name', ({ name: row, open }) => {
  let engine: TfjsEngine;
  beforeAll(async () => {
    engine = (await open()) as TfjsEngine;
  });

  test.each([NETWORK, 'influence-balancing'])(
    '%s: the same bits whatever is kept, states as after a window that does not go back',
    async (name) => {
      const traced = await traceOf(name);
      const request = { particles: ALL, perturbation: explicit(spreadThetas(traced, SIZE, 0.02)), steps: STEPS };
      const results = [];
      const programs = await threeKinds(engine, traced);
      for (const program of programs) {
        const population = await started(program, request.perturbation);
        results.push({ ...(await population.differentiate(request)), state: await population.save() });
        await program.dispose();
      }
      // Of one particle at a time too: some backends' bits depend on how many there are.
      const plain = await engine.compileTraced(traced, { workingSetBytes: 1 });
      const population = await plain.createPopulation({ size: SIZE, seed: SEED });
      await population.reset({ ...request, workers: ALL, episodes: ALL });
      const { lossSum, lastLoss, metricSums } = await population.advance(request);
      const expected = { lossSum, lastLoss, metricSums, state: await population.save() };
      await plain.dispose();
      for (const { derivatives, ...rest } of results) {
        expect(rest).toEqual(expected);
        expect(derivatives).toEqual(results[0].derivatives);
      }
      const memoryBytes = programs[2].reverse!.bytes - 1;
      const refused = engine.compileDerivative(traced, REVERSE, { memoryBytes });
      await expect(refused).rejects.toThrow(ConfigurationError);
      await expect(refused).rejects.toThrow(/^memory: expected at least .* of 24 steps .* Allow more \(--memory/);
    },
  );

  test('some particles, in another order, in a window shorter than planned, with noise of keys', async () => {
    const traced = await traceOf('layers model, Adam');
    const theta = spreadThetas(traced, 1, 0);
    const gaussian: Perturbation = {
      form: 'gaussian',
      theta,
      sigma: 0.05,
      keys: Uint32Array.of(1, 2, 1, 2),
      signs: Int8Array.of(1, -1),
    };
    const particles = Int32Array.of(2, 0);
    const rows = thetaRows(gaussian, 2, traced.theta.size);
    const window = async (options: { readonly memoryBytes?: number }, alone?: number) => {
      const program = await engine.compileDerivative(traced, { ...REVERSE, start: false }, options);
      const population = await started(program, { form: 'none', theta });
      await population.advance({ particles: ALL, perturbation: { form: 'none', theta }, steps: 1 });
      const before = await population.save();
      const width = traced.theta.size;
      const { derivatives } = await population.differentiate(
        alone === undefined
          ? { particles, perturbation: gaussian, steps: 5 }
          : {
              particles: particles.slice(alone, alone + 1),
              perturbation: explicit(rows.slice(alone * width, (alone + 1) * width)),
              steps: 5,
            },
      );
      const [phases, after] = [population.phases(), await population.save()];
      await program.dispose();
      return { derivatives, phases, before, after };
    };
    const both = await window({});
    expect([...both.phases]).toEqual([6, 1, 6]);
    for (const { path, type } of traced.state) {
      const [was, is] = [both.before, both.after].map((bundle) => bundle[`state.${path}`].data);
      const size = sizeOf(type.shape);
      expect([...is.slice(size, 2 * size)]).toEqual([...was.slice(size, 2 * size)]);
    }
    const [first, second] = [await window({}, 0), await window({}, 1)];
    const close = (got: number, expected: number): void =>
      // Products of other shapes, where a backend splits them by rows.
      expect(Math.abs(got - expected)).toBeLessThanOrEqual(1e-4 * Math.abs(expected) + 1e-9);
    [...first.derivatives, ...second.derivatives].forEach((value, i) => close(both.derivatives[i], value));
    expect(both.derivatives.some((value) => value !== 0)).toBe(true);
  });

  // TensorFlow's kernels make their results without the backend's knowledge.
  if (row.startsWith('tfjs:node')) return;
  test.each([NETWORK, 'influence-balancing'])('%s: a window holds what was stated', async (name) => {
    const traced = await traceOf(name);
    const check = async (program: DerivativeProgram, size: number): Promise<void> => {
      const particles = Int32Array.from({ length: size }, (_, i) => i);
      const request = { particles, perturbation: explicit(spreadThetas(traced, size, 0.01)), steps: STEPS };
      // What a program uploads once is there after the first window.
      await (await started(program, request.perturbation, particles)).differentiate(request);
      const population = await started(program, request.perturbation, particles);
      const held = await peakBytes(engine, () => population.differentiate(request));
      const stated = program.reverse!.bytes * size;
      expect(held).toBeLessThanOrEqual(stated);
      expect(held).toBeGreaterThan(0.9 * stated);
      await program.dispose();
    };
    for (const program of await threeKinds(engine, traced)) await check(program, 1);
    const program = await engine.compileDerivative(traced, REVERSE);
    await check(program, 4);
  });
});

test('memoryBytes of an engine bounds its reverse windows', async () => {
  const { problem } = SMALL_PROBLEMS.find(({ name }) => name === NETWORK)!;
  const keeps = async (memoryBytes?: number): Promise<string> => {
    const { engine } = await createEngine('tfjs:cpu', undefined, memoryBytes === undefined ? {} : { memoryBytes });
    const program = await (await engine.compile(await problem())).differentiate(REVERSE);
    const { keeps: kept, atOnce, bytes } = program.reverse!;
    expect(atOnce * bytes).toBeLessThanOrEqual(memoryBytes ?? 2 ** 30);
    return kept;
  };
  expect(await keeps()).toBe('everything');
  // A network of some hundred numbers and a batch of eight: 2 KiB a step, 24 steps.
  expect(await keeps(40 << 10)).toBe('states');
  await expect(keeps(1 << 10)).rejects.toThrow(ConfigurationError);
});
