/** The runtime library of this process: a pool of threads, memory, and calls of compiled code. */
import { EngineError, EngineUnavailableError } from '../../../contracts';
import type { Compiler, LibraryCache } from '../compile';
import { Sequence } from '../../shared/scheduling';
import { CODES, RUNTIME_SOURCE, TASK_FIELDS } from './source';
import type { Koffi, NativeFunction, NativeLibrary } from './koffi';
import { loadLibrary } from './load';

/** Address of native memory, or of what an array holds. */
export type Address = bigint;

/** An address as koffi returns it: a number where that is exact. */
type NativeAddress = number | bigint;

interface Functions {
  readonly supports: NativeFunction<[Address], number>;
  readonly open: NativeFunction<[number], NativeAddress>;
  readonly close: NativeFunction<[Address], void>;
  readonly drain: NativeFunction<[Address], void>;
  readonly workers: NativeFunction<[Address], number>;
  readonly run: NativeFunction<[Address, BigInt64Array], number>;
  readonly map: NativeFunction<[number], NativeAddress>;
  readonly unmap: NativeFunction<[Address, number], void>;
  readonly leafCopy: NativeFunction<[Address, BigInt64Array, number], number>;
  readonly particleCopy: NativeFunction<[Address, BigInt64Array, number], number>;
  readonly floatMode: NativeFunction<[], number | bigint>;
}

function bind(library: NativeLibrary): Functions {
  const functions: { [Name in keyof Functions]: unknown } = {
    supports: library.func('int ol_supports(uintptr_t needs)'),
    open: library.func('uintptr_t ol_open(int threads)'),
    close: library.func('void ol_close(uintptr_t pool)'),
    drain: library.func('void ol_drain(uintptr_t pool)'),
    workers: library.func('int ol_workers(uintptr_t pool)'),
    run: library.func('int ol_run(uintptr_t pool, void *task)'),
    map: library.func('uintptr_t ol_map(int64_t bytes)'),
    unmap: library.func('void ol_unmap(uintptr_t memory, int64_t bytes)'),
    leafCopy: library.func('int ol_leaf_copy(uintptr_t pool, void *leaf, int64_t threads)'),
    particleCopy: library.func('int ol_particle_copy(uintptr_t pool, void *copy, int64_t threads)'),
    floatMode: library.func('int64_t ol_float_mode()'),
  };
  // The C declarations above are what says so.
  return functions as Functions;
}

/** What runs on the pool: one field for each of `struct ol_task`. */
export interface Task {
  /** Address of `int job(void *context, int64_t first, int64_t count, void *scratch)`. */
  readonly job: Address;
  readonly context: Address;
  readonly jobs: number;
  /** Bytes of memory of its own that a thread gets. */
  readonly scratch: number;
  readonly threads: number;
  /** Whether subnormal numbers count as zero. */
  readonly flush: boolean;
  /** An int32 that is not zero once no job is to begin. */
  readonly cancel?: Int32Array;
  /** All that jobs read and write by its address: referenced until they are done, so that it stays where it is. */
  readonly arrays: readonly ArrayBufferView[];
}

const FIELD = Object.fromEntries(TASK_FIELDS.map((name, i) => [name, i])) as Record<
  (typeof TASK_FIELDS)[number],
  number
>;

export interface Ran {
  readonly code: number;
  /** What the jobs took, spread evenly over the threads; waking them, and waiting for another task, is not in it. */
  readonly nanoseconds: number;
  /** What the jobs took, all threads together. */
  readonly work: number;
}

function ranOf(code: number, words: BigInt64Array): Ran {
  const work = Number(words[FIELD.busy]);
  // The runtime has lowered the number of threads to those that there were.
  return { code, work, nanoseconds: work / Math.max(1, Number(words[FIELD.threads])) };
}

/** What has to happen before the process ends while threads write into JavaScript's memory. */
interface InFlight {
  readonly cancel: Int32Array;
  readonly arrays: readonly ArrayBufferView[];
}

export class Runtime {
  private readonly sequence = new Sequence();
  private inFlight: InFlight | undefined;
  private waiting = 0;
  private closed = false;
  /** `struct ol_task` of calls that return when they are done. */
  private readonly now = new BigInt64Array(TASK_FIELDS.length);

  private constructor(
    readonly koffi: Koffi,
    private readonly functions: Functions,
    private readonly pool: Address,
    /** That take jobs. */
    readonly threads: number,
  ) {}

  /**
   * Compiles (or finds) the runtime library and starts its threads.
   * @throws EngineUnavailableError if the machine gives no thread.
   */
  static async open(koffi: Koffi, compiler: Compiler, cache: LibraryCache, threads: number): Promise<Runtime> {
    const options = { name: 'runtime', baseline: true };
    const functions = bind(await loadLibrary(koffi, compiler, cache, RUNTIME_SOURCE, options));
    const pool = BigInt(functions.open(threads));
    const workers = pool === 0n ? 0 : functions.workers(pool);
    if (workers === 0) {
      if (pool !== 0n) functions.close(pool);
      throw new EngineUnavailableError(
        'native',
        'the system starts no thread',
        'Raise the limit on threads, or choose another engine.',
      );
    }
    return new Runtime(koffi, functions, pool, workers);
  }

