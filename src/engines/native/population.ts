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
  type DerivativePopulation,
  type DerivativeResult,
  type ParticleSelection,
  type PopulationOptions,
  type ResetRequest,
  type WindowResult,
} from '../../contracts';
import { sizeOf, type ValueType } from '../../graph/ir';
import { sumsSize } from '../../graph/program';
import { seedKey } from '../../random';
import { checkSignal } from '../shared/cancel';
import { bundleArray, checkCopy, checkReverseSteps, checkSteps, ParticleTable } from '../shared/particles';
import { checkPerturbation, sigmasOf } from '../shared/perturbation';
import { RunTable } from '../shared/runs';
import { Sequence } from '../shared/scheduling';
import type { Backup, ChunkedCall, Fresh, Job, NativeRequest, Place, StateArray, StepsCall } from './calls';
import { ChunkedRecords, type Chunk } from './chunks';
import { planMemory } from './memory';
import { Pace } from './pace';
import { codeError, SHORT_NANOSECONDS, type NativeUnrollProgram } from './program';
import { leafWords, particleWords } from './records';
import { REQUEST_FIELDS, type RequestField } from './render/request';
import { scheduleWords } from './reverse';
import { ResultSpace, transposed } from './results';
import { CODES, type Address, type Ran, type Task } from './runtime';
import { addToAll, ascending, columnOf, counting, gather, perturbationOf, scatter } from './selection';

/** When a window is watched for its signal: copying its records takes this share of it at most, or it takes this long. */
const WATCHED = { share: 0.02, nanoseconds: 1e9, copyBytesPerNanosecond: 4 };

/** So much work is done by the calling thread alone: waking another one, and waiting for it, may take as long. */
const ALONE_NANOSECONDS = 10_000;

const FIELD = Object.fromEntries(REQUEST_FIELDS.map((name, i) => [name, i])) as Record<RequestField, number>;

export class NativePopulation implements DerivativePopulation {
  readonly size: number;
  private readonly table: ParticleTable;
  private readonly runs: RunTable;
  /** Two words a run. */
  private readonly seeds: Uint32Array;
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
  private readonly reversePace = new Pace();
  /** Of the last reverse window: most have one length. */
  private schedule: { readonly steps: number; readonly words: Int32Array } = { steps: 0, words: new Int32Array(0) };
  private readonly finishPace = new Pace();
  private readonly results = new ResultSpace();
  /** For resident records, filled anew for each call: calls run one after the other. */
  private readonly place: Place;

