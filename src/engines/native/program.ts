/** A problem compiled for this machine. */
import {
  EngineError,
  type DerivativeProgram,
  type Differentiation,
  type PopulationOptions,
  type ThetaLayout,
  type UnrolledProblem,
  type UnrollProgram,
} from '../../contracts';
import { stateSize, type TracedProblem } from '../../graph/program';
import { differentiateProgram } from '../shared/derivative';
import type { GraphEngine } from '../shared/engine';
import { checkCombination } from '../shared/perturbation';
import type { NativeProgram } from './plan/program';
import { NativePopulation } from './population';
import type { NativeReverse } from './reverse';
import { COMBINATION_FIELDS, type Driver } from './render/request';
import { CODES, type Address, type NativeLibrary, type Runtime } from './runtime';

/** Bounds that hold for all programs of an engine. */
export interface Limits {
  /** Of records and of what threads need, in bytes; absent: what the machine has left. */
  readonly memoryBytes?: number;
  readonly notice?: (text: string) => void;
}

/**
 * A window shorter than this may be called on JavaScript's own thread. An asynchronous call wakes a thread that hands the
 * result back: 11 µs on hardware, 0.3 ms measured on a virtual machine, a good part of such a window in either case.
 */
export const SHORT_NANOSECONDS = 1_000_000;

/** Numbers of θ that one job of `combine` sums; even, as normals come in pairs. */
const RANGE = 1024;

export class NativeUnrollProgram implements UnrollProgram {
  readonly engine: string;
  readonly problem: UnrolledProblem;
  readonly theta: ThetaLayout;
  readonly stateSize: number;
  readonly metrics: readonly string[];
  readonly finishes: readonly string[];
  /** Addresses of the tables, in the program's order; the arrays themselves stay referenced. */
  readonly tables: BigInt64Array;
  readonly tablesAddress: Address;
  readonly jobs: Readonly<Record<'reset' | 'advance' | 'reverse' | 'finish' | 'restore' | 'combine', Address>>;
  private readonly arrays: readonly ArrayBufferView[];
  private readonly populations = new Set<NativePopulation>();
  private combineNanoseconds = Infinity;
  private disposed = false;

  constructor(
    private readonly owner: GraphEngine,
    readonly traced: TracedProblem,
    readonly native: NativeProgram,
    readonly driver: Driver,
    readonly runtime: Runtime,
    private readonly library: NativeLibrary,
    readonly limits: Limits,
    /** Of programs whose windows go back. */
    readonly reverse?: NativeReverse,
  ) {
    this.engine = owner.name;
    this.problem = traced.problem;
    this.theta = traced.theta;
    this.stateSize = stateSize(traced);
    this.metrics = traced.metrics;
    this.finishes = traced.finishes;
    this.arrays = native.tables.map((table) => (table.kind === 'table' ? table.table.values : table.data));
    this.tables = BigInt64Array.from(this.arrays, (array) => runtime.koffi.address(array));
    this.tablesAddress = runtime.koffi.address(this.tables);
    this.jobs = {
      reset: library.symbol('ol_reset'),
      advance: library.symbol('ol_advance'),
      reverse: driver.reverse === undefined ? 0n : library.symbol('ol_reverse'),
      finish: native.finish === undefined ? 0n : library.symbol('ol_finish'),
      restore: library.symbol('ol_restore'),
      combine: library.symbol('ol_combine'),
    };
  }

  createPopulation(options: PopulationOptions): Promise<NativePopulation> {
    return Promise.resolve().then(() => {
      if (this.disposed) throw new EngineError('createPopulation: the program was disposed of.');
      const population = new NativePopulation(this, options, () => this.populations.delete(population));
      this.populations.add(population);
      return population;
    });
  }

  async combine(keys: Uint32Array, weights: Float64Array): Promise<Float64Array> {
    checkCombination(keys, weights);
    const { runtime } = this;
    const out = new Float64Array(this.theta.size);
    const context = new BigInt64Array(COMBINATION_FIELDS.length);
    const fields: Record<(typeof COMBINATION_FIELDS)[number], bigint> = {
      keys: runtime.koffi.address(keys),
      weights: runtime.koffi.address(weights),
      count: BigInt(weights.length),
      size: BigInt(out.length),
      range: BigInt(RANGE),
      out: runtime.koffi.address(out),
    };
    COMBINATION_FIELDS.forEach((name, i) => (context[i] = fields[name]));
    const task = {
      job: this.jobs.combine,
      context: runtime.koffi.address(context),
      jobs: Math.ceil(out.length / RANGE),
      scratch: 0,
      threads: runtime.threads,
      flush: false,
      arrays: [keys, weights, context, out],
    };
    const draws = weights.length * out.length;
    const now = !runtime.busy && draws * this.combineNanoseconds < SHORT_NANOSECONDS;
    const ran = now ? runtime.runNow(task) : await runtime.run(task);
    if (ran.code !== CODES.ok) throw codeError('combine', ran.code);
    this.combineNanoseconds = ran.nanoseconds / Math.max(1, draws);
    return out;
  }

  differentiate(differentiation: Differentiation): Promise<DerivativeProgram> {
    return differentiateProgram(this.owner, this, differentiation);
  }

  async dispose(): Promise<void> {
    if (this.disposed) return;
    this.disposed = true;
    for (const population of [...this.populations]) await population.dispose();
    await this.runtime.idle();
    this.library.unload();
  }
}

/** A return code that is none of a job's own. */
export function codeError(call: string, code: number): EngineError {
  if (code === CODES.memory)
    return new EngineError(`${call}: the system gave no memory for the threads' scratch space.`);
  return new EngineError(`${call}: compiled code returned ${code}.`);
}
