/**
 * The graph: few primitive ops, static shapes, one particle. docs/graph.md is its written specification, verify.ts
 * checks it, infer.ts gives every op's result type, and the reference interpreter defines what each op computes.
 */
import type { DataTable } from '../contracts';
import type { Stream } from '../random';

/** `uint8` occurs only as the type of a table and of rows gathered from it, until they are cast. */
export type DType = 'float32' | 'int32' | 'bool' | 'uint8';

export type Shape = readonly number[];

export interface ValueType {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Index of a node in its graph. Every node has exactly one result. */
export type ValueId = number;

/** What a random op draws. Elements as src/random/draws.ts defines them. */
export type Distribution =
  | { readonly name: 'uniform' }
  | { readonly name: 'normal' }
  | { readonly name: 'integer'; readonly low: number; readonly high: number };

/**
 * Attributes of every op. All operands of an elementwise op have one shape: broadcasting is an op of its own.
 * Axes are non-negative.
 */
export interface OpAttributes {
  // Leaves.
  input: { readonly name: string; readonly type: ValueType };
  /** Row-major; Float32Array for float32, Int32Array for int32, Uint8Array for bool. */
  constant: { readonly shape: Shape; readonly dtype: 'float32' | 'int32' | 'bool'; readonly data: ConstantData };
  /** A resident table, [rows, …rowShape]. */
  table: { readonly table: DataTable };
  /**
   * Keyed draw. key = episodeKey(seed, stream, worker, episode), then foldIn(key, t) if `perStep`, then foldIn for each
   * word of `path`. Depends on integers only, so that the host can draw it.
   */
  random: {
    readonly stream: Stream;
    readonly perStep: boolean;
    readonly path: readonly number[];
    readonly distribution: Distribution;
    readonly shape: Shape;
  };
  /** int32 0 … size−1 along `axis`, constant along the others. */
  iota: { readonly shape: Shape; readonly axis: number };

  // Elementwise, one float32 operand (neg, abs and sign also int32).
  neg: NoAttributes;
  abs: NoAttributes;
  /** −1, 0, 1; NaN stays NaN. */
  sign: NoAttributes;
  floor: NoAttributes;
  ceil: NoAttributes;
  /** Half to even. */
  round: NoAttributes;
  exp: NoAttributes;
  expm1: NoAttributes;
  log: NoAttributes;
  log1p: NoAttributes;
  sqrt: NoAttributes;
  rsqrt: NoAttributes;
  sin: NoAttributes;
  cos: NoAttributes;
  atan: NoAttributes;
  tanh: NoAttributes;
  sigmoid: NoAttributes;
  erf: NoAttributes;
  isNan: NoAttributes;
  isFinite: NoAttributes;
  /** bool → bool. */
  not: NoAttributes;
  /** The same numbers under a new id: the point where an inner gradient cuts. */
  identity: NoAttributes;
  /** The same numbers; derivative zero. */
  stopGradient: NoAttributes;
  /**
   * float32 → int32 truncates toward zero; number → bool is x ≠ 0; bool and uint8 → number as 0/1 and 0…255.
   */
  cast: { readonly dtype: 'float32' | 'int32' | 'bool' };

  // Elementwise, two operands of one shape and dtype (float32 or int32).
  add: NoAttributes;
  sub: NoAttributes;
  mul: NoAttributes;
  /** float32: IEEE. int32: floor division. */
  div: NoAttributes;
  /** x − ⌊x/y⌋·y: the sign of the divisor. */
  mod: NoAttributes;
  /** float32 only. */
  pow: NoAttributes;
  atan2: NoAttributes;
  /** NaN if either is. */
  max: NoAttributes;
  min: NoAttributes;
  // → bool.
  eq: NoAttributes;
  ne: NoAttributes;
  lt: NoAttributes;
  le: NoAttributes;
  gt: NoAttributes;
  ge: NoAttributes;
  // bool, bool → bool.
  and: NoAttributes;
  or: NoAttributes;
  /** condition (bool), a, b, all of one shape. */
  select: NoAttributes;

  // Contraction.
  /** [...batch, m, k] × [...batch, k, n] → [...batch, m, n]; flags say that an operand is stored transposed. Equal ranks ≥ 2. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean };

  // Reductions over `axes` (ascending, no repeats), which are removed.
  reduceSum: { readonly axes: readonly number[] };
  reduceMax: { readonly axes: readonly number[] };
  reduceMin: { readonly axes: readonly number[] };
  /** int32; the first of equals. */
  argMax: { readonly axis: number };
  argMin: { readonly axis: number };

  // Movement.
  /** Right-aligned: size-1 and missing leading axes are repeated. */
  broadcast: { readonly shape: Shape };
  reshape: { readonly shape: Shape };
  /** result axis i is operand axis perm[i]. */
  transpose: { readonly perm: readonly number[] };
  /** Elements begin[i] + j·strides[i], j < size[i]; strides ≥ 1. */
  slice: { readonly begin: readonly number[]; readonly size: readonly number[]; readonly strides: readonly number[] };
  /** Zeros (false) before, after and between (interior ≥ 0) the elements of every axis: the transpose of slice. */
  pad: { readonly low: readonly number[]; readonly high: readonly number[]; readonly interior: readonly number[] };
  /**
   * Windows of `sizes` elements, `dilations` apart, moved by `strides` along `axes` (ascending). Along each of these the
   * result counts the windows; the axes within a window stand in the same order behind the last of `axes`. [n, h, w, c] with
   * axes [1, 2] → [n, places, places, size, size, c].
   */
  windows: Windowing & { readonly sizes: readonly number[] };
  /** The transpose of windows: every element added where it was seen, into zeros with `extents` along `axes`. */
  foldWindows: Windowing & { readonly extents: readonly number[] };
  concat: { readonly axis: number };
  reverse: { readonly axes: readonly number[] };
  /** operand [rows, …r], indices int32 […i] → […i, …r]. An index outside [0, rows) is clamped to it. */
  gather: NoAttributes;
  /** indices int32 […i], updates […i, …r] → [rows, …r]: zeros with every update added at its row, in order; indices clamped. */
  scatterAdd: { readonly rows: number };
}

export interface Windowing {
  readonly axes: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
}

export type NoAttributes = Readonly<Record<string, never>>;
export type ConstantData = Float32Array | Int32Array | Uint8Array;

export type OpName = keyof OpAttributes;

export interface NodeOf<P extends OpName> {
  readonly op: P;
  readonly inputs: readonly ValueId[];
  readonly attributes: OpAttributes[P];
  readonly type: ValueType;
}
/** A discriminated union over `op`. */
export type Node = { [P in OpName]: NodeOf<P> }[OpName];

/** Nodes in topological order; `inputs` lists the input nodes in the order in which values are fed. */
export interface Graph {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
}

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i]);
}

/** `float32[2,3]`. */
export function formatType(type: ValueType): string {
  return `${type.dtype}[${type.shape.join(',')}]`;
}