  /** @throws EngineError if the particles fit neither into memory nor into a file, with the numbers. */
  constructor(
    private readonly program: NativeUnrollProgram,
    options: PopulationOptions,
    private readonly onDispose: () => void,
  ) {
    const { size } = options;
    this.size = size;
    this.table = new ParticleTable(size);
    this.runs = new RunTable(options);
    this.seeds = Uint32Array.from(this.runs.seeds.flatMap((seed) => seedKey(seed)));
    const { runtime, driver, limits } = program;
    const step = Math.max(driver.scratch.step, program.reverse?.bytes ?? 0);
    const scratch = { ...driver.scratch, step };
    const plan = planMemory({ size, driver: { ...driver, scratch }, threads: runtime.threads, ...limits });
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
        const native = this.request(this.place, request, 0, { fresh: { workers, episodes, t } });
        await this.soon('reset', native, particles.length, init, this.resetPace);
      }
      for (let i = 0; i < particles.length; i++) this.table.start(particles[i], workers[i], episodes[i]);
    });
  }

  advance(request: ParticleSelection & { readonly steps: number }): Promise<WindowResult> {
    return this.inTurn('advance', async () => {
      const { driver, traced } = this.program;
      const { pace, width } = { pace: this.advancePace, width: sumsSize(traced) };
      const call = { call: 'advance', job: 'advance', scratch: driver.scratch.step, width, pace } as const;
      const { derivatives, ...result } = await this.steps(request, call);
      return width === 0 ? result : { ...result, derivatives };
    });
  }

  differentiate(request: ParticleSelection & { readonly steps: number }): Promise<DerivativeResult> {
    return this.inTurn('differentiate', async () => {
      const { driver, reverse, theta, runtime } = this.program;
      if (reverse === undefined) throw new EngineError('differentiate: this program has no reverse windows.');
      const { differentiation, plan } = reverse;
      const { steps, particles } = request;
      checkReverseSteps(differentiation, steps, this.table.t, particles);
      if (this.schedule.steps !== steps) this.schedule = { steps, words: scheduleWords(plan, steps) };
      const schedule = this.schedule.words;
      const fill = ({ words, doubles, arrays }: NativeRequest): void => {
        arrays.push(schedule);
        words[FIELD.schedule] = runtime.koffi.address(schedule);
        words[FIELD.instructions] = BigInt(schedule.length / 5);
        words[FIELD.states] = BigInt(plan.states);
        words[FIELD.tapes] = BigInt(plan.tapes);
        words[FIELD.start] = differentiation.start === true ? 1n : 0n;
        const mean = differentiation.windowLoss === 'mean';
        doubles[FIELD.weight] = mean ? 1 / steps : 0;
        doubles[FIELD.lastWeight] = mean ? 1 / steps : 1;
      };
      const { bytes, slot, tape } = driver.reverse!;
      const scratch = bytes + plan.states * slot + plan.tapes * tape;
      const pace = this.reversePace;
      return this.steps(request, { call: 'differentiate', job: 'reverse', scratch, width: theta.size, pace, fill });
    });
  }

  private async steps(
    request: ParticleSelection & { readonly steps: number },
    { call, job, scratch, width, pace, fill }: StepsCall,
  ): Promise<DerivativeResult> {
    const { particles, steps, signal } = request;
    const whole = this.check(call, particles);
    checkSteps(steps);
    const { metrics, runtime } = this.program;
    const m = particles.length;
    const rows = 2 + metrics.length + width;
    let results: Float64Array;
    checkSignal(signal, call, 'before its first step');
    if (this.chunks !== undefined) {
      results = await this.inChunks(this.chunks, { job, request, rows, scratch, steps, fill });
    } else {
      const native = this.request(this.place, request, rows);
      ({ results } = native);
      native.words[FIELD.steps] = BigInt(steps);
      fill?.(native);
      if (pace.atMost(m, steps) < SHORT_NANOSECONDS && !runtime.busy) {
        const threads = this.threadsFor(pace.workOf(m, steps));
        pace.took(m, steps, this.runNow(job, native, m, scratch, threads));
      } else {
        const backup = signal === undefined ? undefined : this.backup(m, pace.likely(m, steps));
        pace.took(m, steps, await this.window(job, scratch, native, request, backup));
      }
    }
    if (whole) addToAll(this.table.t, steps);
    else for (let i = 0; i < m; i++) this.table.t[particles[i]] += steps;
    const column = (k: number): Float64Array => results.subarray(k * m, (k + 1) * m);
    return {
      lossSum: column(0),
      lastLoss: column(1),
      metricSums: Object.fromEntries(metrics.map((name, k) => [name, column(k + 2)])),
      derivatives: transposed(results, rows - width, width, m),
    };
  }

  copy(from: Int32Array, to: Int32Array): Promise<void> {
    return this.inTurn('copy', async () => {
      checkCopy(this.table, from, to);
      this.runs.checkCopy(from, to);
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
    words[FIELD.seeds] = this.program.runtime.koffi.address(this.seeds);
    words[FIELD.size] = BigInt(size);
    words[FIELD.population] = memory;
    words[FIELD.tables] = this.program.tablesAddress;
    return { words, doubles: new Float64Array(words.buffer), address: this.program.runtime.koffi.address(words) };
  }

  private request(
    { words, doubles, address }: Place,
    { particles, perturbation }: Pick<ParticleSelection, 'particles' | 'perturbation'>,
    results: number,
    { fresh, among = particles }: { readonly fresh?: Fresh | undefined; readonly among?: Int32Array } = {},
  ): NativeRequest {
    const { koffi } = this.program.runtime;
    const { columns } = this;
    const m = particles.length;
    checkPerturbation(perturbation, m, this.program.theta.size, this.runs.count);
    // Not cleared: jobs write all of it.
    const out = this.results.take(results * m);
    const arrays: ArrayBufferView[] = [words, particles, out];
    words[FIELD.particles] = koffi.address(particles);
    words[FIELD.workers] = fresh === undefined ? columns.workers : koffi.address(fresh.workers);
    words[FIELD.episodes] = fresh === undefined ? columns.episodes : koffi.address(fresh.episodes);
    words[FIELD.t] = fresh === undefined ? columns.t : koffi.address(fresh.t);
    words[FIELD.fresh] = fresh === undefined ? 0n : 1n;
    if (fresh !== undefined) arrays.push(fresh.workers, fresh.episodes, fresh.t);
    const runs = this.runs.entries(among);
    words[FIELD.runs] = runs === undefined ? 0n : koffi.address(runs.of);
    if (runs !== undefined) arrays.push(runs.of);
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
        const sigmas = sigmasOf(perturbation.sigma);
        words[FIELD.sigmas] = koffi.address(sigmas);
        arrays.push(perturbation.keys, perturbation.signs, sigmas);
      }
    }
    words[FIELD.count] = BigInt(m);
    words[FIELD.results] = koffi.address(out);
    words[FIELD.backup] = 0n;
    words[FIELD.begun] = 0n;
    words[FIELD.cancel] = 0n;
    return { words, doubles, context: address, arrays, results: out };
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
    job: Job,
    scratch: number,
    native: NativeRequest,
    { particles, steps, signal }: ParticleSelection & { readonly steps: number },
    backup: Backup | undefined,
  ): Promise<Ran> {
    const { runtime } = this.program;
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
      const ran = await this.run(job, native, m, scratch, backup?.cancel);
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
    checkPerturbation(perturbation, m, this.program.theta.size, this.runs.count);
    const results = new Float64Array(rows * m);
    const cancel = new Int32Array(1);
    const run = async ({ memory, size, entries, particles: local }: Chunk): Promise<void> => {
      // The table has a column for each particle, a reset for each entry.
      const among = gather(particles, entries);
      const at = call.fresh === undefined ? among : entries;
      const part = { particles: local, perturbation: perturbationOf(perturbation, entries, this.program.theta.size) };
      const columns = {
        workers: columnOf(fresh.workers, at),
        episodes: columnOf(fresh.episodes, at),
        t: columnOf(fresh.t, at),
      };
      const native = this.request(this.placeAt(memory, size), part, rows, { fresh: columns, among });
      native.words[FIELD.steps] = BigInt(steps ?? 0);
      call.fill?.(native);
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
