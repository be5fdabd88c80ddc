/** Every engine × every property of the contract (src/contracts/engine.ts, conventions.md "Particles and noise"). */
import {
  CancelledError,
  EngineError,
  type ArrayBundle,
  type Perturbation,
  type Population,
  type UnrollProgram,
  type WindowResult,
} from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import type { GraphBuilder } from '../../src/graph/builder';
import type { Shape, ValueId } from '../../src/graph/ir';
import type { TracedProblem } from '../../src/graph/program';
import { fillNormals, noiseKey } from '../../src/random';
import { f32, handBuilt, lorenzLike, networkLike } from '../support/engine-problems';
import { ENGINES } from '../support/engine-table';
import { type TfjsEngine } from '../../src/engines';

const SEED = 20260731;
const SIZE = 6;
const ALL = Int32Array.from({ length: SIZE }, (_, i) => i);
/** Pairs: particles 2w and 2w+1 belong to worker w. */
const SIGNS = Int8Array.from(ALL, (i) => (i % 2 === 0 ? 1 : -1));
const KEYS = Uint32Array.from([...ALL].flatMap((i) => [...noiseKey(SEED, i >> 1, 0, 0)]));

interface Case {
  readonly traced: TracedProblem;
  readonly theta: Float64Array;
}
const CASES: Readonly<Record<string, Case>> = {
  lorenz: { traced: lorenzLike(), theta: Float64Array.of(Math.log(10), Math.log(28)) },
  network: { traced: networkLike(), theta: Float64Array.of(0.9, -1) },
};

function gaussian(theta: Float64Array, particles: Int32Array = ALL): Perturbation {
  return {
    form: 'gaussian',
    theta,
    sigma: 0.1,
    keys: Uint32Array.from([...particles].flatMap((i) => [KEYS[2 * i], KEYS[2 * i + 1]])),
    signs: Int8Array.from(particles, (i) => SIGNS[i]),
  };
}

async function started(program: UnrollProgram, theta: Float64Array, size = SIZE): Promise<Population> {
  const population = await program.createPopulation({ size, seed: SEED });
  const particles = Int32Array.from({ length: size }, (_, i) => i);
  await population.reset({
    particles,
    perturbation: { form: 'none', theta },
    workers: particles.map((i) => i >> 1),
    episodes: new Int32Array(size),
  });
  return population;
}

function rowsOf(bundle: ArrayBundle, particles: Iterable<number>): Record<string, number[][]> {
  return Object.fromEntries(
    Object.entries(bundle).map(([name, { shape, data }]) => {
      const width = data.length / shape[0];
      return [name, Array.from(particles, (p) => [...data.subarray(p * width, (p + 1) * width)])];
    }),
  );
}

function numbersOf(result: WindowResult): number[][] {
  return [result.lossSum, result.lastLoss, ...Object.values(result.metricSums)].map((values) => [...values]);
}

/** Milliseconds that a compiler may take for all programs of an engine on a busy machine. */
const COMPILING = 300_000;

/** |got − expected| ≤ tolerance·max(1, |expected|), element by element. */
function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs(got[i] - expected[i])).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(expected[i])));
  }
}

const REFERENCE = ENGINES[0];

function normal(b: GraphBuilder, shape: Shape, word: number): ValueId {
  return b.emit('random', [], {
    stream: 'init',
    perStep: false,
    path: [word],
    distribution: { name: 'normal' },
    shape,
  });
}