  /** @throws EngineError unless the processor has what a library was compiled for; nothing of the library has run then. */
  checkProcessor(library: NativeLibrary): void {
    if (this.functions.supports(library.symbol('ol_needs')) === CODES.ok) return;
    throw new EngineError(
      'the compiled code needs instructions that this processor lacks. ' +
        'Set OUTERLOOP_NATIVE_ISA to what it has (avx512, avx2 or generic), or leave it unset.',
    );
  }

  /** Whether a call now would wait for another one. */
  get busy(): boolean {
    return this.waiting > 0;
  }

  /** Runs a task before it returns, on this thread and the pool's; only for what is over in a moment. */
  runNow(task: Task): Ran {
    this.fill(this.now, task, true);
    return ranOf(this.functions.run(this.pool, this.now), this.now);
  }

  /** Runs a task while the event loop turns, after those that were asked for before it. */
  run(task: Task): Promise<Ran> {
    return this.alone(async () => {
      const cancel = task.cancel ?? new Int32Array(1);
      const words = new BigInt64Array(TASK_FIELDS.length);
      this.fill(words, { ...task, cancel }, false);
      const code = await this.call({ cancel, arrays: task.arrays }, this.functions.run, this.pool, words);
      return ranOf(code, words);
    });
  }

  /** Copies between a leaf of all records and an array, as `struct ol_leaf` says. */
  leafCopy(leaf: BigInt64Array, arrays: readonly ArrayBufferView[]): Promise<void> {
    return this.alone(() => this.copying(this.functions.leafCopy, leaf, arrays));
  }

  /** Copies whole particles, as `struct ol_copy` says. */
  particleCopy(copy: BigInt64Array, arrays: readonly ArrayBufferView[]): Promise<void> {
    return this.alone(() => this.copying(this.functions.particleCopy, copy, arrays));
  }

  /** Zeroed memory. @throws EngineError if the system has none. */
  map(bytes: number): Address {
    const address = BigInt(this.functions.map(bytes));
    if (address === 0n) throw new EngineError(`no memory: the system refused ${bytes} bytes.`);
    return address;
  }

  unmap(address: Address, bytes: number): void {
    this.functions.unmap(address, bytes);
  }

  /** Mode of float arithmetic of JavaScript's own thread, for tests. */
  floatMode(): number {
    return Number(this.functions.floatMode());
  }

  /** Resolves when all calls made so far are through. */
  idle(): Promise<void> {
    return this.sequence.run(() => Promise.resolve());
  }

  /** Ends the threads when all calls are through. */
  close(): Promise<void> {
    return this.sequence.run(() => {
      if (!this.closed) this.functions.close(this.pool);
      this.closed = true;
      return Promise.resolve();
    });
  }

  private alone<T>(call: () => Promise<T>): Promise<T> {
    this.waiting += 1;
    return this.sequence
      .run(() => {
        if (this.closed) throw new EngineError('the engine is closed.');
        return call();
      })
      .finally(() => (this.waiting -= 1));
  }

  private async copying(
    copy: NativeFunction<[Address, BigInt64Array, number], number>,
    words: BigInt64Array,
    arrays: readonly ArrayBufferView[],
  ): Promise<void> {
    const holding = { cancel: new Int32Array(1), arrays: [words, ...arrays] };
    await this.call(holding, copy, this.pool, words, this.threads);
  }

  private fill(words: BigInt64Array, task: Task, join: boolean): void {
    words[FIELD.job] = task.job;
    words[FIELD.context] = task.context;
    words[FIELD.jobs] = BigInt(task.jobs);
    words[FIELD.scratch] = BigInt(task.scratch);
    words[FIELD.threads] = BigInt(Math.min(task.threads, this.threads));
    words[FIELD.flush] = task.flush ? 1n : 0n;
    words[FIELD.cancel] = task.cancel === undefined ? 0n : this.koffi.address(task.cancel);
    words[FIELD.join] = join ? 1n : 0n;
  }

  private async call<Arguments extends readonly unknown[], Result>(
    holding: InFlight,
    callee: NativeFunction<Arguments, Result>,
    ...args: Arguments
  ): Promise<Result> {
    this.inFlight = holding;
    process.on('exit', this.stopAtExit);
    try {
      return await new Promise((resolve, reject) => {
        callee.async(...args, (error, result) => {
          if (error === null) resolve(result);
          else reject(new EngineError(`a call of compiled code failed: ${error.message}`, { cause: error }));
        });
      });
    } finally {
      process.off('exit', this.stopAtExit);
      this.inFlight = undefined;
    }
  }

  /** `process.exit()` in the middle of a window: the arrays that threads write to are about to go. */
  private readonly stopAtExit = (): void => {
    if (this.inFlight === undefined) return;
    Atomics.store(this.inFlight.cancel, 0, 1);
    this.functions.drain(this.pool);
  };
}
