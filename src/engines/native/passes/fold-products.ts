import { GraphBuilder } from '../../../graph/builder';
import type { Graph, NodeOf, OpName, ValueId } from '../../../graph/ir';
import type { Pass } from '../../../graph/passes';
import { windowSizes } from '../../../graph/windows';

/**
 * The gradient by the input of a convolution whose windows move by one element. As it is derived, a product makes a patch
 * for every place and the patches are added up where they overlap; the same sum is a convolution of the padded gradient of
 * the output with the filter turned around, a product that reads its windows where they are, and no patch is stored:
 *
 *     slice(foldWindows(reshape(g·fᵀ))) → reshape(reshape(windows(pad(g)))·turned(f))
 *
 * Where windows move further, zeros between the elements would have to be multiplied too, and the sum stays.
 */
export const foldProducts: Pass = {
  name: 'fold-products',
  run(graph: Graph): Graph {
    const builder = new GraphBuilder(graph.name);
    const replaced: ValueId[] = [];
    const readers = graph.nodes.map((): ValueId[] => []);
    graph.nodes.forEach((node, id) => {
      for (const operand of node.inputs) readers[operand].push(id);
    });
    const returned = new Set(graph.outputs);
    const alone = (id: ValueId): boolean => readers[id].length === 1 && !returned.has(id);
    /** Folds that the slice behind them replaces. */
    const cut = new Map<ValueId, ValueId>();
    graph.nodes.forEach((node, id) => {
      const [operand] = node.inputs;
      if (node.op === 'slice' && node.attributes.strides.every((s) => s === 1) && alone(operand)) cut.set(operand, id);
    });
    graph.nodes.forEach((node, id) => {
      const fold = node.op === 'slice' ? asFold(graph, node.inputs[0]) : asFold(graph, id);
      const patches = fold === undefined ? undefined : patchesOf(graph, fold, alone);
      if (fold !== undefined && patches !== undefined) {
        if (node.op === 'foldWindows' && cut.has(id) && isCut(graph, cut.get(id)!, node)) {
          // What its slice becomes does not read it.
          replaced.push(-1);
          return;
        }
        const slice = node.op === 'slice' ? node : undefined;
        if (slice === undefined || (cut.get(node.inputs[0]) === id && isCut(graph, id, fold))) {
          replaced.push(turned(builder, graph, fold, patches, slice, replaced));
          return;
        }
      }
      const inputs = node.inputs.map((operand) => replaced[operand]);
      replaced.push(builder.emit<OpName>(node.op, inputs, node.attributes));
    });
    return builder.finish(graph.outputs.map((id) => replaced[id]));
  },
};

type Fold = NodeOf<'foldWindows'>;

function asFold({ nodes }: Graph, id: ValueId): Fold | undefined {
  const node = nodes[id];
  return node.op === 'foldWindows' ? node : undefined;
}

/** The product whose rows are the patches that are folded, if nothing else reads any of it. */
function patchesOf(graph: Graph, fold: Fold, alone: (id: ValueId) => boolean): NodeOf<'matmul'> | undefined {
  const { nodes } = graph;
  const { axes, strides } = fold.attributes;
  const [from] = fold.inputs;
  const reshape = nodes[from];
  const { shape } = reshape.type;
  if (reshape.op !== 'reshape' || !alone(from) || !alone(reshape.inputs[0])) return undefined;
  // [n, places, places, size, size, channels], one row a place.
  const images = axes.length === 2 && axes[0] === 1 && axes[1] === 2 && shape.length === 6;
  if (!images || strides.some((stride) => stride !== 1)) return undefined;
  const product = nodes[reshape.inputs[0]];
  if (product.op !== 'matmul' || product.type.shape.length !== 2 || product.attributes.transposeA) return undefined;
  return product.type.shape[0] === shape[0] * shape[1] * shape[2] ? product : undefined;
}

/** Whether a slice leaves batch and channels whole, and cuts no more of the borders than a convolution's padding has. */
function isCut({ nodes }: Graph, id: ValueId, fold: Fold): boolean {
  const slice = nodes[id];
  if (slice.op !== 'slice') return false;
  const { begin, size } = slice.attributes;
  const { shape } = fold.type;
  const sizes = windowSizes(nodes[fold.inputs[0]].type.shape, fold.attributes.axes);
  return shape.every((extent, axis) => {
    if (axis === 0 || axis === 3) return size[axis] === extent;
    const border = (sizes[axis - 1] - 1) * fold.attributes.dilations[axis - 1];
    return begin[axis] <= border && extent - begin[axis] - size[axis] <= border;
  });
}

function turned(
  b: GraphBuilder,
  { nodes }: Graph,
  fold: Fold,
  product: NodeOf<'matmul'>,
  slice: NodeOf<'slice'> | undefined,
  replaced: readonly ValueId[],
): ValueId {
  const { axes, dilations } = fold.attributes;
  const seen = nodes[fold.inputs[0]].type.shape;
  const [batch, rows, columns] = seen;
  const channels = seen[5];
  const sizes = windowSizes(seen, axes);
  const [g, filter] = product.inputs.map((operand) => replaced[operand]);
  const outputs = b.shape(g)[1];
  const begin = slice?.attributes.begin ?? [0, 0, 0, 0];
  const { shape } = (slice ?? fold).type;
  const borders = sizes.map((size, i) => (size - 1) * dilations[i]);
  const low = axes.map((axis, i) => borders[i] - begin[axis]);
  const high = axes.map((axis, i) => shape[axis] + borders[i] - low[i] - seen[axis]);
  const padded = b.emit('pad', [b.reshape(g, [batch, rows, columns, outputs])], {
    low: [0, ...low, 0],
    high: [0, ...high, 0],
    interior: [0, 0, 0, 0],
  });
  const windows = b.emit('windows', [padded], { axes, sizes, strides: [1, 1], dilations });
  const places = shape[0] * shape[1] * shape[2];
  const taps = sizes[0] * sizes[1];
  // [size·size·channels, outputs], or [outputs, size·size·channels] → [size·size·outputs, channels], last tap first.
  const stored = product.attributes.transposeB
    ? b.reshape(filter, [taps, channels, outputs])
    : b.transpose(b.reshape(filter, [outputs, taps, channels]), [1, 2, 0]);
  const back = b.emit('reverse', [b.transpose(stored, [0, 2, 1])], { axes: [0] });
  const sum = b.emit(
    'matmul',
    [b.reshape(windows, [places, taps * outputs]), b.reshape(back, [taps * outputs, channels])],
    { transposeA: false, transposeB: false },
  );
  return b.reshape(sum, shape);
}
