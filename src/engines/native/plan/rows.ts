/**
 * Rows: chains that are independent along a leading axis and narrow behind it run tile by tile, rows in lanes, from their
 * first op to their last. Two things start such a chain: a reduction of narrow rows (softmax and what belongs to it), and
 * a product whose rows are put together from columns (a network over the parameters of a tensor).
 */
import { sizeOf, type Node, type ValueId } from '../../../graph/ir';
import { isContraction } from '../lower/lanes';
import { isElementwise, type Analysis } from './analysis';
import type { Group, Grouping } from './groups';

/** Elements behind the leading axis, at most: a softmax's classes. Wider rows vectorise along themselves. */
const NARROW = 32;
/** The same for networks over rows: their tiles lie in the first-level cache. */
const NETWORK = 64;
/** Fewer rows than these do not fill lanes. */
const FEWEST_ROWS = 8;

export function growRows(grouping: Grouping, computed: readonly ValueId[]): void {
  const { analysis } = grouping;
  for (const [startsAt, width] of [
    [isColumnProduct, NETWORK],
    [isRowReduction, NARROW],
  ] as const) {
    for (const id of computed) {
      if (grouping.of(id) !== undefined || !startsAt(analysis, id)) continue;
      const operand = analysis.graph.nodes[analysis.graph.nodes[id].inputs[0]];
      const group = grouping.open('rows', id, { rows: operand.type.shape[0] });
      grow(grouping, group, width);
    }
  }
}

function innerSize(node: Node): number {
  return sizeOf(node.type.shape.slice(1));
}

function isRowReduction({ graph }: Analysis, id: ValueId): boolean {
  const node = graph.nodes[id];
  const operand = node.inputs.length > 0 ? graph.nodes[node.inputs[0]] : undefined;
  if (operand === undefined || operand.type.shape.length < 2 || innerSize(operand) > NARROW) return false;
  if (operand.type.shape[0] < FEWEST_ROWS) return false;
  return staysInRow(node);
}

/** A reduction that leaves the leading axis alone. */
function staysInRow(node: Node): boolean {
  if (node.op === 'argMax' || node.op === 'argMin') return node.attributes.axis > 0;
  if (node.op === 'reduceSum' || node.op === 'reduceMax' || node.op === 'reduceMin') {
    return node.attributes.axes.length > 0 && !node.attributes.axes.includes(0);
  }
  return false;
}

/** [rows, k]·[k, n] with narrow k and n, the rows put together column by column. */
function isColumnProduct(analysis: Analysis, id: ValueId): boolean {
  const { nodes } = analysis.graph;
  const node = nodes[id];
  return isRowProduct(analysis, id) && fromColumns(analysis, node.inputs[0]);
}

function isRowProduct({ graph }: Analysis, id: ValueId): boolean {
  const node = graph.nodes[id];
  if (node.op !== 'matmul' || node.attributes.transposeA) return false;
  const [a, b] = node.inputs.map((operand) => graph.nodes[operand]);
  return (
    a.type.shape.length === 2 &&
    a.type.shape[0] >= FEWEST_ROWS &&
    a.type.shape[1] <= NETWORK &&
    innerSize(node) <= NETWORK &&
    sizeOf(b.type.shape) > 0
  );
}

function fromColumns({ graph, status }: Analysis, id: ValueId): boolean {
  const node = graph.nodes[id];
  if (status[id] !== 'computed') return false;
  if (node.op === 'concat') return node.attributes.axis === 1 && node.inputs.length > 1;
  return isElementwise(node) && node.inputs.some((operand) => fromColumns({ graph, status } as Analysis, operand));
}

function grow(grouping: Grouping, group: Group, width: number): void {
  const { analysis } = grouping;
  const { graph, users } = analysis;
  const queue = [...group.members];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const near = isTerminal(graph.nodes[next]) ? [] : [...graph.nodes[next].inputs, ...users[next]];
    for (const id of near) {
      if (grouping.of(id) !== undefined || !belongs(grouping, group, id, width)) continue;
      if (grouping.tryAdd(group, [id])) queue.push(id);
    }
  }
}

/** A sum over all rows; what depends on it is no longer a row's own. */
export function isTerminal(node: Node): boolean {
  return isContraction(node) || (node.op === 'reduceSum' && node.attributes.axes.includes(0));
}

function belongs(grouping: Grouping, group: Group, id: ValueId, width: number): boolean {
  const { analysis } = grouping;
  const { graph, status, levels } = analysis;
  const node = graph.nodes[id];
  const rows = group.rows!;
  const [seed] = group.members;
  if (levels[id] !== levels[seed]) return false;
  const hasRows = (operand: ValueId): boolean => {
    const { shape } = graph.nodes[operand].type;
    return shape.length > 0 && shape[0] === rows && innerSize(graph.nodes[operand]) <= width;
  };
  if (status[id] !== 'computed' && status[id] !== 'view') return false;
  if (node.inputs.some((operand) => group.members.has(operand) && isTerminal(graph.nodes[operand]))) return false;

  if (node.op === 'reduceSum' && node.attributes.axes.includes(0)) {
    // Only what the group itself computes is worth adding up here.
    return hasRows(node.inputs[0]) && group.members.has(node.inputs[0]);
  }
  if (isContraction(node)) {
    return width === NETWORK && node.inputs.every((operand) => hasRows(operand) && group.members.has(operand));
  }
  if (!hasRows(id)) return false;
  if (isElementwise(node)) return true;
  const operand = node.inputs[0];
  switch (node.op) {
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
    case 'argMax':
    case 'argMin':
      return hasRows(operand) && staysInRow(node);
    case 'broadcast':
    case 'reshape':
      // A view of something that lies in memory anyway, and that others may read too, stays a view.
      return hasRows(operand) && group.members.has(operand);
    case 'slice': {
      const { begin, size, strides } = node.attributes;
      return hasRows(operand) && begin[0] === 0 && size[0] === rows && strides[0] === 1 && group.members.has(operand);
    }
    case 'pad':
      return hasRows(operand) && node.attributes.low[0] === 0 && graph.nodes[operand].type.shape[0] === rows;
    case 'concat':
      return node.attributes.axis > 0;
    case 'gather':
      return (
        node.type.shape.length === 1 && status[operand] === 'resident' && sizeOf(graph.nodes[operand].type.shape) >= 1
      );
    case 'matmul':
      // The way back from a softmax is left to products of their own: they lie by rows, as the way there does.
      return width === NETWORK && isRowProduct(analysis, id) && hasRows(operand) && status[operand] === 'computed';
    default:
      return false;
  }
}
