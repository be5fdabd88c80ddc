/**
 * Particles in native memory: one record each, or one a block of lanes. A call of the engine is one call of compiled code
 * for all particles of the request.
 *
 * Cancelling: a window that has a signal keeps the records that it overwrites, so that it can be undone, where that costs
 * little beside the window (`WATCHED`). A window too short for that runs to its end, which is then not far.
 *
 * Records that do not fit into memory are gone through chunk by chunk (chunks.ts): a chunk is a request whose particles and
 * columns are those of the chunk.
 */
import {
  CancelledError,
  EngineError,
  type ArrayBundle,
  type ParticleSelection,
  type Population,
  type ResetRequest,
  type WindowResult,
} from '../../contracts';
import { sizeOf, type ValueType } from '../../graph/ir';
import { seedKey } from '../../random';
import { checkSignal } from '../shared/cancel';
import { bundleArray, checkCopy, checkSteps, ParticleTable } from '../shared/particles';
import { checkPerturbation } from '../shared/perturbation';
import { Sequence } from '../shared/scheduling';
import { ChunkedRecords, type Chunk } from './chunks';
import { planMemory } from './memory';
import { Pace } from './pace';
import { codeError, SHORT_NANOSECONDS, type NativeUnrollProgram } from './program';
import { leafWords, particleWords } from './records';
import { REQUEST_FIELDS, type RequestField } from './render/request';
import { ResultSpace } from './results';
import { CODES, type Address, type Ran, type Task } from './runtime';
import { columnOf, perturbationOf } from './selection';

/** When a window is watched for its signal: copying its records takes this share of it at most, or it takes this long. */
const WATCHED = { share: 0.02, nanoseconds: 1e9, copyBytesPerNanosecond: 4 };

/** So much work is done by the calling thread alone: waking another one, and waiting for it, may take as long. */
const ALONE_NANOSECONDS = 10_000;

const FIELD = Object.fromEntries(REQUEST_FIELDS.map((name, i) => [name, i])) as Record<RequestField, number>;

type Job = 'reset' | 'advance' | 'finish' | 'restore';

type StateArray = Float32Array | Int32Array | Uint8Array;

/** Where a call finds its records, and a `struct ol_request` that says so. */
interface Place {
  readonly words: BigInt64Array;
  /** The same bytes. */
  readonly doubles: Float64Array;
  readonly address: Address;
}

/** Columns by entry of a request rather than by particle. */
interface Fresh {
  readonly workers: Int32Array;
  readonly episodes: Int32Array;
  readonly t: Int32Array;
}

/** A request in native form, and everything that its addresses point to. */
interface NativeRequest {
  readonly words: BigInt64Array;
  /** Of the words. */
  readonly context: Address;
  readonly arrays: ArrayBufferView[];
  /** double [results × count]. */
  readonly results: Float64Array;
}

interface Backup {
  readonly address: Address;
  readonly bytes: number;
  readonly begun: Uint8Array;
  readonly cancel: Int32Array;
}

export class NativePopulation implements Population {
  private readonly table: ParticleTable;
  private readonly sequence = new Sequence();
  private readonly columns: { readonly workers: Address; readonly episodes: Address; readonly t: Address };
  /** Of resident records. */
  private readonly bytes: number;
  private readonly threads: number;
  /** Of resident records; 0 if there are none. */
  private memory: Address = 0n;
  /** Records that are not resident. */
  private readonly chunks: ChunkedRecords | undefined;
  private disposed = false;
  /** Known to be so; a particle that has a state keeps one. */
  private allStarted = false;
  private readonly resetPace = new Pace();
  private readonly advancePace = new Pace();
  private readonly finishPace = new Pace();
  private readonly results = new ResultSpace();
  /** For resident records, filled anew for each call: calls run one after the other. */
  private readonly place: Place;

  /** @throws EngineError if the particles fit neither into memory nor into a file, with the numbers. */
  constructor(
    private readonly program: NativeUnrollProgram,
    readonly size: number,
    private readonly seed: number,
    private readonly onDispose: () => void,
  ) {
    this.table = new ParticleTable(size);
    const { runtime, driver, limits } = program;
    const plan = planMemory({ size, driver, threads: runtime.threads, ...limits });
    this.threads = plan.threads;
    this.bytes = plan.chunks === undefined ? Math.max(1, Math.ceil(size / driver.lanes) * driver.record) : 0;
    if (plan.chunks === undefined) this.memory = runtime.map(this.bytes);
    else this.chunks = new ChunkedRecords(plan.chunks, driver, runtime, size, limits.notice);
    const address = (column: Int32Array): Address => runtime.koffi.address(column);
    const { workers, episodes, t } = this.table;
    this.columns = { workers: address(workers), episodes: address(episodes), t: address(t) };
    this.place = this.placeAt(this.memory, size);
  }

