/** Populations that do not fit into memory do what resident ones do, to the bit; what goes wrong on the way leaves no trace. */
import fs, { readdirSync, readlinkSync, statSync } from 'node:fs';
import os from 'node:os';
import { CancelledError, EngineError, StorageError, type Perturbation, type Population } from '../../src/contracts';
import { ChunkedRecords } from '../../src/engines/native/chunks';
import { NativeEngine, type NativeOptions } from '../../src/engines/native/engine';
import type { ChunkPlan } from '../../src/engines/native/memory';
import type { NativeUnrollProgram } from '../../src/engines/native/program';
import { traceProblem } from '../../src/graph/trace';
import { describeNative, removeFolders, temporaryFolder } from '../support/native';
import { bitsOf, run, SIZE as RUN_SIZE } from '../support/native-bits';
import { compileWalk, THETA_SIZE } from '../support/native-programs';
import { SMALL_PROBLEMS, spreadThetas } from '../support/registered-problems';

const SEED = 2 ** 33 + 7;
const THETA = Float64Array.of(0.5, -0.25, 1, 2, -4, 0.125);
const SIZE = 133;
const MODES = ['particle-major', 'lane-major'] as const;

const cache = describeNative === describe ? temporaryFolder() : '';
const environment = { ...process.env, OUTERLOOP_CACHE: cache };
const engines: NativeEngine[] = [];
afterEach(() => jest.restoreAllMocks());
afterAll(async () => {
  for (const engine of engines) await engine.dispose();
  removeFolders();
});

const all = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);
/** All of them, in an order that goes to and fro. */
const shuffled = (count: number, stride: number): Int32Array => all(count).map((i) => (i * stride + 5) % count);
const columns = (particles: Int32Array, episode = 0) => ({
  particles,
  workers: particles.map((p) => 3 * p),
  episodes: particles.map((p) => (p % 5) + episode),
});
const none: Perturbation = { form: 'none', theta: THETA };

async function open(options: NativeOptions = {}): Promise<NativeEngine> {
  const engine = await NativeEngine.open({ threads: 2, environment, ...options });
  engines.push(engine);
  return engine;
}

/** The program within the memory of so many records and what `threads` threads need. */
async function within(
  { driver, native, traced }: NativeUnrollProgram,
  records: number,
  threads = 1,
  notice?: (text: string) => void,
): Promise<NativeUnrollProgram> {
  const { scratch, record } = driver;
  const memoryBytes = threads * Math.max(scratch.init, scratch.step, scratch.finish) + records * record;
  const engine = await open({ memoryBytes, ...(notice === undefined ? {} : { notice }) });
  return engine.compileNative(traced, native);
}

/** Whole windows, parts in any order, episodes that begin anew, copies; all numbers that come back, and the end. */
async function script(population: Population, other: () => Promise<Population>): Promise<unknown[]> {
  const { size } = population;
  const gaussian = (count: number): Perturbation => ({
    form: 'gaussian',
    theta: THETA,
    sigma: 0.25,
    keys: Uint32Array.from({ length: 2 * count }, (_, i) => 2654435761 * (1 + (i >> 2)) + (i & 1)),
    signs: Int8Array.from(all(count), (i) => (i % 2 === 0 ? 1 : -1)),
  });
  const explicit = (count: number): Perturbation => ({
    form: 'explicit',
    thetas: Float64Array.from({ length: count * THETA_SIZE }, (_, at) => ((at * 37) % 101) / 8 - 6),
  });
  const said: unknown[] = [];
  const whole = all(size);
  const permuted = shuffled(size, 71);
  const every = whole.filter((p) => p % 3 === 1);
  const some = permuted.subarray(0, 40);
  await population.reset({ ...columns(whole), perturbation: none });
  said.push(await population.advance({ particles: whole, perturbation: gaussian(size), steps: 3 }));
  said.push(await population.advance({ particles: some, perturbation: explicit(some.length), steps: 2 }));
  said.push(await population.advance({ particles: permuted, perturbation: gaussian(size), steps: 1 }));
  await population.reset({ ...columns(some.subarray(0, 19), 9), perturbation: explicit(19) });
  said.push(population.phases(), await population.save());
  said.push(await population.advance({ particles: every, perturbation: gaussian(every.length), steps: 2 }));
  // One source for many, sources behind and before their targets, within one block and not.
  await population.copy(Int32Array.of(7, 7, 7, 90, 132, 40), Int32Array.of(3, 60, 131, 0, 8, 41));
  said.push(await population.advance({ particles: whole, perturbation: explicit(size), steps: 2 }));
  said.push(await population.finish({ particles: some, perturbation: explicit(some.length) }));
  said.push(await population.finish({ particles: whole, perturbation: gaussian(size) }));
  said.push(await population.advance({ particles: new Int32Array(0), perturbation: none, steps: 2 }));
  const bundle = await population.save();
  said.push(bundle);
  // What one has saved, the other one goes on with.
  const twin = await other();
  await twin.load(bundle);
  said.push(await twin.advance({ particles: permuted, perturbation: none, steps: 2 }), await twin.save());
  await twin.dispose();
  return said;
}

