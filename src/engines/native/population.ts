/**
 * Particles in native memory: one record each, or one a block of lanes. A call of the engine is one call of compiled code
 * for all particles of the request.
 *
 * Cancelling: a window that has a signal keeps the records that it overwrites, so that it can be undone, where that costs
 * little beside the window (`WATCHED`). A window too short for that runs to its end, which is then not far.
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
import { plannedThreads } from './memory';
import { Pace } from './pace';
import { codeError, SHORT_NANOSECONDS, type NativeUnrollProgram } from './program';
import { leafWords, particleWords } from './records';
import { REQUEST_FIELDS, type RequestField } from './render/request';
import { CODES, type Address, type Task } from './runtime';

/** When a window is watched for its signal: copying its records takes this share of it at most, or it takes this long. */
const WATCHED = { share: 0.02, nanoseconds: 1e9, copyBytesPerNanosecond: 4 };

const FIELD = Object.fromEntries(REQUEST_FIELDS.map((name, i) => [name, i])) as Record<RequestField, number>;

type Job = 'reset' | 'advance' | 'finish' | 'restore';

type StateArray = Float32Array | Int32Array | Uint8Array;

/** A request in native form, and everything that its addresses point to. */
interface NativeRequest {
  readonly words: BigInt64Array;
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
  private readonly bytes: number;
  private readonly threads: number;
  private memory: Address;
  /** Known to be so; a particle that has a state keeps one. */
  private allStarted = false;
  private readonly resetPace = new Pace();
  private readonly advancePace = new Pace();
  private readonly finishPace = new Pace();
  /** `struct ol_request`, filled anew for each call: calls run one after the other. */
  private readonly words = new BigInt64Array(REQUEST_FIELDS.length);
  private readonly doubles = new Float64Array(this.words.buffer);
  private readonly wordsAddress: Address;

