import type { NodeOf, OpName } from '../../../graph/ir';
import type { Lowering, Value } from '../lowering';

/** Appends the calls of one node and returns its value. Operands may be shared or batched, and lazily broadcast. */
export type Rule<P extends OpName> = (l: Lowering, node: NodeOf<P>, inputs: readonly Value[]) => Value;