describeNative.each(MODES)('%s', (mode) => {
  /** Blocks of lanes are so many that they need more than a thread does. */
  const size = mode === 'lane-major' ? 1001 : SIZE;
  let resident: NativeUnrollProgram;
  let expected: unknown[];
  const create = (program: NativeUnrollProgram): Promise<Population> => program.createPopulation({ size, seed: SEED });
  beforeAll(async () => {
    resident = await compileWalk(await open(), mode);
    const population = await create(resident);
    expected = await script(population, () => create(resident));
    await population.dispose();
  }, 60_000);

  test.each([
    [1, 1],
    [2, 1],
    [3, 1],
    [4, 2],
  ])('%i records at a time on %i threads: the same bits', async (records, threads) => {
    const notices: string[] = [];
    const program = await within(resident, records, threads, (text) => notices.push(text));
    const population = await create(program);
    const begins = ['The population runs in ', ...(threads === 1 ? ['Windows run on 1 of 2 threads'] : [])].reverse();
    const announced = [...begins];
    const check = (): void => {
      expect(notices.map((text, i) => text.slice(0, announced.at(i)?.length))).toEqual(announced);
    };
    check();
    // From chunks to resident, and the other way round.
    expect(await script(population, () => create(resident))).toEqual(expected);
    const back = await create(resident);
    expect(await script(back, () => create(program))).toEqual(expected);
    await population.dispose();
    // The second population was announced, too; no call was.
    announced.push(...begins);
    check();
    await program.dispose();
  });

  test('a window that is cancelled has not been, and the event loop turns', async () => {
    const program = await within(await compileWalk(engines[0], mode, { idle: 20_000 }), 3);
    const population = await create(program);
    await population.reset({ ...columns(all(size)), perturbation: none });
    await population.advance({ particles: all(30), perturbation: none, steps: 1 });
    const before = await population.save();
    let turns = 0;
    const controller = new AbortController();
    const ticks = setInterval(() => {
      if (++turns === 10) controller.abort();
    }, 2);
    const { signal } = controller;
    const start = Date.now();
    const window = population.advance({ particles: all(size), perturbation: none, steps: 100_000, signal });
    await expect(window).rejects.toThrow(CancelledError);
    clearInterval(ticks);
    expect(Date.now() - start).toBeLessThan(10_000);
    expect(await population.save()).toEqual(before);
    // Nor does a call that comes too late begin.
    await expect(population.reset({ ...columns(all(size), 1), perturbation: none, signal })).rejects.toThrow(
      'reset was cancelled before its first particle',
    );
    await expect(population.finish({ particles: all(size), perturbation: none, signal })).rejects.toThrow(
      CancelledError,
    );
    expect(await population.save()).toEqual(before);
    await population.dispose();
  }, 60_000);

  test('a signal in a later chunk undoes those before it', async () => {
    const population = await create(await within(resident, 2));
    await population.reset({ ...columns(all(size)), perturbation: none });
    const before = await population.save();
    const { write } = fs;
    for (const call of ['advance', 'reset'] as const) {
      const controller = new AbortController();
      let writes = 0;
      jest.spyOn(fs, 'write').mockImplementation((...args: Parameters<typeof write>) => {
        if (++writes === 3) controller.abort();
        write(...args);
      });
      const request = { ...columns(all(size), 1), perturbation: none, steps: 2, signal: controller.signal };
      await expect(population[call](request)).rejects.toThrow(`${call} was cancelled within its ${size} particles`);
      jest.restoreAllMocks();
      expect(writes).toBeGreaterThanOrEqual(3);
      expect(await population.save()).toEqual(before);
    }
    await population.dispose();
  });

  test('a disk that fills up is a typed error, and the call has not been', async () => {
    const [program, twin] = [await within(resident, 2), await create(resident)];
    const population = await create(program);
    for (const each of [population, twin]) await each.reset({ ...columns(all(size)), perturbation: none });
    const window = { particles: shuffled(size, 71), perturbation: none, steps: 2 };
    await population.advance(window);
    await twin.advance(window);
    const before = await population.save();
    const other = await twin.save();
    other['state.x'].data.fill(1);
    const calls: Record<string, () => Promise<unknown>> = {
      advance: () => population.advance(window),
      reset: () => population.reset({ ...columns(all(size), 2), perturbation: none }),
      copy: () =>
        population.copy(
          all(60),
          all(60).map((p) => size - 1 - p),
        ),
      load: () => population.load(other),
    };
    const { write } = fs;
    for (const [name, call] of Object.entries(calls)) {
      let writes = 0;
      // The first two are whole, the third does a part, the next one nothing.
      jest.spyOn(fs, 'write').mockImplementation(((...args: [number, Uint8Array, number, number, number, never]) => {
        const [descriptor, bytes, offset, length, position, callback] = args;
        writes += 1;
        if (writes <= 2) write(...args);
        else if (writes === 3) write(descriptor, bytes, offset, length >> 1, position, callback);
        else (callback as (error: Error) => void)(Object.assign(new Error('no space'), { code: 'ENOSPC', errno: -28 }));
      }) as unknown as typeof write);
      const failed = call();
      await expect(failed).rejects.toThrow(StorageError);
      await expect(failed).rejects.toThrow(
        /could not be written in .*: the disk is full \(ENOSPC\)\. The population is as it was/,
      );
      jest.restoreAllMocks();
      expect([name, writes > 3]).toEqual([name, true]);
      expect(await population.save()).toEqual(before);
      expect(population.phases()).toEqual(twin.phases());
    }
    // Once there is room, it goes on.
    expect(await population.advance(window)).toEqual(await twin.advance(window));
    expect(await population.save()).toEqual(await twin.save());
    for (const each of [population, twin]) await each.dispose();
  });
});

