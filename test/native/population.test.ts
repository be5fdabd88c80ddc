/** Populations and windows of the native engine, on programs written by hand (test/support/native-programs.ts). */
import { CancelledError, type Perturbation, type WindowResult } from '../../src/contracts';
import { NativeEngine } from '../../src/engines/native/engine';
import type { NativeUnrollProgram } from '../../src/engines/native/program';
import { fillNormals } from '../../src/random';
import { describeNative, removeFolders, temporaryFolder } from '../support/native';
import { compileWalk, THETA_SIZE, Walker } from '../support/native-programs';

const SEED = 2 ** 40 + 12345;
const THETA = Float64Array.of(0.5, -0.25, 1, 2, -4, 0.125);
const MODES = ['particle-major', 'lane-major'] as const;

const cache = describeNative === describe ? temporaryFolder() : '';
const environment = { ...process.env, OUTERLOOP_CACHE: cache };
afterAll(removeFolders);

const all = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

function numbersOf({ lossSum, lastLoss, metricSums }: WindowResult): number[][] {
  return [lossSum, lastLoss, ...Object.values(metricSums)].map((values) => [...values]);
}

describeNative.each(MODES)('%s', (mode) => {
  let engine: NativeEngine;
  let program: NativeUnrollProgram;
  beforeAll(async () => {
    engine = await NativeEngine.open({ threads: 2, environment });
    program = await compileWalk(engine, mode);
  }, 60_000);
  afterAll(() => engine.dispose());

  const SIZE = 53;
  const workers = all(SIZE).map((i) => 3 * i);
  const episodes = all(SIZE).map((i) => i % 5);

  const walkers = (): Walker[] => Array.from(all(SIZE), (i) => new Walker(mode, SEED, workers[i], episodes[i]));
  async function started(perturbation: Perturbation = { form: 'none', theta: THETA }, of = program) {
    const population = await of.createPopulation({ size: SIZE, seed: SEED });
    await population.reset({ particles: all(SIZE), workers, episodes, perturbation });
    return population;
  }

  test('does what the same walk in JavaScript does, in any order and grouping, to the bit', async () => {
    const population = await started();
    const expected = walkers();
    const theta = { form: 'none', theta: THETA } as const;
    // The whole population; a block within it; the ragged end; a few out of order; one.
    const groups = [
      all(SIZE),
      all(16).map((i) => i + 16),
      all(SIZE - 48).map((i) => i + 48),
      Int32Array.of(52, 0, 17, 33, 5, 31),
      Int32Array.of(40),
      all(SIZE).reverse(),
    ];
    for (const [k, particles] of groups.entries()) {
      const steps = k + 3;
      const result = await population.advance({ particles, perturbation: theta, steps });
      const sums = Array.from(particles, (particle) => {
        const rows = Array.from({ length: steps }, () => expected[particle].step(THETA));
        return [0, 1, 2].map((column) => rows.reduce((sum, row) => sum + row[column], 0)).concat(rows[steps - 1][0]);
      });
      expect([...result.lossSum]).toEqual(sums.map((row) => row[0]));
      expect([...result.metricSums.last]).toEqual(sums.map((row) => row[1]));
      expect([...result.metricSums.tiny]).toEqual(sums.map((row) => row[2]));
      expect([...result.lastLoss]).toEqual(sums.map((row) => row[3]));
    }
    expect([...population.phases()]).toEqual(expected.map(({ t }) => t));
    const bundle = await population.save();
    for (const name of Object.keys(expected[0].state)) {
      expect([...bundle[name].data]).toEqual(expected.flatMap(({ state }) => state[name]));
    }
    expect(bundle['state.x'].shape).toEqual([SIZE, 2, 3]);
    const some = Int32Array.of(7, 50, 8);
    const ends = await population.finish({ particles: some, perturbation: theta });
    expect([...ends.end]).toEqual(Array.from(some, (particle) => 2 * expected[particle].x[0]));
    await population.dispose();
  });

  test('a saved population goes on where it was; a copy is the other particle', async () => {
    const population = await started();
    const perturbation = { form: 'none', theta: THETA } as const;
    await population.advance({ particles: Int32Array.of(3, 30, 52), perturbation, steps: 4 });
    const bundle = await population.save();
    const other = await program.createPopulation({ size: SIZE, seed: SEED });
    await other.load(bundle);
    expect(await other.save()).toEqual(bundle);
    const request = { particles: all(SIZE), perturbation, steps: 2 };
    expect(numbersOf(await other.advance(request))).toEqual(numbersOf(await population.advance(request)));

    await other.copy(Int32Array.of(3, 30, 1), Int32Array.of(0, 52, 33));
    const before = await population.save();
    const after = await other.save();
    for (const [name, { data }] of Object.entries(after)) {
      const width = data.length / SIZE;
      const row = (of: typeof after, p: number): number[] => [...of[name].data.subarray(p * width, (p + 1) * width)];
      const source = new Map([
        [0, 3],
        [52, 30],
        [33, 1],
      ]);
      for (const p of all(SIZE)) expect(row(after, p)).toEqual(row(before, source.get(p) ?? p));
    }
  });

  test('θ of every form, and the sums of the same noise', async () => {
    const keys = Uint32Array.from({ length: 2 * SIZE }, (_, i) => 2654435761 * (1 + (i >> 2)) + (i & 1));
    const signs = Int8Array.from(all(SIZE), (i) => (i % 2 === 0 ? 1 : -1));
    const sigma = 0.3;
    const noise = Array.from(all(SIZE), (i) => {
      const row = new Float64Array(THETA_SIZE);
      fillNormals([keys[2 * i], keys[2 * i + 1]], row);
      return row;
    });
    const thetas = Float64Array.from({ length: SIZE * THETA_SIZE }, (_, at) => {
      const [i, j] = [Math.floor(at / THETA_SIZE), at % THETA_SIZE];
      return THETA[j] + signs[i] * sigma * noise[i][j];
    });
    const gaussian = { form: 'gaussian', theta: THETA, sigma, keys, signs } as const;
    const explicit = { form: 'explicit', thetas } as const;
    const states: Float32Array[] = [];
    for (const perturbation of [gaussian, explicit]) {
      const population = await started(perturbation);
      await population.advance({ particles: all(SIZE), perturbation, steps: 1 });
      states.push((await population.save())['state.x'].data as Float32Array);
    }
    // x = table + θ, both of size below 16: θ rounded to float32 (2⁻²²), the sum (2⁻²¹), noise 2⁻²¹ of 6·0.3.
    states[0].forEach((value, at) => expect(Math.abs(value - states[1][at])).toBeLessThan(2 ** -19));
    // Partners differ by twice their noise.
    for (let j = 0; j < THETA_SIZE; j++) {
      expect(states[0][j] - states[0][THETA_SIZE + j]).toBeCloseTo(2 * sigma * noise[0][j], 4);
    }

    const weights = Float64Array.from(all(SIZE), (i) => (i - 20) / 8);
    const sum = await program.combine(keys, weights);
    for (let j = 0; j < THETA_SIZE; j++) {
      const terms = noise.map((row, i) => weights[i] * row[j]);
      // Noise is float32: 2⁻²¹ of each term's size at most.
      const bound = noise.reduce((total, _, i) => total + Math.abs(weights[i]) * 6 * 2 ** -21, 0);
      expect(Math.abs(sum[j] - terms.reduce((a, b) => a + b, 0))).toBeLessThan(bound);
    }
    await expect(program.combine(keys, Float64Array.of(1))).rejects.toThrow('expected 2 numbers, got 106');
  });

  test('1, 2 and 4 threads give the same bits, and so does the call on JavaScript’s own thread', async () => {
    const keys = Uint32Array.from({ length: 2 * SIZE }, (_, i) => i * 40503);
    const perturbation: Perturbation = {
      form: 'gaussian',
      theta: THETA,
      sigma: 0.1,
      keys,
      signs: new Int8Array(SIZE).fill(1),
    };
    const runs = [];
    for (const threads of [1, 2, 4]) {
      const other = await NativeEngine.open({ threads, environment });
      const walk = await compileWalk(other, mode);
      const population = await started(perturbation, walk);
      const results: number[][][] = [];
      // From the second on, windows of this size are known to be short and are called at once.
      for (let w = 0; w < 4; w++) {
        results.push(numbersOf(await population.advance({ particles: all(SIZE), perturbation, steps: 3 })));
      }
      runs.push([results, await population.save()]);
      await other.dispose();
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[2]).toEqual(runs[0]);
  });

  test('subnormal numbers are zero within a window, and only there', async () => {
    const before = engine.runtime.floatMode();
    const population = await started();
    const perturbation = { form: 'none', theta: THETA } as const;
    for (let w = 0; w < 3; w++) {
      const { metricSums } = await population.advance({ particles: all(4), perturbation, steps: 2 });
      expect([...metricSums.tiny]).toEqual([0, 0, 0, 0]);
    }
    expect(engine.runtime.floatMode()).toBe(before);
    expect(2 ** -126 * 0.5 * 2 ** -900).toBeGreaterThan(0);
    expect(Math.fround(2 ** -127)).toBeGreaterThan(0);
  });

  test('the event loop turns during a window, and a window that is cancelled has not been', async () => {
    const slow = await compileWalk(engine, mode, { idle: 20_000 });
    const [population, twin] = [await started(undefined, slow), await started(undefined, slow)];
    const perturbation = { form: 'none', theta: THETA } as const;
    const request = { particles: all(SIZE), perturbation, steps: 2 };
    await population.advance(request);
    await twin.advance(request);
    const before = await population.save();

    for (const particles of [all(SIZE), all(20).reverse()]) {
      // The tenth turn of the event loop cancels: a loop that is blocked does not get there.
      let turns = 0;
      const controller = new AbortController();
      const ticks = setInterval(() => {
        if (++turns === 10) controller.abort();
      }, 2);
      const long = { particles, perturbation, steps: 100_000, signal: controller.signal };
      const start = Date.now();
      await expect(population.advance(long)).rejects.toThrow(CancelledError);
      clearInterval(ticks);
      // The whole window would take minutes; a step takes well below a millisecond.
      expect(Date.now() - start).toBeLessThan(10_000);
      expect(turns).toBeGreaterThanOrEqual(10);
      expect(await population.save()).toEqual(before);
    }
    expect(numbersOf(await population.advance(request))).toEqual(numbersOf(await twin.advance(request)));
    await slow.dispose();
  }, 60_000);

  test('two populations at once, calls in the order in which they were made', async () => {
    const perturbation = { form: 'none', theta: THETA } as const;
    const request = { particles: all(SIZE), perturbation, steps: 3 };
    const [one, two, alone] = [await started(), await started(), await started()];
    const together = await Promise.all([one, two, one, two].map((population) => population.advance(request)));
    const expected = [await alone.advance(request), await alone.advance(request)].map(numbersOf);
    expect(together.map(numbersOf)).toEqual([expected[0], expected[0], expected[1], expected[1]]);
  });

  test('misuse is named and changes nothing', async () => {
    const population = await started();
    const perturbation = { form: 'none', theta: THETA } as const;
    const before = await population.save();
    const advance = (particles: Int32Array): Promise<unknown> =>
      population.advance({ particles, perturbation, steps: 1 });
    await expect(advance(Int32Array.of(SIZE))).rejects.toThrow('expected particles in [0, 53), got 53');
    await expect(advance(Int32Array.of(2, 2))).rejects.toThrow('got 2 twice');
    const short = { form: 'none', theta: Float64Array.of(1) } as const;
    await expect(population.advance({ particles: all(1), perturbation: short, steps: 1 })).rejects.toThrow(
      'expected 6 numbers, got 1',
    );
    const reset = { particles: all(2), workers: all(1), episodes: all(2), perturbation };
    await expect(population.reset(reset)).rejects.toThrow('reset, workers: expected 2 numbers, got 1');
    expect(await population.save()).toEqual(before);
    await population.dispose();
    await expect(advance(all(1))).rejects.toThrow('the population was disposed of');
    await expect(program.createPopulation({ size: 0, seed: 1 })).rejects.toThrow('positive whole number of particles');
  });
});