  reset(request: ResetRequest): Promise<void> {
    return this.inTurn('reset', async () => {
      const { particles, workers, episodes } = request;
      this.table.check('reset', particles, false);
      for (const [name, column] of Object.entries({ workers, episodes })) {
        if (column.length !== particles.length) {
          throw new EngineError(`reset, ${name}: expected ${particles.length} numbers, got ${column.length}.`);
        }
      }
      checkSignal(request.signal, 'reset', 'before its first particle');
      const t = new Int32Array(particles.length);
      const { init } = this.program.driver.scratch;
      if (this.chunks !== undefined) {
        await this.inChunks(this.chunks, {
          job: 'reset',
          request,
          rows: 0,
          scratch: init,
          fresh: { workers, episodes, t },
        });
      } else {
        const native = this.request(this.place, request, 0, { workers, episodes, t });
        await this.soon('reset', native, particles.length, init, this.resetPace);
      }
      for (let i = 0; i < particles.length; i++) this.table.start(particles[i], workers[i], episodes[i]);
    });
  }

  advance(request: ParticleSelection & { readonly steps: number }): Promise<WindowResult> {
    return this.inTurn('advance', async () => {
      const { particles, steps, signal } = request;
      const whole = this.check('advance', particles);
      checkSteps(steps);
      const { metrics, driver, runtime } = this.program;
      const m = particles.length;
      const rows = 2 + metrics.length;
      let results: Float64Array;
      if (this.chunks !== undefined) {
        checkSignal(signal, 'advance', 'before its first step');
        const { step } = driver.scratch;
        results = await this.inChunks(this.chunks, { job: 'advance', request, rows, scratch: step, steps });
      } else {
        const native = this.request(this.place, request, rows);
        ({ results } = native);
        native.words[FIELD.steps] = BigInt(steps);
        checkSignal(signal, 'advance', 'before its first step');
        if (this.advancePace.atMost(m, steps) < SHORT_NANOSECONDS && !runtime.busy) {
          const threads = this.threadsFor(this.advancePace.workOf(m, steps));
          this.advancePace.took(m, steps, this.runNow('advance', native, m, driver.scratch.step, threads));
        } else {
          const backup = signal === undefined ? undefined : this.backup(m, this.advancePace.likely(m, steps));
          this.advancePace.took(m, steps, await this.window(native, request, backup));
        }
      }
      if (whole) addToAll(this.table.t, steps);
      else for (let i = 0; i < m; i++) this.table.t[particles[i]] += steps;
      const column = (k: number): Float64Array => results.subarray(k * m, (k + 1) * m);
      return {
        lossSum: column(0),
        lastLoss: column(1),
        metricSums: Object.fromEntries(metrics.map((name, k) => [name, column(k + 2)])),
      };
    });
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    return this.inTurn('copy', async () => {
      checkCopy(this.table, from, to);
      const { runtime, driver } = this.program;
      if (this.chunks !== undefined) await this.chunks.copy(from, to);
      else {
        const address = (array: Int32Array): Address => runtime.koffi.address(array);
        const words = particleWords(this.memory, driver, address(from), address(to), from.length);
        await runtime.particleCopy(words, [from, to]);
      }
      for (let i = 0; i < from.length; i++) this.table.copy(from[i], to[i]);
    });
  }

  finish(request: ParticleSelection): Promise<Readonly<Record<string, Float64Array>>> {
    return this.inTurn('finish', async () => {
      const { particles } = request;
      const { finishes, driver } = this.program;
      const m = particles.length;
      checkSignal(request.signal, 'finish', 'before its first particle');
      if (finishes.length === 0) return {};
      this.check('finish', particles);
      const rows = finishes.length;
      const scratch = driver.scratch.finish;
      let results: Float64Array;
      if (this.chunks !== undefined) {
        results = await this.inChunks(this.chunks, { job: 'finish', request, rows, scratch });
      } else {
        const native = this.request(this.place, request, rows);
        ({ results } = native);
        await this.soon('finish', native, m, scratch, this.finishPace);
      }
      return Object.fromEntries(finishes.map((name, k) => [name, results.subarray(k * m, (k + 1) * m)]));
    });
  }

  phases(): Int32Array {
    return this.table.t.slice();
  }

