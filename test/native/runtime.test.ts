/** The threads of the native engine, on jobs written in C here. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { findCompiler, LibraryCache, type Compiler } from '../../src/engines/native/compile';
import {
  CODES,
  loadKoffi,
  loadLibrary,
  Runtime,
  type Koffi,
  type NativeLibrary,
} from '../../src/engines/native/runtime';
import { describeNative, removeFolders, temporaryFolder } from '../support/native';

afterAll(removeFolders);

const JOBS = `
#include <stdint.h>
#include <time.h>
struct record { int32_t runs[1000]; int64_t scratch[1000]; int32_t product[1000]; };
/* Writes down that it ran, with what memory, and whether a subnormal product is one. */
static int note_one(void *context, int64_t i, void *scratch) {
  struct record *r = context;
  r->runs[i]++;
  r->scratch[i] = (int64_t)(uintptr_t)scratch;
  /* Others in the same memory at the same time would be seen. */
  volatile int64_t *own = scratch;
  for (int k = 0; k < 500; k++) own[k] = i;
  for (int k = 0; k < 500; k++) if (own[k] != i) return 99;
  volatile float small = 0x1p-126f;
  r->product[i] = small * 0.5f != 0;
  return 0;
}
static int fail_one(void *context, int64_t i, void *scratch) { return i == 7 ? 42 : 0; }
static int nap_one(void *context, int64_t i, void *scratch) {
  struct timespec time = {0, 2000000};
  nanosleep(&time, 0);
  __atomic_fetch_add((int32_t *)context, 1, __ATOMIC_SEQ_CST);
  return 0;
}
#define EACH(job) int job(void *context, int64_t first, int64_t count, void *scratch) { \\
  int code = 0; \\
  for (int64_t i = first; i < first + count && code == 0; i++) code = job##_one(context, i, scratch); \\
  return code; \\
}
EACH(note)
EACH(fail)
EACH(nap)
`;
const SCRATCH = 4096;

describeNative('threads', () => {
  let koffi: Koffi;
  let compiler: Compiler;
  let cache: LibraryCache;
  let library: NativeLibrary;
  const folder = describeNative === describe ? temporaryFolder() : '';
  beforeAll(async () => {
    koffi = await loadKoffi();
    compiler = await findCompiler();
    cache = await LibraryCache.open(join(folder, 'native'));
    library = await loadLibrary(koffi, compiler, cache, JOBS, { name: 'jobs', baseline: true });
  }, 60_000);

  const open = (threads: number): Promise<Runtime> => Runtime.open(koffi, compiler, cache, threads);
  const task = (job: string, context: ArrayBufferView, jobs: number, threads: number) => ({
    job: library.symbol(job),
    context: koffi.address(context),
    jobs,
    scratch: SCRATCH,
    threads,
    flush: true,
    arrays: [context],
  });

  test.each([1, 2, 4, 9])('%d threads run every job once, each in memory of its own', async (threads) => {
    const runtime = await open(threads);
    expect(runtime.threads).toBe(threads);
    const mode = runtime.floatMode();
    for (const jobs of [0, 1, 3, 1000]) {
      for (const now of [true, false]) {
        for (const flush of [true, false]) {
          const memory = new ArrayBuffer(16_000);
          const given = { ...task('note', new Uint8Array(memory), jobs, threads), flush };
          const { code } = now ? runtime.runNow(given) : await runtime.run(given);
          expect(code).toBe(CODES.ok);
          const runs = new Int32Array(memory, 0, 1000);
          expect(runs.every((count, i) => count === (i < jobs ? 1 : 0))).toBe(true);
          const scratch = [...new Set(new BigInt64Array(memory, 4000, 1000).slice(0, jobs))];
          expect(scratch.length).toBeLessThanOrEqual(Math.min(threads, jobs));
          expect(scratch.every((address) => address % 64n === 0n)).toBe(true);
          expect(new Int32Array(memory, 12_000, 1000).slice(0, jobs).every((x) => x === (flush ? 0 : 1))).toBe(true);
          expect(runtime.floatMode()).toBe(mode);
        }
      }
    }
    await runtime.close();
    await expect(runtime.run(task('note', new Uint8Array(16_000), 1, 1))).rejects.toThrow('the engine is closed');
  });

  test('many calls after one another, asleep and awake', async () => {
    const runtime = await open(2);
    const count = new Int32Array(4000);
    for (let round = 0; round < 300; round++) {
      expect(runtime.runNow(task('note', count, 5, 2)).code).toBe(CODES.ok);
      // Threads fall asleep now and then.
      if (round % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
      else if (round % 3 === 0) expect((await runtime.run(task('note', count, 5, 2))).code).toBe(CODES.ok);
    }
    // 300 rounds, and once more for the 100 that 3 divides, but for rounds 0 and 150, which 50 divides.
    expect([...count.subarray(0, 6)]).toEqual([398, 398, 398, 398, 398, 0]);
    await runtime.close();
  });

  test('the code of a job that fails is the code of the call', async () => {
    const runtime = await open(2);
    expect(runtime.runNow(task('fail', new Uint8Array(8), 100, 2)).code).toBe(42);
    expect((await runtime.run(task('fail', new Uint8Array(8), 100, 2))).code).toBe(42);
    expect((await runtime.run(task('fail', new Uint8Array(8), 7, 2))).code).toBe(CODES.ok);
    await runtime.close();
  });

  test('no job begins after a cancellation; the event loop turns meanwhile', async () => {
    const runtime = await open(2);
    const done = new Int32Array(1);
    const cancel = new Int32Array(1);
    // The tenth turn of the event loop cancels: a loop that is blocked does not get there.
    let turns = 0;
    const ticks = setInterval(() => {
      if (++turns === 10) Atomics.store(cancel, 0, 1);
    }, 2);
    const { code, nanoseconds } = await runtime.run({ ...task('nap', done, 10_000, 2), cancel });
    clearInterval(ticks);
    expect(code).toBe(CODES.cancelled);
    // All of them would be 10 s of naps on two threads; the ten turns are 20 ms at least.
    expect(done[0]).toBeLessThan(5000);
    expect(nanoseconds).toBeGreaterThan(10e6);
    expect(turns).toBeGreaterThanOrEqual(10);
    await runtime.close();
  });

  test('calls wait for one another', async () => {
    const runtime = await open(2);
    const [a, b] = [new Int32Array(1), new Int32Array(1)];
    const first = runtime.run(task('nap', a, 20, 2)).then(() => [a[0], b[0]]);
    const second = runtime.run(task('nap', b, 2, 2)).then(() => [a[0], b[0]]);
    expect(runtime.busy).toBe(true);
    expect(await Promise.all([first, second])).toEqual([
      [20, 0],
      [20, 2],
    ]);
    expect(runtime.busy).toBe(false);
    await runtime.close();
  });

  test('memory that the system does not have is an error', async () => {
    const runtime = await open(1);
    expect(() => runtime.map(2 ** 52)).toThrow('the system refused 4503599627370496 bytes');
    expect(runtime.runNow({ ...task('note', new Uint8Array(16_000), 1, 1), scratch: 2 ** 52 }).code).toBe(CODES.memory);
    expect((await runtime.run({ ...task('note', new Uint8Array(16_000), 1, 1), scratch: 2 ** 52 })).code).toBe(
      CODES.memory,
    );
    expect(runtime.runNow(task('note', new Uint8Array(16_000), 1, 1)).code).toBe(CODES.ok);
    const bytes = (3 << 20) + 5;
    const address = runtime.map(bytes);
    const view = new Uint8Array(koffi.view(address, bytes));
    expect(view[0] + view[bytes - 1]).toBe(0);
    view.fill(7);
    runtime.unmap(address, bytes);
    await runtime.close();
  });

  test.each([
    ['process.exit()', 'process.exit(3)', 3],
    ['an error that nobody catches', 'throw new Error("on purpose")', 1],
  ])(
    'a process that ends by %s in the middle of a call ends at once and cleanly',
    async (_, ending, expected) => {
      const script = join(__dirname, '../support/native-exit.js');
      const start = Date.now();
      const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
        const environment = { ...process.env, OUTERLOOP_CACHE: folder };
        const child = spawn(process.execPath, [script, JOBS, ending], { env: environment, stdio: 'ignore' });
        child.on('close', (exit, by) => resolve([exit, by]));
      });
      expect([code, signal]).toEqual([expected, null]);
      // The call would take 20 s.
      expect(Date.now() - start).toBeLessThan(15_000);
    },
    30_000,
  );
});
