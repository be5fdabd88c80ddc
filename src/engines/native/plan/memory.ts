/** Which values lie in memory, under which layout, and what a view on one of them is. */
import { sizeOf, type ValueId } from '../../../graph/ir';
import type { Target } from '../nest/ir';
import type { Analysis } from './analysis';
import type { Group, Grouping } from './groups';
import type { Layout } from './program';
import { denseLayout, matrixOfLoops, viewOf } from './views';

/** Members of a group that something outside of it reads, or the graph returns. */
export function storesOf(grouping: Grouping, group: Group): ValueId[] {
  const { users, returned, status } = grouping.analysis;
  const readOutside = (id: ValueId): boolean =>
    returned[id] ||
    users[id].some((user) => {
      // Views and what is made anew by its readers are read where those are.
      if (status[user] === 'view') return grouping.of(user) !== group || readOutside(user);
      return status[user] === 'free' ? readOutside(user) : grouping.of(user) !== group;
    });
  return [...group.members].filter((id) => status[id] === 'computed' && readOutside(id)).sort((a, b) => a - b);
}

/** The value whose memory a view looks at; the value itself if it is no view. */
export function baseOf({ graph, status }: Analysis, id: ValueId): ValueId {
  let base = id;
  while (status[base] === 'view') base = graph.nodes[base].inputs[0];
  return base;
}

/**
 * Layout of a view within its base's memory, and the offset of its first element.
 * @returns undefined if under this layout of the base the view does not lie regularly.
 */
export function seenThrough(
  analysis: Analysis,
  id: ValueId,
  baseLayout: Layout,
): { readonly layout: Layout; readonly offset: number } | undefined {
  if (analysis.status[id] !== 'view') return { layout: baseLayout, offset: 0 };
  const node = analysis.graph.nodes[id];
  const operand = seenThrough(analysis, node.inputs[0], baseLayout);
  if (operand !== undefined && analysis.loops.has(id)) {
    const matrix = matrixOfLoops(node, operand.layout);
    return matrix === undefined ? undefined : { layout: matrix, offset: operand.offset };
  }
  const view = operand === undefined ? undefined : viewOf(node, operand.layout);
  return view === undefined ? undefined : { layout: view.layout, offset: view.offset + operand!.offset };
}

/** Rows start at a multiple of the vector's length where that wastes little: no load crosses a cache line. */
function paddedTo(extent: number, lanes: number): number {
  const padded = Math.ceil(extent / lanes) * lanes;
  if (extent <= lanes) return extent > lanes / 2 ? padded : extent;
  return padded <= extent * 1.15 ? padded : extent;
}

/** Layouts worth trying for a value: by rows, by columns, each padded; by rows and dense last. */
export function layoutsFor(analysis: Analysis, id: ValueId, target: Target): Layout[] {
  const dense = denseLayout(analysis.graph.nodes[id].type);
  const { shape, memory } = dense;
  if (shape.length !== 2 || sizeOf(shape) === 0) return [dense];
  const [rows, columns] = shape;
  const byRows = { shape, strides: [paddedTo(columns, target.lanes), 1], memory };
  const byColumns = { shape, strides: [1, paddedTo(rows, target.lanes)], memory };
  return [byRows, byColumns, dense];
}
