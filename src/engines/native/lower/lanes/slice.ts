/**
 * What is independent along a leading axis, for one row: every op with that axis cut off. A value is taken by `row` (it
 * has the axis) or `uniform` (it has not, and is the same for all rows); which of them is meant follows from the reader.
 */
import { GraphBuilder } from '../../../../graph/builder';
import type { Graph, Node, OpName, ValueId } from '../../../../graph/ir';

export type Role = 'row' | 'uniform';

/** How one row of a node is computed from its operands. */
interface RowRule {
  readonly roles: readonly Role[];
  /** `row` gives the number of the row, int32 []. */
  readonly emit: (builder: GraphBuilder, inputs: readonly ValueId[], row: () => ValueId) => ValueId;
}

function rowRule(graph: Graph, id: ValueId): RowRule | undefined {
  const node = graph.nodes[id];
  const { shape } = node.type;
  if (shape.length === 0) return undefined;
  const [rows, ...rest] = shape;
  const from = node.inputs.map((input) => graph.nodes[input].type.shape);
  const all = (role: Role): readonly Role[] => node.inputs.map(() => role);
  const one = from[0] ?? [];
  switch (node.op) {
    case 'input':
    case 'table':
    case 'random':
    case 'scatterAdd':
      return undefined;
    case 'constant': {
      const { data, dtype } = node.attributes;
      return data.length === 1 ? { roles: [], emit: (b) => b.constant(data, rest, dtype) } : undefined;
    }
    case 'iota': {
      const { axis } = node.attributes;
      const emit: RowRule['emit'] = (b, _, row) =>
        axis === 0 ? b.broadcast(row(), rest) : b.emit('iota', [], { shape: rest, axis: axis - 1 });
      return { roles: [], emit };
    }
    case 'broadcast': {
      if (one.length === shape.length && one[0] === rows) {
        return { roles: ['row'], emit: (b, [x]) => b.broadcast(x, rest) };
      }
      const cut = one.length === shape.length ? one.slice(1) : one;
      return { roles: ['uniform'], emit: (b, [x]) => b.broadcast(b.reshape(x, cut), rest) };
    }
    case 'reshape': {
      if (one[0] === rows) return { roles: ['row'], emit: (b, [x]) => b.reshape(x, rest) };
      return rows === 1 ? { roles: ['uniform'], emit: (b, [x]) => b.reshape(x, rest) } : undefined;
    }
    case 'transpose': {
      const { perm } = node.attributes;
      const cut = perm.slice(1).map((axis) => axis - 1);
      return perm[0] === 0 ? { roles: ['row'], emit: (b, [x]) => b.transpose(x, cut) } : undefined;
    }
    case 'slice': {
      const { begin, size, strides } = node.attributes;
      if (size[0] !== one[0]) return undefined;
      const cut = { begin: begin.slice(1), size: size.slice(1), strides: strides.slice(1) };
      return { roles: ['row'], emit: (b, inputs) => b.emit('slice', inputs, cut) };
    }
    case 'pad': {
      const { low, high, interior } = node.attributes;
      if (rows !== one[0] || low[0] > 0 || high[0] > 0) return undefined;
      const cut = { low: low.slice(1), high: high.slice(1), interior: interior.slice(1) };
      return { roles: ['row'], emit: (b, inputs) => b.emit('pad', inputs, cut) };
    }
    case 'windows':
    case 'foldWindows': {
      const { op, attributes } = node;
      if (attributes.axes[0] === 0) return undefined;
      const cut = { ...attributes, axes: attributes.axes.map((axis) => axis - 1) };
      return { roles: ['row'], emit: (b, inputs) => b.emit<OpName>(op, inputs, cut) };
    }
    case 'concat': {
      const { axis } = node.attributes;
      if (axis === 0) return undefined;
      return { roles: all('row'), emit: (b, inputs) => b.emit('concat', inputs, { axis: axis - 1 }) };
    }
    case 'reverse': {
      const { axes } = node.attributes;
      if (axes.includes(0)) return undefined;
      return { roles: ['row'], emit: (b, inputs) => b.emit('reverse', inputs, { axes: axes.map((axis) => axis - 1) }) };
    }
    case 'gather':
      if (from[1].length === 0) return undefined;
      return { roles: ['uniform', 'row'], emit: (b, inputs) => b.emit('gather', inputs, {}) };
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin': {
      const { op } = node;
      const { axes } = node.attributes;
      if (axes.includes(0)) return undefined;
      return { roles: ['row'], emit: (b, inputs) => b.emit(op, inputs, { axes: axes.map((axis) => axis - 1) }) };
    }
    case 'argMax':
    case 'argMin': {
      const { op } = node;
      const { axis } = node.attributes;
      return axis === 0 ? undefined : { roles: ['row'], emit: (b, inputs) => b.emit(op, inputs, { axis: axis - 1 }) };
    }
    case 'matmul': {
      const { transposeA, transposeB } = node.attributes;
      if (shape.length > 2)
        return { roles: ['row', 'row'], emit: (b, inputs) => b.emit('matmul', inputs, node.attributes) };
      if (transposeA) return undefined;
      const emit: RowRule['emit'] = (b, [x, y]) => {
        const row = b.reshape(x, [1, from[0][1]]);
        return b.reshape(b.emit('matmul', [row, y], { transposeA: false, transposeB }), rest);
      };
      return { roles: ['row', 'uniform'], emit };
    }
    default:
      // Elementwise: every operand has the shape of the result.
      return { roles: all('row'), emit: (b, inputs) => b.emit<OpName>(node.op, inputs, node.attributes) };
  }
}

