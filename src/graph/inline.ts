import { ShapeError } from '../contracts';
import type { GraphBuilder } from './builder';
import { formatType, sameShape, type Graph, type ValueId } from './ir';

/**
 * Copies every node of `graph` but its inputs into the builder, reading `inputIds` in their place.
 * @returns the builder's ids of the graph's outputs.
 * @throws ShapeError if the inputs differ in number or type from the graph's.
 */
export function inline(builder: GraphBuilder, graph: Graph, inputIds: readonly ValueId[]): ValueId[] {
  if (inputIds.length !== graph.inputs.length) {
    throw new ShapeError(
      `graph "${graph.name}": expected ${graph.inputs.length} inputs to inline it with, got ${inputIds.length}.`,
    );
  }
  const copies: ValueId[] = [];
  graph.inputs.forEach((id, i) => {
    const expected = graph.nodes[id].type;
    const got = builder.type(inputIds[i]);
    if (expected.dtype !== got.dtype || !sameShape(expected.shape, got.shape)) {
      throw new ShapeError(
        `graph "${graph.name}", input ${i}: expected ${formatType(expected)}, got ${formatType(got)}.`,
      );
    }
    copies[id] = inputIds[i];
  });
  graph.nodes.forEach((node, id) => {
    if (node.op === 'input') return;
    copies[id] = builder.emit(
      node.op,
      node.inputs.map((input) => copies[input]),
      node.attributes,
    );
  });
  return graph.outputs.map((id) => copies[id]);
}

/**
 * Starts a builder with a copy of `graph`, inputs first and under their own names.
 * @returns the builder's ids of the graph's inputs and outputs.
 */
export function copyInto(builder: GraphBuilder, graph: Graph): { inputs: ValueId[]; outputs: ValueId[] } {
  const inputs = graph.inputs.map((id) => {
    const node = graph.nodes[id];
    if (node.op !== 'input')
      throw new ShapeError(`graph "${graph.name}": value ${id} is listed as an input and is none.`);
    return builder.input(node.attributes.name, node.type);
  });
  return { inputs, outputs: inline(builder, graph, inputs) };
}

/** The names of a graph's inputs. */
export function inputNames(graph: Graph): Set<string> {
  return new Set(graph.nodes.flatMap((node) => (node.op === 'input' ? [node.attributes.name] : [])));
}

/** `name`, or `name'`, `name''` … if it is taken (derivatives of derivatives add inputs of the same names); takes it. */
export function freshName(taken: Set<string>, name: string): string {
  let fresh = name;
  while (taken.has(fresh)) fresh += "'";
  taken.add(fresh);
  return fresh;
}