  save(): Promise<ArrayBundle> {
    return this.inTurn('save', async () => {
      const bundle = this.table.save();
      const arrays = this.program.traced.state.map(({ path, type }) => {
        const data = this.hostArray('save', type);
        bundle[`state.${path}`] = { shape: [this.size, ...type.shape], data };
        return data;
      });
      await this.transfer(arrays, false);
      return bundle;
    });
  }

  load(bundle: ArrayBundle): Promise<void> {
    return this.inTurn('load', async () => {
      const arrays = this.program.traced.state.map(({ path, type }) => {
        const { data } = bundleArray(bundle, `state.${path}`, [this.size, ...type.shape]);
        const converted = this.hostArray('load', type);
        converted.set(data);
        return converted;
      });
      this.allStarted = false;
      if (this.chunks !== undefined) await this.transfer(arrays, true);
      this.table.load(bundle);
      if (this.chunks === undefined) await this.transfer(arrays, true);
    });
  }

  dispose(): Promise<void> {
    return this.sequence.run(() => {
      if (!this.disposed) {
        this.chunks?.close();
        if (this.chunks === undefined) this.program.runtime.unmap(this.memory, this.bytes);
      }
      this.disposed = true;
      this.memory = 0n;
      this.table.started.fill(0);
      this.onDispose();
      return Promise.resolve();
    });
  }

  /**
   * Whether the particles are all of the population, in order, which is found out quickly.
   * @throws EngineError unless they are distinct, in range and hold a state.
   */
  private check(call: string, particles: Int32Array): boolean {
    if (particles.length === this.size && ascending(particles)) {
      this.allStarted ||= !this.table.started.includes(0);
      if (this.allStarted) return true;
    }
    this.table.check(call, particles, true);
    return false;
  }

  /** @throws EngineError for a population that was disposed of. */
  private inTurn<T>(call: string, run: () => Promise<T>): Promise<T> {
    return this.sequence.run(() => {
      if (this.disposed) throw new EngineError(`${call}: the population was disposed of.`);
      return run();
    });
  }

  private placeAt(memory: Address, size: number): Place {
    const words = new BigInt64Array(REQUEST_FIELDS.length);
    const [seed0, seed1] = seedKey(this.seed);
    words[FIELD.seed0] = BigInt(seed0);
    words[FIELD.seed1] = BigInt(seed1);
    words[FIELD.size] = BigInt(size);
    words[FIELD.population] = memory;
    words[FIELD.tables] = this.program.tablesAddress;
    return { words, doubles: new Float64Array(words.buffer), address: this.program.runtime.koffi.address(words) };
  }

  private request(
    { words, doubles, address }: Place,
    { particles, perturbation }: Pick<ParticleSelection, 'particles' | 'perturbation'>,
    results: number,
    fresh?: Fresh,
  ): NativeRequest {
    const { koffi } = this.program.runtime;
    const { columns } = this;
    const m = particles.length;
    checkPerturbation(perturbation, m, this.program.theta.size);
    // Not cleared: jobs write all of it.
    const out = this.results.take(results * m);
    const arrays: ArrayBufferView[] = [words, particles, out];
    words[FIELD.particles] = koffi.address(particles);
    words[FIELD.workers] = fresh === undefined ? columns.workers : koffi.address(fresh.workers);
    words[FIELD.episodes] = fresh === undefined ? columns.episodes : koffi.address(fresh.episodes);
    words[FIELD.t] = fresh === undefined ? columns.t : koffi.address(fresh.t);
    words[FIELD.fresh] = fresh === undefined ? 0n : 1n;
    if (fresh !== undefined) arrays.push(fresh.workers, fresh.episodes, fresh.t);
    if (perturbation.form === 'explicit') {
      words[FIELD.form] = 2n;
      words[FIELD.theta] = koffi.address(perturbation.thetas);
      arrays.push(perturbation.thetas);
    } else {
      words[FIELD.form] = 0n;
      words[FIELD.theta] = koffi.address(perturbation.theta);
      arrays.push(perturbation.theta);
      if (perturbation.form === 'gaussian') {
        words[FIELD.form] = 1n;
        words[FIELD.keys] = koffi.address(perturbation.keys);
        words[FIELD.signs] = koffi.address(perturbation.signs);
        doubles[FIELD.sigma] = perturbation.sigma;
        arrays.push(perturbation.keys, perturbation.signs);
      }
    }
    words[FIELD.count] = BigInt(m);
    words[FIELD.results] = koffi.address(out);
    words[FIELD.backup] = 0n;
    words[FIELD.begun] = 0n;
    words[FIELD.cancel] = 0n;
    return { words, context: address, arrays, results: out };
  }