  /** @throws EngineError if the particles do not fit into memory, with the numbers. */
  constructor(
    private readonly program: NativeUnrollProgram,
    readonly size: number,
    seed: number,
    private readonly onDispose: () => void,
  ) {
    this.table = new ParticleTable(size);
    const { runtime, driver, limits } = program;
    this.bytes = Math.ceil(size / driver.lanes) * driver.record;
    this.threads = plannedThreads({ size, bytes: this.bytes, driver, threads: runtime.threads, ...limits });
    this.memory = runtime.map(Math.max(1, this.bytes));
    const address = (column: Int32Array): Address => runtime.koffi.address(column);
    const { workers, episodes, t } = this.table;
    this.columns = { workers: address(workers), episodes: address(episodes), t: address(t) };
    this.wordsAddress = runtime.koffi.address(this.words);
    const [seed0, seed1] = seedKey(seed);
    this.words[FIELD.seed0] = BigInt(seed0);
    this.words[FIELD.seed1] = BigInt(seed1);
    this.words[FIELD.size] = BigInt(size);
    this.words[FIELD.tables] = program.tablesAddress;
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
      const native = this.request(request, 0, { workers, episodes, t });
      await this.soon('reset', native, particles.length, this.program.driver.scratch.init, this.resetPace);
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
      const native = this.request(request, 2 + metrics.length);
      native.words[FIELD.steps] = BigInt(steps);
      checkSignal(signal, 'advance', 'before its first step');
      if (this.advancePace.atMost(m, steps) < SHORT_NANOSECONDS && !runtime.busy) {
        this.advancePace.took(m, steps, this.runNow('advance', native, m, driver.scratch.step));
      } else {
        const backup = signal === undefined ? undefined : this.backup(m, this.advancePace.likely(m, steps));
        this.advancePace.took(m, steps, await this.window(native, request, backup));
      }
      if (whole) addToAll(this.table.t, steps);
      else for (let i = 0; i < m; i++) this.table.t[particles[i]] += steps;
      const column = (k: number): Float64Array => native.results.subarray(k * m, (k + 1) * m);
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
      const address = (array: Int32Array): Address => runtime.koffi.address(array);
      const words = particleWords(this.memory, driver, address(from), address(to), from.length);
      await runtime.particleCopy(words, [from, to]);
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
      const native = this.request(request, finishes.length);
      await this.soon('finish', native, m, driver.scratch.finish, this.finishPace);
      return Object.fromEntries(finishes.map((name, k) => [name, native.results.subarray(k * m, (k + 1) * m)]));
    });
  }

  phases(): Int32Array {
    return this.table.t.slice();
  }

  save(): Promise<ArrayBundle> {
    return this.inTurn('save', async () => {
      const bundle = this.table.save();
      for (const [leaf, { path, type }] of this.program.traced.state.entries()) {
        const data = hostArray(type, this.size * sizeOf(type.shape));
        await this.transfer(leaf, data, false);
        bundle[`state.${path}`] = { shape: [this.size, ...type.shape], data };
      }
      return bundle;
    });
  }

  load(bundle: ArrayBundle): Promise<void> {
    return this.inTurn('load', async () => {
      const arrays = this.program.traced.state.map(({ path, type }) => {
        const { data } = bundleArray(bundle, `state.${path}`, [this.size, ...type.shape]);
        const converted = hostArray(type, data.length);
        converted.set(data);
        return converted;
      });
      this.allStarted = false;
      this.table.load(bundle);
      for (const [leaf, data] of arrays.entries()) await this.transfer(leaf, data, true);
    });
  }

  dispose(): Promise<void> {
    return this.sequence.run(() => {
      if (this.memory !== 0n) this.program.runtime.unmap(this.memory, Math.max(1, this.bytes));
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
      if (this.memory === 0n) throw new EngineError(`${call}: the population was disposed of.`);
      return run();
    });
  }

  private request(
    { particles, perturbation }: ParticleSelection,
    results: number,
    fresh?: { readonly workers: Int32Array; readonly episodes: Int32Array; readonly t: Int32Array },
  ): NativeRequest {
    const { koffi } = this.program.runtime;
    const { words, columns } = this;
    const m = particles.length;
    checkPerturbation(perturbation, m, this.program.theta.size);
    // Not cleared: jobs write all of it.
    const out = new Float64Array(Buffer.allocUnsafeSlow(8 * results * m).buffer);
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
        this.doubles[FIELD.sigma] = perturbation.sigma;
        arrays.push(perturbation.keys, perturbation.signs);
      }
    }
    words[FIELD.count] = BigInt(m);
    words[FIELD.population] = this.memory;
    words[FIELD.results] = koffi.address(out);
    words[FIELD.backup] = 0n;
    words[FIELD.begun] = 0n;
    words[FIELD.cancel] = 0n;
    return { words, arrays, results: out };
  }

  private task(job: Job, { arrays }: NativeRequest, count: number, scratch: number, cancel?: Int32Array): Task {
    const { driver, jobs } = this.program;
    return {
      job: jobs[job],
      context: this.wordsAddress,
      jobs: Math.ceil(count / driver.lanes),
      scratch,
      threads: this.threads,
      flush: job !== 'restore',
      arrays,
      ...(cancel === undefined ? {} : { cancel }),
    };
  }

  /** Runs all jobs of a call before it returns. Nanoseconds that it took. */
  private runNow(job: Job, native: NativeRequest, count: number, scratch: number): number {
    const ran = this.program.runtime.runNow(this.task(job, native, count, scratch));
    if (ran.code !== CODES.ok) throw codeError(job, ran.code);
    return ran.nanoseconds;
  }

  /** Runs all jobs of a call that cannot be cancelled: before it returns if that takes but a moment. */
  private async soon(job: Job, native: NativeRequest, count: number, scratch: number, pace: Pace): Promise<void> {
    const now = pace.atMost(count, 1) < SHORT_NANOSECONDS && !this.program.runtime.busy;
    pace.took(
      count,
      1,
      now ? this.runNow(job, native, count, scratch) : (await this.run(job, native, count, scratch)).nanoseconds,
    );
  }

  /** Runs all jobs of a call while the event loop turns. */
  private async run(
    job: Job,
    native: NativeRequest,
    count: number,
    scratch: number,
    cancel: Int32Array = new Int32Array(1),
  ): Promise<{ readonly code: number; readonly nanoseconds: number }> {
    native.words[FIELD.cancel] = this.program.runtime.koffi.address(cancel);
    const ran = await this.program.runtime.run(this.task(job, native, count, scratch, cancel));
    if (ran.code !== CODES.ok && ran.code !== CODES.cancelled) throw codeError(job, ran.code);
    return ran;
  }

  /** Nanoseconds that a window took. @throws CancelledError if its signal was aborted, the records being as before. */
  private async window(
    native: NativeRequest,
    { particles, steps, signal }: ParticleSelection & { readonly steps: number },
    backup: Backup | undefined,
  ): Promise<number> {
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
      if (ran.code === CODES.ok) return ran.nanoseconds;
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

  private async transfer(leaf: number, data: StateArray, write: boolean): Promise<void> {
    const { runtime, driver, native, traced } = this.program;
    const array = runtime.koffi.address(data);
    const words = leafWords({
      program: native,
      driver,
      leaf,
      type: traced.state[leaf].type,
      memory: this.memory,
      array,
      size: this.size,
      write,
    });
    await runtime.leafCopy(words, [data]);
  }
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

function hostArray({ dtype }: ValueType, length: number): StateArray {
  if (dtype === 'float32') return new Float32Array(length);
  return dtype === 'int32' ? new Int32Array(length) : new Uint8Array(length);
}
