/** A traced problem: what engines compile. */
import type { ThetaLayout, UnrolledProblem } from '../contracts';
import { sizeOf, type Graph, type ValueType } from './ir';

/** One leaf of the state, in tree order. */
export interface StateLeaf {
  readonly path: string;
  readonly type: ValueType;
}

/**
 * Inputs and outputs of the three graphs, in this order:
 * - `init`: θ leaves → state leaves.
 * - `step`: θ leaves, state leaves, t (int32 []) → state leaves, loss (float32 []), metrics (float32 [], by name), sums.
 * - `finish`: θ leaves, state leaves, t → outputs (float32 [], by name).
 *
 * Input names: `theta.<path>`, `state.<path>`, `t`. Names of metrics and outputs are sorted.
 */
export interface TracedProblem {
  readonly problem: UnrolledProblem;
  readonly theta: ThetaLayout;
  readonly state: readonly StateLeaf[];
  readonly metrics: readonly string[];
  /** float32 outputs of the step of any shape; a window returns their sums, one after another, as a row of derivatives. */
  readonly sums?: readonly ValueType[];
  readonly finishes: readonly string[];
  readonly init: Graph;
  readonly step: Graph;
  readonly finish?: Graph;
}

/** The name of a graph's input for a leaf: that of a bare tensor has no path. */
export function inputName(prefix: string, path: string): string {
  return path === '' ? prefix : `${prefix}.${path}`;
}

/** Numbers of a particle's row of sums. */
export function sumsSize({ sums = [] }: Pick<TracedProblem, 'sums'>): number {
  return sums.reduce((size, { shape }) => size + sizeOf(shape), 0);
}

/** Numbers of a particle's float32 leaves. */
export function stateSize({ state }: Pick<TracedProblem, 'state'>): number {
  return state.reduce((size, { type }) => size + (type.dtype === 'float32' ? sizeOf(type.shape) : 0), 0);
}