/** Types of file systems, of Linux's magic.h. */
const EXT4 = 0xef53;
const TMPFS = 0x01021994;

describeNative('the file', () => {
  const folder = describeNative === describe ? temporaryFolder() : '';
  let resident: NativeUnrollProgram;
  beforeAll(async () => {
    resident = await compileWalk(await open(), 'particle-major');
  }, 60_000);
  beforeEach(() => {
    jest.spyOn(os, 'tmpdir').mockReturnValue(folder);
  });

  /** @param free KiB */
  function fileSystem(type: number, free: number): void {
    const stats = { type, bsize: 1024, blocks: free, bfree: free, bavail: free, files: 1, ffree: 1 };
    jest.spyOn(fs, 'statfsSync').mockReturnValue(stats);
  }

  /** Open files that lay in the folder. */
  const files = (): string[] =>
    readdirSync('/proc/self/fd').filter((descriptor) => {
      try {
        return readlinkSync(`/proc/self/fd/${descriptor}`).startsWith(folder);
      } catch {
        return false;
      }
    });

  test('lies in TMPDIR without a name, for this user alone, and goes with the population', async () => {
    const notices: string[] = [];
    const program = await within(resident, 4, 2, (text) => notices.push(text));
    const population = await program.createPopulation({ size: SIZE, seed: SEED });
    expect(readdirSync(folder)).toEqual([]);
    // 4 records of 256 bytes are two buffers of two: 67 chunks for 133 particles; 67 pages of 512 bytes, twice.
    expect(notices).toEqual([
      expect.stringMatching(
        new RegExp(
          `^The population runs in 67 chunks of at most 2 particles: the states of 133 particles need 33\\.3 KiB of memory, ` +
            `there are [\\d.]+ KiB for them and the threads\\. They are kept in a file of 67\\.0 KiB in ${folder}`,
        ),
      ),
    ]);
    if (process.platform === 'linux') {
      const [descriptor, ...more] = files();
      expect(more).toEqual([]);
      const { mode, nlink, size } = statSync(`/proc/self/fd/${descriptor}`);
      expect([(mode & 0o777).toString(8), nlink, size]).toEqual(['600', 0, 67 * 1024]);
    }
    await population.dispose();
    if (process.platform === 'linux') expect(files()).toEqual([]);
    await population.dispose();
    await expect(population.save()).rejects.toThrow('the population was disposed of');
  });

  test('a folder without room for it is refused with the numbers', async () => {
    const program = await within(resident, 4, 2);
    const create = (): Promise<Population> => program.createPopulation({ size: SIZE, seed: SEED });
    fileSystem(EXT4, 66);
    const refused = create();
    await expect(refused).rejects.toThrow(EngineError);
    await expect(refused).rejects.toThrow(
      /^the states of 133 particles need 33\.3 KiB of memory, there are [\d.]+ KiB .*in a file they need 67\.0 KiB, and .* has 66\.0 KiB left\. Allow more memory \(--memory\), use fewer particles, or set TMPDIR/,
    );
    fileSystem(EXT4, 67);
    await (await create()).dispose();
    jest.mocked(fs.statfsSync).mockRestore();
    jest.spyOn(os, 'tmpdir').mockReturnValue(`${folder}/absent`);
    await expect(create()).rejects.toThrow(/no file for them can be made in .*absent \(ENOENT\)\. Allow/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a folder in memory is one of what memory is left, and the notice says so', async () => {
    if (process.platform !== 'linux') return;
    fileSystem(TMPFS, 2 ** 50);
    const notices: string[] = [];
    const program = await within(resident, 4, 2, (text) => notices.push(text));
    await (await program.createPopulation({ size: SIZE, seed: SEED })).dispose();
    expect(notices[0]).toContain(`${folder} (which lies in memory: set TMPDIR to a folder on a disk)`);
    // 2⁴⁵ particles would have room in the file system, whose size says nothing.
    const plan: ChunkPlan = {
      records: 2 ** 40,
      pageRecords: 2 ** 20,
      pages: 1,
      buffers: 1,
      chunks: 2 ** 20,
      memoryBytes: 1,
    };
    expect(() => new ChunkedRecords(plan, resident.driver, resident.runtime, 2 ** 40)).toThrow(
      /which lies in memory, has [\d.]+ [KMG]iB left/,
    );
  });
});

describeNative('pages', () => {
  const RECORD = 64;
  /** Numbers of a particle: 16 a record of one, 2 in one of 8 lanes. */
  const layouts = { 'one particle a record': 1, '8 lanes a record': 8 } as const;
  const rows = Object.entries(layouts).flatMap(([name, lanes]) =>
    (
      [
        [1, 1, 1],
        [1, 4, 2],
        [3, 1, 1],
        [3, 2, 2],
        [2, 5, 2],
      ] as const
    ).map(([pageRecords, pages, buffers]) => ({ name, lanes, pageRecords, pages, buffers })),
  );

  test.each(rows)(
    '$name: pages of $pageRecords, $pages at a time in $buffers buffers hold what a plain array holds',
    async ({ lanes, pageRecords, pages, buffers }) => {
      const { runtime } = await open();
      const records = 23;
      const size = records * lanes - (lanes >> 1);
      const width = RECORD / 4 / lanes;
      const driver = { sources: [], scratch: { init: 0, step: 0, finish: 0 }, record: RECORD, lanes };
      const plan = { records, pageRecords, pages, buffers, chunks: 0, memoryBytes: 0 };
      const chunked = new ChunkedRecords(plan, driver, runtime, size);
      const model = new Float32Array(size * width);
      const place = (particle: number, k: number): number =>
        Math.floor(particle / lanes) * (RECORD / 4) + k * lanes + (particle % lanes);
      const check = async (particles: Int32Array, keep: boolean, next: (particle: number, k: number) => number) => {
        const seen: number[] = [];
        let active = 0;
        const change = chunked.each(particles, keep, async ({ memory, entries, particles: local, size: here }) => {
          expect(++active).toBeLessThanOrEqual(buffers);
          const numbers = new Float32Array(runtime.koffi.view(memory, pages * pageRecords * RECORD));
          entries.forEach((entry, i) => {
            const particle = particles[entry];
            seen.push(particle);
            expect(local[i]).toBeLessThan(here);
            expect(here).toBeLessThanOrEqual(pages * pageRecords * lanes);
            for (let k = 0; k < width; k++) {
              expect(numbers[place(local[i], k)]).toBe(model[particle * width + k]);
              numbers[place(local[i], k)] = next(particle, k);
            }
          });
          await new Promise((resolve) => setTimeout(resolve, particles[0] % 3));
          active--;
          if (seen.length > 2 * size) throw new Error('never');
        });
        await change;
        expect(seen.sort((a, b) => a - b)).toEqual([...particles].sort((a, b) => a - b));
        if (keep) for (const p of particles) for (let k = 0; k < width; k++) model[p * width + k] = next(p, k);
      };
      const whole = all(size);
      await check(whole, true, (particle, k) => 100 * particle + k + 1);
      await check(
        whole.filter((p) => p % 7 < 2),
        true,
        (particle, k) => -particle - k / 8,
      );
      await check(whole.slice().reverse(), false, () => NaN);
      await check(Int32Array.of(size - 1, 0, 5), true, (particle, k) => particle + 1000 * k);
      await check(whole.slice(size >> 1), true, (particle, k) => k - particle);
      // One that fails keeps nothing, whatever was through.
      let calls = 0;
      const failing = chunked.each(whole, true, ({ memory }) => {
        new Float32Array(runtime.koffi.view(memory, RECORD)).fill(7);
        return ++calls === 3 ? Promise.reject(new Error('the third')) : Promise.resolve();
      });
      await expect(failing).rejects.toThrow('the third');
      const [from, to] = [Int32Array.of(5, size - 1, 5, 2, 6), Int32Array.of(0, 1, size - 2, 17, 4)];
      await chunked.copy(from, to);
      from.forEach((source, i) => {
        model.copyWithin(to[i] * width, source * width, (source + 1) * width);
      });
      await check(whole, false, () => 0);
      chunked.close();
    },
  );
});

describeNative('registered problems', () => {
  // One in either mode, as the cost rule has it.
  const names = ['lorenz', 'mlp, SGD with momentum on a schedule'];
  test.each(SMALL_PROBLEMS.filter(({ name }) => names.includes(name)))(
    '$name',
    async ({ problem }) => {
      const traced = traceProblem(await problem());
      const program = await (await open()).compileTraced(traced);
      const thetas = spreadThetas(traced, RUN_SIZE, 0.05);
      const expected = bitsOf(await run(program, thetas));
      const records = Math.ceil(RUN_SIZE / program.driver.lanes);
      expect(records).toBeGreaterThan(1);
      for (const room of [1, Math.ceil(records / 2)].filter((n) => n < records)) {
        const notices: string[] = [];
        const chunked = await within(program, room, 1, (text) => notices.push(text));
        expect(bitsOf(await run(chunked, thetas))).toBe(expected);
        expect(notices.at(-1)).toContain(' chunks of ');
      }
    },
    60_000,
  );
});