describe.each(ENGINES)('$name', ({ open, exact, independent, compiled }) => {
  let engine: GraphEngine;
  let reference: GraphEngine;
  const programs: Record<string, UnrollProgram> = {};
  beforeAll(async () => {
    engine = await open();
    reference = await REFERENCE.open();
    for (const [name, { traced }] of Object.entries(CASES)) programs[name] = await engine.compileTraced(traced);
  }, COMPILING);
  afterAll(async () => {
    for (const program of Object.values(programs)) await program.dispose();
    await engine.dispose();
  });

  /** Bits where the engine promises them, else what float32 leaves of a sum in another order. */
  function expectSame(got: number[][], expected: number[][]): void {
    if (independent) expect(got).toEqual(expected);
    else got.forEach((row, i) => expectClose(row, expected[i], 1e-5));
  }

  describe.each(Object.keys(CASES))('%s', (name) => {
    const { traced, theta } = CASES[name];

    test('a window of 5 steps agrees with float64', async () => {
      const expected = await started(await reference.compileTraced(traced), theta);
      const got = await started(programs[name], theta);
      const request = { particles: ALL, perturbation: gaussian(theta), steps: 5 };
      const a = await got.advance(request);
      const b = await expected.advance(request);
      // 5 steps of some 30 roundings of 6e-8 each, none of them amplified by more than a few.
      const tolerance = exact ? 0 : 2e-5;
      numbersOf(a).forEach((row, i) => expectClose(row, numbersOf(b)[i], tolerance));
      const [stateA, stateB] = [rowsOf(await got.save(), ALL), rowsOf(await expected.save(), ALL)];
      expect(Object.keys(stateA)).toEqual(Object.keys(stateB));
      for (const leaf of Object.keys(stateB))
        stateA[leaf].forEach((row, i) => expectClose(row, stateB[leaf][i], tolerance));
      const [endA, endB] = [await got.finish(request), await expected.finish(request)];
      expect(Object.keys(endA)).toEqual(traced.finishes);
      for (const output of traced.finishes) expectClose(endA[output], endB[output], tolerance);
      expect([...got.phases()]).toEqual([...ALL].map(() => 5));
    });

    test('the same request gives the same bits', async () => {
      const run = async (): Promise<unknown> => {
        const population = await started(programs[name], theta);
        const result = await population.advance({ particles: ALL, perturbation: gaussian(theta), steps: 4 });
        return [numbersOf(result), rowsOf(await population.save(), ALL)];
      };
      expect(await run()).toEqual(await run());
    });

    test('ten windows of one step are one window of ten', async () => {
      const [whole, cut] = [await started(programs[name], theta), await started(programs[name], theta)];
      const perturbation = gaussian(theta);
      const expected = await whole.advance({ particles: ALL, perturbation, steps: 10 });
      const sum = new Float64Array(SIZE);
      let last = new Float64Array(SIZE);
      for (let w = 0; w < 10; w++) {
        const result = await cut.advance({ particles: ALL, perturbation, steps: 1 });
        result.lossSum.forEach((loss, i) => (sum[i] += loss));
        last = Float64Array.from(result.lastLoss);
      }
      if (compiled === true) {
        // Sums of at most ten float32 losses, all positive, made in float32.
        sum.forEach((loss, i) =>
          expect(Math.abs(loss - expected.lossSum[i])).toBeLessThanOrEqual(10 * 2 ** -24 * loss),
        );
      } else expect([...sum]).toEqual([...expected.lossSum]);
      expect([...last]).toEqual([...expected.lastLoss]);
      expect(await cut.save()).toEqual(await whole.save());
    });

    test('some particles, in any order, advance as they do among all', async () => {
      const [all, some] = [await started(programs[name], theta), await started(programs[name], theta)];
      const expected = await all.advance({ particles: ALL, perturbation: gaussian(theta), steps: 3 });
      const particles = Int32Array.of(4, 0, 3);
      const before = rowsOf(await some.save(), [1, 2, 5]);
      const got = await some.advance({ particles, perturbation: gaussian(theta, particles), steps: 3 });
      expectSame(
        numbersOf(got),
        numbersOf(expected).map((row) => [...particles].map((i) => row[i])),
      );
      const rows = rowsOf(await some.save(), particles);
      const wanted = rowsOf(await all.save(), particles);
      for (const leaf of Object.keys(wanted)) expectSame(rows[leaf], wanted[leaf]);
      expect(rowsOf(await some.save(), [1, 2, 5])).toEqual(before);
    });

    test('a larger population leaves the numbers of those that were there as they were', async () => {
      const [small, large] = [await started(programs[name], theta), await started(programs[name], theta, 2 * SIZE)];
      const perturbation = { form: 'none', theta } as const;
      const expected = await small.advance({ particles: ALL, perturbation, steps: 3 });
      const particles = Int32Array.from({ length: 2 * SIZE }, (_, i) => i);
      const got = await large.advance({ particles, perturbation, steps: 3 });
      expectSame(
        numbersOf(got).map((row) => row.slice(0, SIZE)),
        numbersOf(expected),
      );
    });

    test('partners of a pair share initialisation and batches; workers do not', async () => {
      const population = await started(programs[name], theta);
      const first = rowsOf(await population.save(), ALL);
      const perturbation = { ...gaussian(theta), sigma: 0 } as Perturbation;
      const result = numbersOf(await population.advance({ particles: ALL, perturbation, steps: 3 }));
      const drawn = name === 'lorenz' ? 'state.x' : 'state.w1';
      for (const pair of [0, 2, 4]) {
        for (const leaf of Object.keys(first)) expect(first[leaf][pair]).toEqual(first[leaf][pair + 1]);
        for (const row of result) expect(row[pair]).toBe(row[pair + 1]);
      }
      expect(first[drawn][0]).not.toEqual(first[drawn][2]);
      expect(result[0][0]).not.toBe(result[0][2]);
    });

    test('several runs in one population have the bits that each has alone, or are refused', async () => {
      const sizes = [4, 6, 2];
      const seeds = [SEED, 7, 2 ** 40 + 3];
      const sigmas = [0.1, 0.02, 0.3];
      const thetaOf = (run: number): Float64Array => theta.map((x) => x + 0.05 * run);
      const of = Int32Array.from(sizes.flatMap((size, run) => Array.from({ length: size }, () => run)));
      const runs = { seeds, of };
      const together = programs[name].createPopulation({ size: of.length, seed: 0, runs });
      if (engine.sharesPopulations !== true) {
        await expect(together).rejects.toThrow(EngineError);
        return;
      }
      const population = await together;
      const firsts = sizes.map((_, run) => sizes.slice(0, run).reduce((a, b) => a + b, 0));
      const within = (particle: number): number => particle - firsts[of[particle]];
      /** All θ and σ for the population, one of each for a run of its own. */
      const perturbed = (particles: Int32Array, form: 'none' | 'gaussian', run?: number): Perturbation => {
        const thetas = run === undefined ? Float64Array.from(sizes.flatMap((_, r) => [...thetaOf(r)])) : thetaOf(run);
        if (form === 'none') return { form, theta: thetas };
        const sigma = run === undefined ? Float64Array.from(sigmas) : sigmas[run];
        const key = (p: number): readonly number[] => noiseKey(seeds[of[p]], within(p) >> 1, 0, 0);
        const keys = Uint32Array.from([...particles].flatMap((p) => [...key(p)]));
        return { form, theta: thetas, sigma, keys, signs: Int8Array.from(particles, (p) => (within(p) % 2 ? -1 : 1)) };
      };
      const advance = async (on: Population, particles: Int32Array, run?: number): Promise<number[][]> => {
        const own = particles.map((p) => (run === undefined ? p : within(p)));
        const none = { particles: own, perturbation: perturbed(particles, 'none', run) };
        const noisy = { particles: own, perturbation: perturbed(particles, 'gaussian', run) };
        const starts = { workers: particles.map((p) => within(p) >> 1), episodes: particles.map((p) => within(p) % 2) };
        await on.reset({ ...noisy, ...starts });
        const windows = [await on.advance({ ...noisy, steps: 3 }), await on.advance({ ...none, steps: 2 })];
        return [...windows.flatMap(numbersOf), ...Object.values(await on.finish(none)).map((values) => [...values])];
      };
      // Neighbours are of different runs, so that lanes of one block are.
      const order = Int32Array.of(11, 0, 4, 1, 5, 10, 3, 9, 2, 8, 6, 7);
      for (const particles of [Int32Array.from(of.keys()), order]) {
        const got = await advance(population, particles);
        for (const run of sizes.keys()) {
          const mine = particles.filter((p) => of[p] === run);
          const alone = await programs[name].createPopulation({ size: sizes[run], seed: seeds[run] });
          const expected = await advance(alone, mine, run);
          const entries = [...particles.keys()].filter((i) => of[particles[i]] === run);
          expect(got.map((row) => entries.map((i) => row[i]))).toEqual(expected);
        }
      }
      await expect(population.copy(Int32Array.of(0), Int32Array.of(5))).rejects.toThrow(EngineError);
      const short = { size: 3, seed: 0, runs: { seeds, of: Int32Array.of(0, 3, 1) } };
      await expect(programs[name].createPopulation(short)).rejects.toThrow('expected numbers in [0, 3), got 3');
    });

    test('a reset of some starts their episode and leaves the others', async () => {
      const population = await started(programs[name], theta);
      await population.advance({ particles: ALL, perturbation: gaussian(theta), steps: 3 });
      const before = rowsOf(await population.save(), [0, 2, 4, 5]);
      const particles = Int32Array.of(3, 1);
      const request = { particles, workers: Int32Array.of(0, 1), episodes: Int32Array.of(0, 7) };
      await population.reset({ ...request, perturbation: { form: 'none', theta } });
      expect(rowsOf(await population.save(), [0, 2, 4, 5])).toEqual(before);
      expect([...population.phases()]).toEqual([3, 0, 3, 0, 3, 3]);
      const fresh = rowsOf(await (await started(programs[name], theta)).save(), [0]);
      const again = rowsOf(await population.save(), [3, 1]);
      for (const leaf of Object.keys(fresh).filter((leaf) => leaf.startsWith('state.'))) {
        expectSame([again[leaf][0]], [fresh[leaf][0]]);
      }
      // Another episode, another initialisation.
      const drawn = name === 'lorenz' ? 'state.x' : 'state.w1';
      expect(again[drawn][1]).not.toEqual(again[drawn][0]);
    });

    test('a saved population goes on with the same bits', async () => {
      const population = await started(programs[name], theta);
      const request = { particles: ALL, perturbation: gaussian(theta), steps: 3 };
      await population.advance(request);
      const saved = await population.save();
      const restored = await programs[name].createPopulation({ size: SIZE, seed: SEED });
      await restored.load(saved);
      expect(await restored.save()).toEqual(saved);
      expect(numbersOf(await restored.advance(request))).toEqual(numbersOf(await population.advance(request)));
      expect(await restored.save()).toEqual(await population.save());
    });

    test('NaN of one particle stays with it', async () => {
      const [clean, sick] = [await started(programs[name], theta), await started(programs[name], theta)];
      const thetas = Float64Array.from({ length: SIZE * 2 }, (_, i) => theta[i % 2] + 0.01 * i);
      const expected = numbersOf(
        await clean.advance({ particles: ALL, perturbation: { form: 'explicit', thetas }, steps: 4 }),
      );
      const broken = thetas.map((value, i) => (i >> 1 === 2 ? NaN : value));
      const got = await sick.advance({ particles: ALL, perturbation: { form: 'explicit', thetas: broken }, steps: 4 });
      expect(got.lossSum[2]).toBeNaN();
      expect(got.lastLoss[2]).toBeNaN();
      const others = (rows: number[][]): number[][] => rows.map((row) => row.filter((_, i) => i !== 2));
      expect(others(numbersOf(got))).toEqual(others(expected));
    });

    test('the forms of a perturbation are one another', async () => {
      const sigma = 0.1;
      const thetas = new Float64Array(SIZE * 2);
      for (const i of ALL) {
        const noise = new Float64Array(2);
        fillNormals([KEYS[2 * i], KEYS[2 * i + 1]], noise);
        for (const j of [0, 1]) thetas[2 * i + j] = theta[j] + SIGNS[i] * sigma * noise[j];
      }
      const run = async (perturbation: Perturbation): Promise<number[][]> => {
        const population = await started(programs[name], theta);
        return numbersOf(await population.advance({ particles: ALL, perturbation, steps: 3 }));
      };
      expect(await run(gaussian(theta))).toEqual(await run({ form: 'explicit', thetas }));
      const same = Float64Array.from({ length: SIZE * 2 }, (_, i) => theta[i % 2]);
      expect(await run({ form: 'none', theta })).toEqual(await run({ form: 'explicit', thetas: same }));
      expect(await run({ form: 'none', theta })).not.toEqual(await run(gaussian(theta)));
    });

    test('a cancelled call leaves the population as it was', async () => {
      const [population, twin] = [await started(programs[name], theta), await started(programs[name], theta)];
      const request = { particles: ALL, perturbation: gaussian(theta), steps: 3 };
      await population.advance(request);
      await twin.advance(request);
      const before = await population.save();
      const signal = AbortSignal.abort();
      const again = { particles: ALL, perturbation: gaussian(theta), workers: ALL, episodes: ALL, signal };
      await expect(population.advance({ ...request, signal })).rejects.toThrow(CancelledError);
      await expect(population.finish({ ...request, signal })).rejects.toThrow(CancelledError);
      await expect(population.reset(again)).rejects.toThrow(CancelledError);
      expect(await population.save()).toEqual(before);
      expect(numbersOf(await population.advance(request))).toEqual(numbersOf(await twin.advance(request)));
    });

    test('a window cancelled on the way, then run again, has the bits of one that was not', async () => {
      const [population, twin] = [await started(programs[name], theta), await started(programs[name], theta)];
      const some = Int32Array.of(4, 0, 3);
      for (const particles of [ALL, some]) {
        const perturbation = gaussian(theta, particles);
        // A window that is over before the timer gets its turn is no test: twice as long, until one is not.
        for (let steps = 500; ; steps *= 2) {
          const before = await population.save();
          const controller = new AbortController();
          const timer = setTimeout(() => controller.abort(), 5);
          const window = population.advance({ particles, perturbation, steps, signal: controller.signal });
          const cancelled = await window.then(
            () => false,
            (error: unknown) => error instanceof CancelledError,
          );
          clearTimeout(timer);
          if (cancelled) {
            expect(await population.save()).toEqual(before);
            break;
          }
          expect(steps).toBeLessThan(2 ** 24);
          await twin.advance({ particles, perturbation, steps });
        }
        const request = { particles, perturbation, steps: 3 };
        expect(numbersOf(await population.advance(request))).toEqual(numbersOf(await twin.advance(request)));
        expect(await population.save()).toEqual(await twin.save());
      }
    });

    test('a copied particle is the other one', async () => {
      const population = await started(programs[name], theta);
      const perturbation = gaussian(theta);
      await population.advance({ particles: ALL, perturbation, steps: 2 });
      await population.advance({
        particles: Int32Array.of(5),
        perturbation: gaussian(theta, Int32Array.of(5)),
        steps: 1,
      });
      await population.copy(Int32Array.of(5, 2), Int32Array.of(0, 1));
      const rows = rowsOf(await population.save(), ALL);
      for (const leaf of Object.keys(rows)) {
        expect(rows[leaf][0]).toEqual(rows[leaf][5]);
        expect(rows[leaf][1]).toEqual(rows[leaf][2]);
      }
      expect([...population.phases()]).toEqual([3, 2, 2, 2, 2, 3]);
      // Copies live on their own.
      const two = Int32Array.of(0, 5);
      const result = await population.advance({ particles: two, perturbation: { form: 'none', theta }, steps: 1 });
      expect(result.lossSum[0]).toBe(result.lossSum[1]);
      await population.advance({ particles: Int32Array.of(0), perturbation: { form: 'none', theta }, steps: 1 });
      expect([...population.phases()]).toEqual([5, 2, 2, 2, 2, 4]);
    });
  });

  test(
    'a particle alone has the bits that it has among others',
    async () => {
      // 100 products a sum: enough for another order of them to show.
      const traced = handBuilt({
        name: 'product',
        theta: { a: f32() },
        state: { w: f32(100, 10), x: f32(2, 100) },
        init: (b) => ({ w: normal(b, [100, 10], 0), x: normal(b, [2, 100], 1) }),
        step: (b, { a }, { w, x }) => {
          const y = b.emit('matmul', [x, w], { transposeA: false, transposeB: false });
          const back = b.emit('matmul', [y, w], { transposeA: false, transposeB: true });
          const weights = b.emit('matmul', [x, y], { transposeA: true, transposeB: false });
          const small = (id: ValueId): ValueId => b.op('tanh', b.binary('mul', id, a));
          return { state: { w: small(weights), x: small(back) }, loss: b.reduceSum(b.op('abs', y), [0, 1]) };
        },
      });
      const theta = Float64Array.of(0.05);
      const program = await engine.compileTraced(traced);
      const losses = async (size: number): Promise<number> => {
        const population = await started(program, theta, size);
        const particles = Int32Array.from({ length: size }, (_, i) => i);
        const result = await population.advance({ particles, perturbation: { form: 'none', theta }, steps: 3 });
        await population.dispose();
        return result.lossSum[0];
      };
      const among = [await losses(2), await losses(5)];
      expectSame([among], [[await losses(1), await losses(1)]]);
      await program.dispose();
    },
    COMPILING,
  );

  test('populations of one program advance at the same time', async () => {
    const { theta } = CASES.network;
    const thetas = [theta, Float64Array.of(0.5, -2)];
    const advance = (population: Population, i: number): Promise<WindowResult> =>
      population.advance({ particles: ALL, perturbation: { form: 'none', theta: thetas[i] }, steps: 4 });
    const run = async (together: boolean): Promise<number[][][]> => {
      const populations = [await started(programs.network, theta), await started(programs.network, theta)];
      // Long enough for a window to give way to other work after its first step.
      await new Promise((resolve) => setTimeout(resolve, 80));
      if (together) return (await Promise.all(populations.map(advance))).map(numbersOf);
      return [numbersOf(await advance(populations[0], 0)), numbersOf(await advance(populations[1], 1))];
    };
    expect(await run(true)).toEqual(await run(false));
  });

  test('combine is the weighted sum of the noise that advance perturbs with', async () => {
    const weights = Float64Array.of(0.5, -2, 3, 0, 1e-3, 7);
    const expected = [0, 0];
    for (const i of ALL) {
      const noise = new Float64Array(2);
      fillNormals([KEYS[2 * i], KEYS[2 * i + 1]], noise);
      for (const j of [0, 1]) expected[j] += weights[i] * noise[j];
    }
    const got = [...(await programs.lorenz.combine(KEYS, weights))];
    if (compiled === true) {
      // Noise in float32: each number is within 5e-7 of the host's (docs/native-math.md).
      const bound = 5e-7 * weights.reduce((sum, weight) => sum + Math.abs(weight), 0);
      got.forEach((x, j) => expect(Math.abs(x - expected[j])).toBeLessThanOrEqual(bound));
    } else expect(got).toEqual(expected);
    await expect(programs.lorenz.combine(KEYS, Float64Array.of(1))).rejects.toThrow('expected 2 numbers, got 12');
  });

  test('misuse is named', async () => {
    const { theta } = CASES.lorenz;
    const perturbation = { form: 'none', theta } as const;
    const fresh = await programs.lorenz.createPopulation({ size: 3, seed: 1 });
    const one = Int32Array.of(1);
    await expect(fresh.advance({ particles: one, perturbation, steps: 1 })).rejects.toThrow(
      'particle 1 holds no state',
    );
    await expect(fresh.copy(one, Int32Array.of(2))).rejects.toThrow('particle 1 holds no state');
    const population = await started(programs.lorenz, theta, 3);
    const advance = (particles: Int32Array): Promise<unknown> =>
      population.advance({ particles, perturbation, steps: 1 });
    await expect(advance(Int32Array.of(0, 3))).rejects.toThrow('expected particles in [0, 3), got 3');
    await expect(advance(Int32Array.of(2, 2))).rejects.toThrow('got 2 twice');
    await expect(population.copy(Int32Array.of(0, 1), Int32Array.of(1, 2))).rejects.toThrow('both source and target');
    const short = { form: 'explicit', thetas: Float64Array.of(1, 2, 3) } as const;
    await expect(population.advance({ particles: one, perturbation: short, steps: 1 })).rejects.toThrow(
      'expected 2 numbers, got 3',
    );
    for (const steps of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
      const refused = population.advance({ particles: one, perturbation, steps });
      await expect(refused).rejects.toThrow(EngineError);
      await expect(refused).rejects.toThrow(`expected a positive whole number of steps, got ${steps}`);
    }
    const { 'state.x': _, ...rest } = await population.save();
    await expect(population.load(rest)).rejects.toThrow('expected an array "state.x" of shape [3], got none');
    // A refused call changes nothing and stops nothing.
    expect([...population.phases()]).toEqual([0, 0, 0]);
    await advance(Int32Array.of(0, 2));
    expect([...population.phases()]).toEqual([1, 0, 1]);
  });

  test('the event loop turns during a long window', async () => {
    const { theta } = CASES.lorenz;
    const population = await started(programs.lorenz, theta, 2);
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 1);
    const particles = Int32Array.of(0, 1);
    // Windows of twice as many steps each time, until one takes long.
    let steps = 400;
    for (let milliseconds = 0; milliseconds < 150; steps *= 2) {
      const start = Date.now();
      turns = 0;
      await population.advance({ particles, perturbation: { form: 'none', theta }, steps });
      milliseconds = Date.now() - start;
    }
    clearInterval(timer);
    expect(turns).toBeGreaterThanOrEqual(2);
  });
});

