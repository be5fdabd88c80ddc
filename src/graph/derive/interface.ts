/** Builders whose inputs stand in the order that engines feed: θ leaves, state leaves, t, then what a derivative adds. */
import type { ThetaLeaf } from '../../contracts';
import { GraphBuilder } from '../builder';
import { inline } from '../inline';
import type { Graph, ValueId, ValueType } from '../ir';
import { optimise } from '../passes';
import { inputName, type StateLeaf, type TracedProblem } from '../program';

export interface StepInputs {
  readonly theta: readonly ValueId[];
  readonly state: readonly ValueId[];
  readonly t: ValueId;
}

export const isFloat = ({ dtype }: ValueType): boolean => dtype === 'float32';

export const thetaType = ({ shape }: ThetaLeaf): ValueType => ({ shape, dtype: 'float32' });

/** Indices of the leaves that carry a derivative. */
export function floatLeaves(state: readonly StateLeaf[]): number[] {
  return state.flatMap(({ type }, leaf) => (isFloat(type) ? [leaf] : []));
}

export function thetaInputs(builder: GraphBuilder, { theta }: TracedProblem): ValueId[] {
  return theta.leaves.map((leaf) => builder.input(inputName('theta', leaf.path), thetaType(leaf)));
}

export function stateInputs(builder: GraphBuilder, state: readonly StateLeaf[], prefix = 'state'): ValueId[] {
  return state.map(({ path, type }) => builder.input(inputName(prefix, path), type));
}

export function tInput(builder: GraphBuilder): ValueId {
  return builder.input('t', { shape: [], dtype: 'int32' });
}

/** The step (or `finish`) on these inputs. */
export function inlineStep(builder: GraphBuilder, graph: Graph, { theta, state, t }: StepInputs): ValueId[] {
  return inline(builder, graph, [...theta, ...state, t]);
}

/** A path of a new leaf that no leaf has: `tangent.x`, or `tangent'.x` … */
export function freshPrefix(prefix: string, paths: readonly string[]): string {
  let fresh = prefix;
  while (paths.some((path) => path === fresh || path.startsWith(`${fresh}.`))) fresh += "'";
  return fresh;
}

/** `finish` of a problem with more leaves, which it does not read. */
export function widened(
  traced: TracedProblem,
  finish: Graph,
  added: readonly StateLeaf[],
  moreTheta?: (builder: GraphBuilder) => ValueId,
): Graph {
  const builder = new GraphBuilder(finish.name);
  const theta = thetaInputs(builder, traced);
  moreTheta?.(builder);
  const state = stateInputs(builder, traced.state);
  stateInputs(builder, added);
  return optimise(builder.finish(inlineStep(builder, finish, { theta, state, t: tInput(builder) })));
}
