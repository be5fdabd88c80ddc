/** A traced problem: what engines compile. */
import type { ThetaLayout, UnrolledProblem } from '../contracts';
import type { Graph, ValueType } from './ir';

/** One leaf of the state, in tree order. */
export interface StateLeaf {
  readonly path: string;
  readonly type: ValueType;
}

/**
 * Inputs and outputs of the three graphs, in this order:
 * - `init`: θ leaves → state leaves.
 * - `step`: θ leaves, state leaves, t (int32 []) → state leaves, loss (float32 []), metrics (float32 [], by name).
 * - `finish`: θ leaves, state leaves, t → outputs (float32 [], by name).
 *
 * Input names: `theta.<path>`, `state.<path>`, `t`. Names of metrics and outputs are sorted.
 */
export interface TracedProblem {
  readonly problem: UnrolledProblem;
  readonly theta: ThetaLayout;
  readonly state: readonly StateLeaf[];
  readonly metrics: readonly string[];
  readonly finishes: readonly string[];
  readonly init: Graph;
  readonly step: Graph;
  readonly finish?: Graph;
}