describe.each(ENGINES.filter(({ name }) => name.startsWith('tfjs')))('$name', ({ open, independent }) => {
  test.each([
    ['lorenz', 1000],
    ['network', 60],
  ] as const)(
    '%s: %d windows leave nothing on the device',
    async (name, windows) => {
      const engine = (await open()) as TfjsEngine;
      const { backend } = engine.device;
      const { traced, theta } = CASES[name];
      const before = backend.numDataIds();
      const program = await engine.compileTraced(traced);
      const population = await started(program, theta);
      const window = async (w: number): Promise<void> => {
        await population.advance({ particles: ALL, perturbation: gaussian(theta), steps: 1 });
        if (w % 10 === 3) {
          const some = Int32Array.of(1, 4);
          const perturbation = { form: 'none', theta } as const;
          await population.advance({ particles: some, perturbation, steps: 1 });
          await population.reset({ particles: some, workers: some, episodes: some, perturbation });
          await population.copy(Int32Array.of(0), Int32Array.of(5));
          await population.finish({ particles: some, perturbation });
          await population.load(await population.save());
        }
      };
      for (let w = 0; w < 20; w++) await window(w);
      const warm = backend.numDataIds();
      for (let w = 20; w < windows; w++) await window(w);
      expect(backend.numDataIds()).toBe(warm);
      await population.dispose();
      await program.dispose();
      expect(backend.numDataIds()).toBe(before);
    },
    30_000,
  );

  test('groups that fit a small memory give the numbers of one large group', async () => {
    const engine = (await open()) as TfjsEngine;
    const { traced, theta } = CASES.network;
    const run = async (
      workingSetBytes?: number,
    ): Promise<readonly [number, number[][], Record<string, number[][]>]> => {
      const program = await engine.compileTraced(traced, workingSetBytes === undefined ? {} : { workingSetBytes });
      const population = await started(program, theta);
      const request = { particles: Int32Array.of(5, 0, 1, 4, 3, 2), perturbation: gaussian(theta), steps: 3 };
      const result = numbersOf(await population.advance(request));
      const ends = Object.values(await population.finish(request)).map((row) => [...row]);
      await population.copy(Int32Array.of(5, 1), Int32Array.of(0, 3));
      // A whole group from another one, the other way round.
      await population.copy(Int32Array.of(5, 4), Int32Array.of(0, 1));
      const state = rowsOf(await population.save(), ALL);
      const group = program.groupSize('step');
      await population.dispose();
      await program.dispose();
      return [group, [...result, ...ends], state];
    };
    const one = await run();
    const several = await run(4 * (1 << 10));
    expect(one[0]).toBeGreaterThanOrEqual(SIZE);
    expect(several[0]).toBeLessThan(SIZE);
    if (independent) expect(several.slice(1)).toEqual(one.slice(1));
    else several[1].forEach((row, i) => expectClose(row, one[1][i], 1e-5));
  });
});