  private task(
    job: Job,
    { context, arrays }: NativeRequest,
    count: number,
    scratch: number,
    { cancel, threads = this.threads }: { readonly cancel?: Int32Array; readonly threads?: number } = {},
  ): Task {
    const { driver, jobs } = this.program;
    return {
      job: jobs[job],
      context,
      jobs: Math.ceil(count / driver.lanes),
      scratch,
      threads,
      flush: job !== 'restore',
      arrays,
      ...(cancel === undefined ? {} : { cancel }),
    };
  }

  /** Runs all jobs of a call before it returns. */
  private runNow(job: Job, native: NativeRequest, count: number, scratch: number, threads: number): Ran {
    const ran = this.program.runtime.runNow(this.task(job, native, count, scratch, { threads }));
    if (ran.code !== CODES.ok) throw codeError(job, ran.code);
    return ran;
  }

  /** Runs all jobs of a call that cannot be cancelled: before it returns if that takes but a moment. */
  private async soon(job: Job, native: NativeRequest, count: number, scratch: number, pace: Pace): Promise<void> {
    const now = pace.atMost(count, 1) < SHORT_NANOSECONDS && !this.program.runtime.busy;
    const threads = this.threadsFor(pace.workOf(count, 1));
    const ran = now ? this.runNow(job, native, count, scratch, threads) : this.run(job, native, count, scratch);
    pace.took(count, 1, await ran);
  }

  private threadsFor(work: number): number {
    return work < ALONE_NANOSECONDS ? 1 : this.threads;
  }

  /** Runs all jobs of a call while the event loop turns. */
  private async run(
    job: Job,
    native: NativeRequest,
    count: number,
    scratch: number,
    cancel: Int32Array = new Int32Array(1),
  ): Promise<Ran> {
    native.words[FIELD.cancel] = this.program.runtime.koffi.address(cancel);
    const ran = await this.program.runtime.run(this.task(job, native, count, scratch, { cancel }));
    if (ran.code !== CODES.ok && ran.code !== CODES.cancelled) throw codeError(job, ran.code);
    return ran;
  }

  /** What a window took. @throws CancelledError if its signal was aborted, the records being as before. */
  private async window(
    native: NativeRequest,
    { particles, steps, signal }: ParticleSelection & { readonly steps: number },
    backup: Backup | undefined,
  ): Promise<Ran> {
    const { driver, runtime } = this.program;
    const m = particles.length;
    const stop = (): void => {
      if (backup !== undefined) Atomics.store(backup.cancel, 0, 1);
    };
    signal?.addEventListener('abort', stop);
    try {
      if (backup !== undefined) {
        native.words[FIELD.backup] = backup.address;
        native.words[FIELD.begun] = runtime.koffi.address(backup.begun);
        native.arrays.push(backup.begun);
      }
      const ran = await this.run('advance', native, m, driver.scratch.step, backup?.cancel);
      if (ran.code === CODES.ok) return ran;
      await this.run('restore', native, m, 0);
      throw new CancelledError(
        `advance was cancelled within ${steps} inner steps of ${m} particles; the population is as it was before the call.`,
      );
    } finally {
      signal?.removeEventListener('abort', stop);
      if (backup !== undefined) runtime.unmap(backup.address, backup.bytes);
    }
  }

  /** Memory for the records of a window's particles, if it is to be watched and there is room. */
  private backup(count: number, nanoseconds: number): Backup | undefined {
    const { driver, runtime, limits } = this.program;
    const jobs = Math.ceil(count / driver.lanes);
    const bytes = Math.max(1, jobs * driver.record);
    const cheap = bytes / WATCHED.copyBytesPerNanosecond <= WATCHED.share * nanoseconds;
    if (!cheap && nanoseconds < WATCHED.nanoseconds) return undefined;
    if (limits.memoryBytes !== undefined && this.bytes + bytes > limits.memoryBytes) return undefined;
    try {
      return { address: runtime.map(bytes), bytes, begun: new Uint8Array(jobs), cancel: new Int32Array(1) };
    } catch {
      return undefined;
    }
  }

