/** What a graph has become when it is planned: kernels, called in order, on places in a few arenas. */
import type { DataTable } from '../../../contracts';
import type { Stream } from '../../../random';
import type { Kernel, MemoryType, Target } from '../nest/ir';

/**
 * Where a value lies.
 * - `theta`: the particle's θ, float32, leaves one after another as ThetaLayout has them (particle-major).
 * - `state`: the particle's record; what `step` reads and, once it is done, what it has written.
 * - `window`: the thread's own; kept for the window (what does not change within it).
 * - `scratch`: the thread's own; reused within a step.
 * - `result`: the step's float32 results, one after another: loss, metrics by name, numbers of the sums; for `finish` its
 *   outputs.
 * - `table`: number `table` of the program's tables, resident, shared by all.
 * - `t`: one int32, the inner step.
 * - `next`: of reverse windows: the record as it was after the step.
 * - `tape`: of reverse windows: what `record` has left for `back` of the same step.
 * - `cotangent`: of reverse windows: the thread's own; cotangents of the record, and that of the step's loss.
 * - `loss`: of an optimizer by itself (`UpdateProgram`): one float32.
 * - `parameter`, `gradient`: of such a one: those of number `tensor`, float32, row-major.
 *
 * `perTile`, in calls of tiles: bytes from the place of one tile to that of the next.
 */
export type Place =
  | {
      readonly arena:
        'theta' | 'state' | 'window' | 'scratch' | 'result' | 't' | 'next' | 'tape' | 'cotangent' | 'loss';
      /** In bytes. */
      readonly offset: number;
      readonly perTile?: number;
    }
  | {
      readonly arena: 'table';
      readonly table: number;
      /** In bytes. */
      readonly offset: number;
      readonly perTile?: number;
    }
  | {
      readonly arena: 'parameter' | 'gradient';
      readonly tensor: number;
      /** In bytes. */
      readonly offset: number;
      readonly perTile?: number;
    };

/** Elements of a value: element (i₀, i₁, …) lies at Σ i·strides, in elements from the place. Padding is never read. */
export interface Layout {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly memory: MemoryType;
  /**
   * Of a matrix whose rows and columns do not lie regularly: each axis as loops, outer ones first, of the inmost of which
   * `strides` has the stride. Only the left operand of a product has it: windows, by rows.
   */
  readonly levels?: readonly (readonly Level[])[];
}

/** A loop over part of an axis. */
export interface Level {
  readonly extent: number;
  /** In elements. */
  readonly stride: number;
}

/** The key of a draw: episodeKey(seed, stream, …), folded with t if perStep, then with the path. */
export interface DrawKey {
  readonly stream: Stream;
  readonly perStep: boolean;
  readonly path: readonly number[];
}

/** First byte and first byte after the last, from a place on; the first is negative for views that run backwards. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** One call of a kernel by the driver. */
export interface KernelCall {
  readonly kernel: Kernel;
  /** One for each of the kernel's buffers. */
  readonly places: readonly Place[];
  /** Bytes from each place on that the kernel may touch: guarded programs hold it to them. */
  readonly spans?: readonly Span[];
  /** If given, the kernel's two scalar parameters (u32) are the words of this key. */
  readonly key?: DrawKey;
  /** Pass and ops that it comes from, for errors and listings. */
  readonly origin: string;
}

/** A resident table or a constant too long to be written into the code. */
export type ProgramTable =
  | { readonly kind: 'table'; readonly table: DataTable }
  | { readonly kind: 'constant'; readonly data: Float32Array | Int32Array | Uint8Array };

export interface StateRecord {
  /** Place and layout of each state leaf within a particle's record. */
  readonly leaves: readonly { readonly offset: number; readonly layout: Layout }[];
  /** Bytes of a record, a multiple of 64. */
  readonly bytes: number;
}

/** Calls that are made for one tile of rows after another. */
export interface TiledCalls {
  readonly count: number;
  readonly calls: readonly KernelCall[];
}

/** One traced function of a particle-major program. */
export interface PlannedFunction {
  /** Once a window, before the first step. */
  readonly prologue: readonly KernelCall[];
  /** Once a step, before `calls`: one after the other, each `count` times. What they leave for `calls` lies in `window`. */
  readonly tiles?: readonly TiledCalls[];
  /** Once a step. */
  readonly calls: readonly KernelCall[];
  readonly scratchBytes: number;
  readonly windowBytes: number;
  readonly results: number;
}

/** A thread takes one particle and runs all steps of the window. */
export interface ParticleMajorProgram {
  readonly mode: 'particle-major';
  readonly target: Target;
  readonly thetaSize: number;
  readonly state: StateRecord;
  readonly tables: readonly ProgramTable[];
  readonly init: PlannedFunction;
  readonly step: PlannedFunction;
  readonly finish?: PlannedFunction;
  readonly reverse?: ReverseFunctions;
}

/** Functions of a reverse window beside `step`, see `ReverseProblem`. */
export interface ReverseFunctions {
  readonly record: PlannedFunction;
  readonly back: PlannedFunction;
  readonly start?: PlannedFunction;
  /** Bytes of a step's residuals, a multiple of 64. */
  readonly tapeBytes: number;
  readonly cotangentBytes: number;
  /** Place of the loss's cotangent in its arena. */
  readonly lossOffset: number;
}

/**
 * Particles lie in lanes: a block is `vectors`·target.lanes particles, and element e of leaf j of a block's state lies at
 * (offset_j + e)·blockLanes + lane, float32, int32 or bool alike in 4 bytes (bool as int32 0/1). θ likewise.
 *
 * Kernels have, in this order, the buffers
 *   theta f32 [θ size × block], state f32 [state elements × block] (read and written in place), stateInts i32 (the same
 *   memory as `state`, for int32 and bool leaves), results f32 [results × block] (written; `step`: sums over the `steps`
 *   of the call of loss and metrics in this order, then the last loss), t i32 [block] (step within the episode of every
 *   lane, at the first step of the call), keys u32-as-i32 [streams × 2 × block] (episodeKey words a lane, stream-major, in
 *   the order of `streams`), then the tables,
 * and `step` has one scalar parameter `steps` (i32), at most `maxSteps`.
 */
export interface LaneMajorProgram {
  readonly mode: 'lane-major';
  readonly target: Target;
  readonly vectors: number;
  readonly thetaSize: number;
  /** First element and dtype of each state leaf. */
  readonly state: {
    readonly leaves: readonly { readonly offset: number; readonly size: number; readonly memory: MemoryType }[];
    readonly elements: number;
  };
  readonly streams: readonly Stream[];
  readonly tables: readonly ProgramTable[];
  readonly init: Kernel;
  readonly step: Kernel;
  readonly finish?: Kernel;
  /** Steps summed in float32 before the driver adds them to its float64 sums. */
  readonly maxSteps: number;
  /**
   * Of reverse windows: the way back through a step (`laneBackProblem`), in as many lanes. Its tables stand behind those of
   * the program in `tables`.
   */
  readonly back?: LaneMajorProgram;
}

/** An optimizer by itself: its update on tensors of fixed shapes, as `renderUpdate` makes C of it. */
export interface UpdateProgram {
  readonly target: Target;
  readonly state: StateRecord;
  readonly tables: readonly ProgramTable[];
  /** From the parameters to the optimizer's state. */
  readonly init: PlannedFunction;
  /** Writes parameters and state; its `prologue` is what depends on θ alone. */
  readonly update: PlannedFunction;
}

export type NativeProgram = ParticleMajorProgram | LaneMajorProgram;
