import type { GraphBuilder } from '../../../graph/builder';
import type { NodeOf, ValueId } from '../../../graph/ir';
import { rewriteGraph, type Pass } from '../../../graph/passes';

/** Columns of a value that is joined from parts. */
export interface Part {
  readonly id: ValueId;
  /** First column, and how many. */
  readonly begin: number;
  readonly columns: number;
  /** The one row that all rows are, [1, columns]. */
  readonly row?: ValueId;
}

/** The row that a [rows, columns] value repeats, as [1, columns]. */
function sharedRow(builder: GraphBuilder, id: ValueId): ValueId | undefined {
  const node = builder.node(id);
  if (node.op !== 'broadcast') return undefined;
  const [operand] = node.inputs;
  const { shape } = builder.type(operand);
  if (shape.length === 2 && shape[0] !== 1) return undefined;
  return builder.broadcast(builder.reshape(operand, [1, shape.at(-1) ?? 1]), [1, node.type.shape[1]]);
}

/** The parts of [rows, columns] features that are joined column by column; undefined if they are not, or no row is shared. */
export function featureParts(builder: GraphBuilder, id: ValueId): readonly Part[] | undefined {
  const features = builder.node(id);
  if (features.op !== 'concat' || features.attributes.axis !== 1) return undefined;
  if (features.type.shape.length !== 2 || features.type.shape[0] === 1) return undefined;
  let begin = 0;
  const parts = features.inputs.map((part): Part => {
    const columns = builder.shape(part)[1];
    const row = sharedRow(builder, part);
    begin += columns;
    return { id: part, begin: begin - columns, columns, ...(row === undefined ? {} : { row }) };
  });
  return parts.some(({ row }) => row !== undefined) ? parts : undefined;
}

/** each·W + the one row [1, columns] that all rows share; `each` is left out if all is shared. */
interface Halves {
  readonly each?: ValueId;
  readonly once: ValueId;
}

/**
 * [features of each row, features that all rows share]·W splits: the shared part is one row, computed once. So the time
 * features of a per-parameter optimizer cost nothing a parameter.
 */
function split(builder: GraphBuilder, node: NodeOf<'matmul'>): Halves | undefined {
  const [a, w] = node.inputs;
  const parts = node.attributes.transposeA ? undefined : featureParts(builder, a);
  if (parts === undefined) return undefined;
  const shared = parts.filter(({ row }) => row !== undefined);
  const own = parts.filter(({ row }) => row === undefined);

  const depthAxis = node.attributes.transposeB ? 1 : 0;
  const joined = (ids: readonly ValueId[], axis: number): ValueId =>
    ids.length === 1 ? ids[0] : builder.emit('concat', ids, { axis });
  /** The rows of W that belong to these parts; neighbours in one piece. */
  const weights = (of: readonly Part[]): ValueId => {
    const runs: { begin: number; columns: number }[] = [];
    for (const { begin: from, columns } of of) {
      const last = runs.at(-1);
      if (last !== undefined && last.begin + last.columns === from) last.columns += columns;
      else runs.push({ begin: from, columns });
    }
    const { shape } = builder.type(w);
    const pieces = runs.map(({ begin: from, columns }) =>
      builder.emit('slice', [w], {
        begin: shape.map((_, axis) => (axis === depthAxis ? from : 0)),
        size: shape.map((extent, axis) => (axis === depthAxis ? columns : extent)),
        strides: [1, 1],
      }),
    );
    return joined(pieces, depthAxis);
  };
  const once = builder.emit(
    'matmul',
    [
      joined(
        shared.map(({ row }) => row!),
        1,
      ),
      weights(shared),
    ],
    node.attributes,
  );
  if (own.length === 0) return { once };
  const each = builder.emit(
    'matmul',
    [
      joined(
        own.map(({ id }) => id),
        1,
      ),
      weights(own),
    ],
    node.attributes,
  );
  return { each, once };
}

/** What is added to all rows alike is added to the shared half, once. */
function addToOnce(builder: GraphBuilder, { each, once }: Halves, addend: ValueId): Halves | undefined {
  const row = sharedRow(builder, addend);
  return row === undefined || each === undefined ? undefined : { each, once: builder.op('add', once, row) };
}

export const sharedFeatures: Pass = {
  name: 'shared-features',
  run(graph) {
    const known = new Map<ValueId, Halves>();
    return rewriteGraph(graph, (builder, node) => {
      let halves: Halves | undefined;
      if (node.op === 'matmul') halves = split(builder, node);
      if (node.op === 'add') {
        const [a, b] = node.inputs;
        const [split, other] = known.has(a) ? [known.get(a), b] : [known.get(b), a];
        halves = split && addToOnce(builder, split, other);
      }
      if (halves === undefined) return undefined;
      const spread = builder.broadcast(halves.once, node.type.shape);
      if (halves.each === undefined) return spread;
      const sum = builder.op('add', halves.each, spread);
      known.set(sum, halves);
      return sum;
    });
  },
};
