import { OuterloopError } from '../../contracts';
import type { GraphBuilder } from '../builder';
import { interpret } from '../interpreter';
import { sizeOf, type ConstantData, type Graph, type Node, type OpName, type ValueId } from '../ir';
import { rewriteGraph, type Pass } from './pass';

/** Neither a folded constant nor what it was computed from has more elements: a graph must not grow by folding. */
export const MAX_FOLDED_ELEMENTS = 4096;

/** Ops that say in a few words what a constant would say at length. They are folded only into what uses them. */
const COMPACT: readonly OpName[] = ['broadcast', 'iota'];

/** The drawn, the fed and the large. */
const NEVER: readonly OpName[] = ['input', 'random', 'table', 'constant'];

/**
 * Constant folding through the interpreter, every float32 result rounded once. A result with equal elements becomes a
 * broadcast scalar.
 */
export const foldConstants: Pass = {
  name: 'fold',
  run(graph: Graph): Graph {
    return rewriteGraph(graph, (builder, node) => {
      const size = sizeOf(node.type.shape);
      if (NEVER.includes(node.op) || COMPACT.includes(node.op) || node.type.dtype === 'uint8') return undefined;
      if (size > MAX_FOLDED_ELEMENTS || !node.inputs.every((input) => isConstant(builder, input))) return undefined;
      return emitConstant(builder, node, evaluate(builder, node));
    });
  },
};

/** True for constants and for compact ops of constants, within the bound. */
function isConstant(builder: GraphBuilder, id: ValueId): boolean {
  const node = builder.node(id);
  if (sizeOf(node.type.shape) > MAX_FOLDED_ELEMENTS) return false;
  return (
    node.op === 'constant' || (COMPACT.includes(node.op) && node.inputs.every((input) => isConstant(builder, input)))
  );
}

/** Runs the node and the constants that it reads as a graph of their own. */
function evaluate(builder: GraphBuilder, node: Node): ConstantData {
  const nodes: Node[] = [];
  const copy = (original: Node): ValueId => {
    const inputs = original.inputs.map((input) => copy(builder.node(input)));
    return nodes.push({ ...original, inputs }) - 1;
  };
  const output = copy(node);
  const context = { key: (): never => fail(), t: 0 };
  const [value] = interpret({ name: 'fold', nodes, inputs: [], outputs: [output] }, [], context, { floats: 'float32' });
  return value as ConstantData;
}

function fail(): never {
  throw new OuterloopError('fold asked for a random key; constants need none.');
}

function emitConstant(
  builder: GraphBuilder,
  { type: { shape, dtype } }: Node,
  data: ConstantData,
): ValueId | undefined {
  if (dtype === 'uint8') return undefined;
  if (data.length > 1 && data.every((x) => Object.is(x, data[0]))) {
    return builder.broadcast(builder.constant(data.slice(0, 1), [], dtype), shape);
  }
  return builder.constant(data, shape, dtype);
}