  /** Runs all jobs of a call, and all of it or nothing has been. Results [rows × particles]. */
  private async inChunks(chunks: ChunkedRecords, call: ChunkedCall): Promise<Float64Array> {
    const { job, request, rows, scratch, steps, fresh = this.table } = call;
    const { particles, perturbation, signal } = request;
    const m = particles.length;
    checkPerturbation(perturbation, m, this.program.theta.size);
    const results = new Float64Array(rows * m);
    const cancel = new Int32Array(1);
    const run = async ({ memory, size, entries, particles: local }: Chunk): Promise<void> => {
      // The table has a column for each particle, a reset for each entry.
      const at = call.fresh === undefined ? gather(particles, entries) : entries;
      const part = { particles: local, perturbation: perturbationOf(perturbation, entries, this.program.theta.size) };
      const native = this.request(this.placeAt(memory, size), part, rows, {
        workers: columnOf(fresh.workers, at),
        episodes: columnOf(fresh.episodes, at),
        t: columnOf(fresh.t, at),
      });
      native.words[FIELD.steps] = BigInt(steps ?? 0);
      const { code } = await this.run(job, native, local.length, scratch, cancel);
      if (code === CODES.cancelled) {
        throw new CancelledError(
          `${job} was cancelled within its ${m} particles; the population is as it was before the call.`,
        );
      }
      scatter(native.results, entries, results);
    };
    const stop = (): void => {
      Atomics.store(cancel, 0, 1);
    };
    signal?.addEventListener('abort', stop);
    try {
      await chunks.each(particles, job !== 'finish', run);
    } finally {
      signal?.removeEventListener('abort', stop);
    }
    return results;
  }

  /** A plain array for a leaf of all particles. @throws EngineError if JavaScript has no memory for it */
  private hostArray(call: 'save' | 'load', { dtype, shape }: ValueType): StateArray {
    const length = this.size * sizeOf(shape);
    try {
      if (dtype === 'float32') return new Float32Array(length);
      return dtype === 'int32' ? new Int32Array(length) : new Uint8Array(length);
    } catch (error) {
      throw new EngineError(
        `${call}: a plain array of ${length} numbers, [${[this.size, ...shape].join(', ')}], does not fit into memory. ` +
          'Use fewer particles, or a machine with more memory.',
        { cause: error },
      );
    }
  }

  /** Between records and the plain arrays of all leaves. */
  private async transfer(arrays: readonly StateArray[], write: boolean): Promise<void> {
    if (this.chunks === undefined) {
      await this.transferPart(arrays, this.memory, 0, this.size, write);
      return;
    }
    await this.chunks.each(counting(this.size), write, ({ memory, entries }) =>
      this.transferPart(arrays, memory, entries[0], entries.length, write),
    );
  }

  /** @param first the particle that the first record is of */
  private async transferPart(
    arrays: readonly StateArray[],
    memory: Address,
    first: number,
    size: number,
    write: boolean,
  ): Promise<void> {
    const { runtime, driver, native, traced } = this.program;
    for (const [leaf, data] of arrays.entries()) {
      const { type } = traced.state[leaf];
      const array = runtime.koffi.address(data.subarray(first * sizeOf(type.shape)));
      const words = leafWords({ program: native, driver, leaf, type, memory, array, size, write });
      await runtime.leafCopy(words, [data]);
    }
  }
}

interface ChunkedCall {
  readonly job: 'reset' | 'advance' | 'finish';
  readonly request: ParticleSelection;
  /** Of the results. */
  readonly rows: number;
  readonly scratch: number;
  readonly steps?: number;
  /** By entry of the request; absent: the population's own. */
  readonly fresh?: Fresh;
}

// Loops over particles stand on their own: within an asynchronous function they are optimised late.

/** 0, 1, 2 … */
function ascending(particles: Int32Array): boolean {
  const { length } = particles;
  for (let i = 0; i < length; i++) if (particles[i] !== i) return false;
  return true;
}

function addToAll(column: Int32Array, value: number): void {
  const { length } = column;
  for (let i = 0; i < length; i++) column[i] += value;
}

function counting(length: number): Int32Array {
  const all = new Int32Array(length);
  for (let i = 0; i < length; i++) all[i] = i;
  return all;
}

function gather(column: Int32Array, entries: Int32Array): Int32Array {
  const { length } = entries;
  const gathered = new Int32Array(length);
  for (let i = 0; i < length; i++) gathered[i] = column[entries[i]];
  return gathered;
}

/** Rows of a chunk's results to where they belong. */
function scatter(rows: Float64Array, entries: Int32Array, results: Float64Array): void {
  const { length } = entries;
  if (length === 0) return;
  const count = rows.length / length;
  const m = results.length / count;
  for (let k = 0; k < count; k++) {
    for (let i = 0; i < length; i++) results[k * m + entries[i]] = rows[k * length + i];
  }
}