/**
 * How the operands of a node enter its rows along the leading axis of its shape, one an operand; undefined if its rows
 * are not independent of each other or it has none.
 */
export function rowRoles(graph: Graph, id: ValueId): readonly Role[] | undefined {
  return rowRule(graph, id)?.roles;
}

/**
 * True if the node can be a member of a `rows` fragment along its own leading axis (a sum over axis 0, and a product that
 * sums over the rows, only as a store).
 */
export function rowsEligible(graph: Graph, id: ValueId): boolean {
  const node = graph.nodes[id];
  return rowRule(graph, id) !== undefined || isRowSum(node) || isContraction(node);
}

/** A sum over the rows (and perhaps other axes) of its operand. */
export function isRowSum(node: Node): boolean {
  return node.op === 'reduceSum' && node.attributes.axes[0] === 0;
}

/** aᵀ·b of two values that have the rows: a sum over the rows. */
export function isContraction(node: Node): boolean {
  if (node.op !== 'matmul') return false;
  return node.type.shape.length === 2 && node.attributes.transposeA && !node.attributes.transposeB;
}

/** An input of the per-row graph. */
export interface RowInput {
  readonly kind: 'operand' | 'row';
  /** Value of the fragment's graph; for an operand. */
  readonly value: ValueId;
  readonly role: Role;
}

export interface RowGraph {
  readonly graph: Graph;
  /** One an input of the graph, in its order. */
  readonly inputs: readonly RowInput[];
  /** Values that make up each store: its row; for a product that sums over the rows, both of its operands' rows. */
  readonly stores: readonly (readonly ValueId[])[];
}

/**
 * The graph of one row. Outputs are those of `stores`, in order: the row of a store; for a sum over the rows what the row
 * adds to it; for a product that sums over them the row's two values. Throws if a member is not independent along the rows: the fragment is malformed.
 */
export function sliceRows(
  graph: Graph,
  members: ReadonlySet<ValueId>,
  stores: readonly ValueId[],
  rows: number,
): RowGraph {
  const builder = new GraphBuilder(`${graph.name} by rows`);
  const inputs: RowInput[] = [];
  const made = new Map<string, ValueId>();
  const once = (name: string, make: () => ValueId): ValueId => {
    const known = made.get(name) ?? make();
    made.set(name, known);
    return known;
  };
  const row = (): ValueId =>
    once('row', () => {
      inputs.push({ kind: 'row', value: -1, role: 'row' });
      return builder.input('row', { shape: [], dtype: 'int32' });
    });
  const operand = (id: ValueId, role: Role): ValueId => {
    const { shape, dtype } = graph.nodes[id].type;
    inputs.push({ kind: 'operand', value: id, role });
    // An input has no uint8; rows of one are read as the int32 they become in a register.
    const type = {
      shape: role === 'row' ? shape.slice(1) : shape,
      dtype: dtype === 'uint8' ? 'int32' : dtype,
    } as const;
    return builder.input(`${role} ${String(id)}`, type);
  };
  const value = (id: ValueId, role: Role): ValueId =>
    once(`${role} ${String(id)}`, () => {
      if (!members.has(id)) {
        if (role === 'row' && graph.nodes[id].type.shape[0] !== rows) malformed(graph, id, rows);
        return operand(id, role);
      }
      const node = graph.nodes[id];
      if (role === 'uniform') {
        const operands = node.inputs.map((input) => value(input, 'uniform'));
        return builder.emit<OpName>(node.op, operands, node.attributes);
      }
      const rule = rowRule(graph, id);
      if (rule === undefined || node.type.shape[0] !== rows) malformed(graph, id, rows);
      const operands = node.inputs.map((input, i) => value(input, rule.roles[i]));
      return rule.emit(builder, operands, row);
    });
  const parts = stores.map((id) => {
    const node = graph.nodes[id];
    if (isContraction(node)) return node.inputs.map((operand) => value(operand, 'row'));
    if (node.op !== 'reduceSum' || !isRowSum(node)) return [value(id, 'row')];
    const rest = node.attributes.axes.slice(1).map((axis) => axis - 1);
    return [builder.reduceSum(value(node.inputs[0], 'row'), rest)];
  });
  return { graph: builder.finish(parts.flat()), inputs, stores: parts };
}

function malformed(graph: Graph, id: ValueId, rows: number): never {
  const { op, type } = graph.nodes[id];
  throw new Error(
    `${graph.name}: %${String(id)} (${op}, [${type.shape.join(',')}]) has no ${String(rows)} independent rows; ` +
      'this is a defect of the native engine.',
  );
}
