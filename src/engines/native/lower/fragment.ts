/**
 * The seam between planning and lowering: a fragment is a set of nodes that one kernel computes; lowering makes the loop
 * nest of it. Planning decides what is fused, where values lie and in what layout; lowering how loops run.
 */
import type { Graph, ValueId } from '../../../graph/ir';
import type { Expr, Index, Kernel } from '../nest/ir';
import type { Layout } from '../plan/program';

/**
 * `members` are computed within the kernel and kept only if `stores` names them; every other value that a member reads is
 * an operand, lies in memory and has a layout. Constants of one element and iotas are always members.
 *
 * - map: no root; members are elementwise and movement ops, all stores have one shape.
 * - product: root is a matmul; the other members are elementwise ops of the root's shape that depend on it (its
 *   epilogue) and what they read besides (broadcasts, one-element constants). Stores have the root's shape.
 * - reduce: root is a reduceSum, reduceMax, reduceMin, argMax or argMin; members are what its operand is computed from
 *   (its prologue: elementwise and movement) and an elementwise epilogue of the root's shape. Stores have the root's shape.
 * - rows: members are independent along the leading axis, which all have (`rows` long), except uniform values (that have
 *   no such axis and are read by broadcasts) and sums over axis 0, which only stores may be.
 *   Matmuls have the rows as their m (transposeA false) and a uniform second operand; or they sum over the rows
 *   (transposeA true, both operands have them), and then only stores may be such.
 * - draw: root is a `random` op; nothing else. The kernel's scalar parameters are key0 and key1 (u32).
 * - scatter: root is a scatterAdd; nothing else.
 */
export interface Fragment {
  readonly kind: 'map' | 'product' | 'reduce' | 'rows' | 'draw' | 'scatter';
  readonly graph: Graph;
  readonly root?: ValueId;
  /** Topological order, the root included. */
  readonly members: readonly ValueId[];
  /** Of operands and of stores. Operands of a uint8 or bool dtype have memory u8, int32 i32, float32 f32. */
  readonly layouts: ReadonlyMap<ValueId, Layout>;
  readonly stores: readonly ValueId[];
  /** Extent of the leading axis; for `rows`. */
  readonly rows?: number;
}

/** What a kernel's buffer is bound to. A store may lie where an operand lies if it is read only at the element written. */
export type BufferUse =
  | { readonly kind: 'operand'; readonly value: ValueId }
  | { readonly kind: 'store'; readonly value: ValueId }
  /** Scratch memory for the duration of the call. */
  | { readonly kind: 'workspace'; readonly bytes: number };

export interface Lowered {
  readonly kernel: Kernel;
  /** One for each of the kernel's buffers. */
  readonly buffers: readonly BufferUse[];
}

/** A position along one axis: in lane l it is index + l·lanes. */
export interface Coordinate {
  readonly index: Index;
  readonly lanes: number;
}

/** Emits what a fragment computes at one element (or at one element a lane). Implemented in emit.ts. */
export interface ElementEmitter {
  /**
   * The value of a node at coordinates, one for each axis of the node's shape; appends `let`s to the statements being
   * built. Values given to `define` are taken as they are. Memoised by node and coordinates until `forget`.
   */
  value(id: ValueId, at: readonly Coordinate[]): Expr;
  /** Says that a node's value, at any coordinates asked for until `forget`, is this. */
  define(id: ValueId, value: Expr): void;
  forget(): void;
}
