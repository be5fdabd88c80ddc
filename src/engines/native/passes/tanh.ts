import { GraphBuilder } from '../../../graph/builder';
import type { Graph, Node, NodeOf, OpName, ValueId } from '../../../graph/ir';
import type { Pass } from '../../../graph/passes';
import { splatOf } from '../../../graph/passes/splat';

/** 2u, exactly; a factor of u is doubled instead if it is a constant. */
function twice(builder: GraphBuilder, u: ValueId): ValueId {
  const { op, inputs, type } = builder.node(u);
  if (op === 'mul') {
    const [a, b] = inputs;
    for (const [factor, other] of [
      [a, b],
      [b, a],
    ]) {
      const value = splatOf(builder, factor);
      if (value !== undefined) return builder.op('mul', other, builder.fill(2 * value, type.shape));
    }
  }
  return builder.op('add', u, u);
}

/**
 * GELU in its tanh form asks for 1 + tanh u, its derivative for 1 − tanh u too: 2σ(2u) and 2 − 2σ(2u). σ takes little more
 * than half of the time of tanh, which has to be exact near 0 too, and 1 + tanh u loses its digits where u is negative. Done
 * where nothing reads the tanh but such sums.
 */
export const tanhOfSums: Pass = {
  name: 'tanh-of-sums',
  run(graph: Graph): Graph {
    const old = { node: (id: ValueId): Node => graph.nodes[id] };
    /** The operand that 1 is added to, or that is subtracted from 1. */
    const besideOne = ({ op, inputs: [a, b] }: Node): ValueId | undefined => {
      if ((op === 'add' || op === 'sub') && splatOf(old, a) === 1) return b;
      return op === 'add' && splatOf(old, b) === 1 ? a : undefined;
    };
    const otherwise = new Set(graph.outputs);
    for (const node of graph.nodes) {
      const beside = besideOne(node);
      for (const operand of node.inputs) if (operand !== beside) otherwise.add(operand);
    }

    const builder = new GraphBuilder(graph.name);
    const replaced: ValueId[] = [];
    /** 2σ(2u), by the tanh u of the old graph. */
    const doubled = new Map<ValueId, ValueId>();
    const keep = <P extends OpName>({ op, inputs, attributes }: NodeOf<P>): ValueId =>
      builder.emit(
        op,
        inputs.map((operand) => replaced[operand]),
        attributes,
      );
    for (const [id, node] of graph.nodes.entries()) {
      if (node.op === 'tanh' && !otherwise.has(id)) {
        const half = builder.op('sigmoid', twice(builder, replaced[node.inputs[0]]));
        doubled.set(id, builder.op('add', half, half));
      }
      const beside = besideOne(node);
      const sum = beside === undefined ? undefined : doubled.get(beside);
      if (sum === undefined) replaced.push(keep<OpName>(node));
      else replaced.push(node.op === 'add' ? sum : builder.op('sub', builder.fill(2, node.type.shape), sum));
    }
    return builder.finish(graph.outputs.map((id) => replaced[id]));
  },
};
