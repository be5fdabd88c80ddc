import { GraphBuilder } from '../../../graph/builder';
import { sizeOf, type Graph, type Node, type NodeOf, type OpName, type Shape, type ValueId } from '../../../graph/ir';
import type { Pass } from '../../../graph/passes';
import { isElementwise } from '../plan/analysis';

function isColumn(shape: Shape): boolean {
  return shape.length === 2 && shape[1] === 1 && shape[0] > 1;
}

/**
 * A network over the parameters of a tensor sees each tensor as a column [size, 1]. Arithmetic before and after it is
 * done on columns too, so that one chain of rows runs from the gradient to the new parameter: reshapes to a column move
 * up over elementwise ops that nothing else reads, reshapes from one move down over all elementwise ops.
 */
export const columns: Pass = {
  name: 'columns',
  run(graph: Graph): Graph {
    const builder = new GraphBuilder(graph.name);
    const replaced: ValueId[] = [];
    const uses = graph.nodes.map(() => 0);
    for (const node of graph.nodes) for (const operand of node.inputs) uses[operand] += 1;
    for (const id of graph.outputs) uses[id] += 1;
    /** Columns that are joined to rows of features. */
    const joined = new Set(
      graph.nodes.flatMap((node) => (node.op === 'concat' && node.attributes.axis === 1 ? node.inputs : [])),
    );

    const emit = <P extends OpName>(node: NodeOf<P>, inputs: readonly ValueId[]): ValueId =>
      builder.emit(node.op, inputs, node.attributes);
    /** A value of the new graph as a column. */
    const asColumn = (id: ValueId, shape: Shape): ValueId => {
      const node = builder.node(id);
      if (node.op === 'broadcast' && sizeOf(builder.shape(node.inputs[0])) === 1) {
        return builder.broadcast(builder.reshape(node.inputs[0], []), shape);
      }
      if (node.op === 'reshape' && isColumn(builder.shape(node.inputs[0]))) return node.inputs[0];
      return builder.reshape(id, shape);
    };
    /** A value of the old graph as a column, computed as one if nothing else needs it. */
    const columnOf = (old: ValueId, shape: Shape): ValueId => {
      const node = graph.nodes[old];
      if (!isElementwise(node) || uses[old] !== 1) return asColumn(replaced[old], shape);
      return emit<OpName>(
        node,
        node.inputs.map((operand) => columnOf(operand, shape)),
      );
    };
    const fromColumns = (node: Node, inputs: readonly ValueId[]): ValueId | undefined => {
      const { shape } = node.type;
      if (!isElementwise(node) || isColumn(shape)) return undefined;
      const column = [sizeOf(shape), 1];
      const any = inputs.some((id) => {
        const operand = builder.node(id);
        return operand.op === 'reshape' && isColumn(builder.shape(operand.inputs[0]));
      });
      if (!any) return undefined;
      const result = emit<OpName>(
        node,
        inputs.map((id) => asColumn(id, column)),
      );
      return builder.reshape(result, shape);
    };

    for (const [id, node] of graph.nodes.entries()) {
      const inputs = node.inputs.map((operand) => replaced[operand]);
      const moved =
        node.op === 'reshape' && isColumn(node.type.shape) && joined.has(id)
          ? columnOf(node.inputs[0], node.type.shape)
          : fromColumns(node, inputs);
      replaced.push(moved ?? emit<OpName>(node, inputs));
    }
    return builder.finish(graph.outputs.map((id) => replaced[id]));
  },
};
