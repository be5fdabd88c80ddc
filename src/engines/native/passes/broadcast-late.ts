import { commonShape, type GraphBuilder } from '../../../graph/builder';
import { sizeOf, type Node, type Shape, type ValueId } from '../../../graph/ir';
import { rewriteGraph, type Pass } from '../../../graph/passes';
import { isElementwise } from '../plan/analysis';

/** What a value repeats, if it is a broadcast. */
function source(builder: GraphBuilder, id: ValueId): ValueId | undefined {
  const node = builder.node(id);
  return node.op === 'broadcast' ? node.inputs[0] : undefined;
}

function early(builder: GraphBuilder, node: Node): ValueId | undefined {
  if (!isElementwise(node) || node.inputs.length === 0) return undefined;
  const sources = node.inputs.map((id) => source(builder, id));
  if (sources.some((id) => id === undefined)) return undefined;
  const shapes = sources.map((id) => builder.shape(id!));
  const small = shapes.reduce((a: Shape, b) => commonShape(a, b));
  if (sizeOf(small) >= sizeOf(node.type.shape)) return undefined;
  const inputs = sources.map((id) => builder.broadcast(id!, small));
  // The attributes do not speak of the shape in any elementwise op.
  const result = builder.emit(node.op as 'neg', inputs, node.attributes as Readonly<Record<string, never>>);
  return builder.broadcast(result, node.type.shape);
}

/** Arithmetic on broadcast values is done before the broadcast: once for what all elements share. */
export const broadcastLate: Pass = {
  name: 'broadcast-late',
  run: (graph) => rewriteGraph(graph, early),
};
