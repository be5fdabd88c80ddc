import { OuterloopError } from '../../contracts';
import type { GraphBuilder } from '../builder';
import { interpret, type Value } from '../interpreter';
import { sizeOf, type Graph, type Node, type OpName, type ValueId } from '../ir';
import { rewriteGraph, type Pass } from './pass';

/** Neither a folded constant nor what it was computed from has more elements: a graph must not grow by folding. */
export const MAX_FOLDED_ELEMENTS = 4096;

/** A constant expression of more nodes is left to the engines. */
const MAX_EXPRESSION = 16;

/** Ops that say in a few words what a constant would say at length. They are folded only into what uses them. */
const COMPACT: readonly OpName[] = ['broadcast', 'iota'];

/** The drawn, the fed and the large. */
const NEVER: readonly OpName[] = ['input', 'random', 'table'];

/**
 * Constant folding through the interpreter, where its float64 and its float32 agree, so that a folded graph computes
 * the same in both: 1/4 is folded, 1/3 is not, 1/3 > 0 is. (Engines compute what is left once per program, not per
 * step.) A result with equal elements becomes a broadcast scalar.
 */
export const foldConstants: Pass = {
  name: 'fold',
  run(graph: Graph): Graph {
    return rewriteGraph(graph, (builder, node) => {
      if (node.op === 'constant' || COMPACT.includes(node.op) || node.type.dtype === 'uint8') return undefined;
      const expression = constantExpression(builder, node);
      if (expression === undefined) return undefined;
      const [wide] = interpret(expression, [], NO_CONTEXT);
      const [narrow] = interpret(expression, [], NO_CONTEXT, { floats: 'float32' });
      return wide.every((x, i) => Object.is(x, narrow[i])) ? emitConstant(builder, node, narrow) : undefined;
    });
  },
};

const NO_CONTEXT = {
  key: (): never => {
    throw new OuterloopError('fold asked for a random key; constants need none.');
  },
  t: 0,
};

/** A node and all that it reads as a graph of their own; undefined if that is not constant, or too large. */
function constantExpression(builder: GraphBuilder, root: Node): Graph | undefined {
  const nodes: Node[] = [];
  const copies = new Map<ValueId, ValueId>();
  const copy = (node: Node): ValueId | undefined => {
    if (NEVER.includes(node.op) || sizeOf(node.type.shape) > MAX_FOLDED_ELEMENTS) return undefined;
    const inputs: ValueId[] = [];
    for (const input of node.inputs) {
      const copied = copies.get(input) ?? copy(builder.node(input));
      if (copied === undefined) return undefined;
      copies.set(input, copied);
      inputs.push(copied);
    }
    return nodes.length < MAX_EXPRESSION ? nodes.push({ ...node, inputs }) - 1 : undefined;
  };
  const output = copy(root);
  return output === undefined ? undefined : { name: 'fold', nodes, inputs: [], outputs: [output] };
}

function emitConstant(builder: GraphBuilder, { type: { shape, dtype } }: Node, value: Value): ValueId | undefined {
  if (dtype === 'uint8' || value instanceof Float64Array) return undefined;
  if (value.length > 1 && value.every((x) => Object.is(x, value[0]))) {
    return builder.broadcast(builder.constant(value.slice(0, 1), [], dtype), shape);
  }
  return builder.constant(value, shape, dtype);
}
