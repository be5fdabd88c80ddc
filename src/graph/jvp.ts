/** Forward mode: the pass `jvp` appends the Jacobian-vector product of part of a graph to the same graph. */
import { GraphBuilder } from './builder';
import { copyInto, freshName, inputNames } from './inline';
import type { Graph, NodeOf, OpName, ValueId } from './ir';
import { JVP_RULES } from './jvp-rules';
import { checkDerivative } from './vjp';

/**
 * Tangents of `outputs`, given those of some values. A value in `tangents` keeps the tangent given, also if it depends on
 * another of them. undefined is a zero tangent: the output depends on none of the values, or is not float32.
 * @throws ShapeError if a value with a tangent is not float32, or its tangent is of another type.
 */
export function jvp(
  builder: GraphBuilder,
  tangents: ReadonlyMap<ValueId, ValueId>,
  outputs: readonly ValueId[],
): (ValueId | undefined)[] {
  for (const [value, tangent] of tangents) checkDerivative(builder, 'jvp: the tangent', value, tangent);
  const known = new Map<ValueId, ValueId | undefined>(tangents);
  for (const id of ancestors(builder, tangents, outputs)) {
    const node = builder.node(id);
    const operands = node.inputs.map((input) => known.get(input));
    if (node.type.dtype !== 'float32' || operands.every((tangent) => tangent === undefined)) continue;
    known.set(id, applyRule(builder, node, id, operands));
  }
  return outputs.map((id) => known.get(id));
}

/**
 * The graph with its forward mode. Inputs: the graph's, then `tangent.<name>` for each float32 input. Outputs: the
 * graph's, then the tangent of each float32 output.
 */
export function jvpGraph(graph: Graph): Graph {
  const builder = new GraphBuilder(`${graph.name}.jvp`);
  const { inputs, outputs } = copyInto(builder, graph);
  const names = inputNames(graph);
  const tangents = new Map<ValueId, ValueId>();
  for (const id of inputs) {
    const node = builder.node(id);
    if (node.op !== 'input' || node.type.dtype !== 'float32') continue;
    tangents.set(id, builder.input(freshName(names, `tangent.${node.attributes.name}`), node.type));
  }
  const floats = outputs.filter((id) => builder.type(id).dtype === 'float32');
  const derivatives = jvp(builder, tangents, floats);
  return builder.finish([
    ...outputs,
    ...derivatives.map((tangent, i) => tangent ?? builder.zeros(builder.type(floats[i]))),
  ]);
}

/** What the outputs are computed from, up to the values with tangents (left out), in topological order. */
function ancestors(
  builder: GraphBuilder,
  tangents: ReadonlyMap<ValueId, ValueId>,
  outputs: readonly ValueId[],
): ValueId[] {
  const first = [...tangents.keys()].reduce((least, id) => Math.min(least, id), builder.size);
  const seen = new Set<ValueId>();
  const pending = [...outputs];
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    if (id < first || tangents.has(id) || seen.has(id)) continue;
    seen.add(id);
    pending.push(...builder.node(id).inputs);
  }
  return [...seen].sort((a, b) => a - b);
}

function applyRule<P extends OpName>(
  builder: GraphBuilder,
  node: NodeOf<P>,
  id: ValueId,
  tangents: readonly (ValueId | undefined)[],
): ValueId | undefined {
  return JVP_RULES[node.op]?.(builder, node, id, tangents);
}
