import { GraphBuilder } from '../../../graph/builder';
import type { Graph, NodeOf, OpName, ValueId } from '../../../graph/ir';
import type { Pass } from '../../../graph/passes';
import { featureParts, type Part } from './shared-features';

/**
 * The way back through [features of each row, features that all rows share]·W. The gradient by W of a feature that all rows
 * share is an outer product with the sum of the rows' cotangents; and of the gradient by the features, only the columns
 * that somebody reads are computed.
 */
export const featureGradients: Pass = {
  name: 'feature-gradients',
  run(graph) {
    const builder = new GraphBuilder(graph.name);
    const narrow = readColumns(graph);
    const replaced: ValueId[] = [];
    const keep = <P extends OpName>(node: NodeOf<P>): ValueId => builder.emit(node.op, node.inputs, node.attributes);
    graph.nodes.forEach((old, id) => {
      const node = { ...old, inputs: old.inputs.map((operand) => replaced[operand]) };
      const read = narrow.get(id);
      if (node.op === 'matmul' && read !== undefined) replaced.push(narrowed(builder, node, read));
      else if (node.op === 'slice' && narrow.has(old.inputs[0])) {
        const { begin, size, strides } = node.attributes;
        const [from] = narrow.get(old.inputs[0])!;
        replaced.push(builder.emit('slice', node.inputs, { begin: [begin[0], begin[1] - from], size, strides }));
      } else replaced.push((node.op === 'matmul' ? split(builder, node) : undefined) ?? keep<OpName>(node));
    });
    return builder.finish(graph.outputs.map((id) => replaced[id]));
  },
};

/** First and last + 1 of the columns that are read of products of which nobody reads all. */
function readColumns({ nodes, outputs }: Graph): Map<ValueId, readonly [number, number]> {
  const read = new Map<ValueId, readonly [number, number]>();
  const whole = new Set<ValueId>(outputs);
  for (const node of nodes) {
    for (const operand of node.inputs) {
      if (nodes[operand].op !== 'matmul' || nodes[operand].type.shape.length !== 2) continue;
      if (node.op === 'slice') {
        const { begin, size, strides } = node.attributes;
        const [from, to] = [begin[1], begin[1] + (size[1] - 1) * strides[1] + 1];
        const before = read.get(operand) ?? [from, to];
        read.set(operand, [Math.min(from, before[0]), Math.max(to, before[1])]);
      } else whole.add(operand);
    }
  }
  for (const [id, [from, to]] of read) {
    if (whole.has(id) || to - from === nodes[id].type.shape[1]) read.delete(id);
  }
  return read;
}

/** The product's columns from … to, by those columns of its right operand. */
function narrowed(
  builder: GraphBuilder,
  { inputs, attributes }: NodeOf<'matmul'>,
  [from, to]: readonly [number, number],
): ValueId {
  const shape = builder.shape(inputs[1]);
  const axis = attributes.transposeB ? 0 : 1;
  const columns = builder.emit('slice', [inputs[1]], {
    begin: shape.map((_, k) => (k === axis ? from : 0)),
    size: shape.map((extent, k) => (k === axis ? to - from : extent)),
    strides: [1, 1],
  });
  return builder.emit('matmul', [inputs[0], columns], attributes);
}

/** featuresᵀ·cotangents, part by part. */
function split(builder: GraphBuilder, { inputs, attributes }: NodeOf<'matmul'>): ValueId | undefined {
  const [features, cotangents] = inputs;
  const parts = attributes.transposeA ? featureParts(builder, features) : undefined;
  if (parts === undefined) return undefined;
  const rowAxis = attributes.transposeB ? 1 : 0;
  let sum: ValueId | undefined;
  const outer = (row: ValueId): ValueId => {
    sum ??= builder.reduceSum(cotangents, [rowAxis]);
    const [columns, width] = [builder.shape(row)[1], builder.shape(sum)[0]];
    const across = builder.broadcast(builder.reshape(sum, [1, width]), [columns, width]);
    return builder.op('mul', builder.broadcast(builder.reshape(row, [columns, 1]), [columns, width]), across);
  };
  // Neighbours of a kind are one product.
  const runs: Part[][] = [];
  for (const part of parts) {
    const last = runs.at(-1);
    if (last !== undefined && (last[0].row === undefined) === (part.row === undefined)) last.push(part);
    else runs.push([part]);
  }
  const joined = (ids: readonly ValueId[]): ValueId =>
    ids.length === 1 ? ids[0] : builder.emit('concat', ids, { axis: 1 });
  const pieces = runs.map((run) =>
    run[0].row === undefined
      ? builder.emit('matmul', [joined(run.map(({ id }) => id)), cotangents], attributes)
      : outer(joined(run.map(({ row }) => row!))),
  );
  return pieces.length === 1 ? pieces[0] : builder.emit('concat', pieces, { axis: 0 });
}
