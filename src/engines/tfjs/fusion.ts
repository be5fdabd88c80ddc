/**
 * Gathers of table rows that are decoded at once: `gather → cast → ·scale → +offset` becomes one look-up a byte in
 * memory that the host reaches, so that a table is never copied to the device.
 */
import type { DataTable } from '../../contracts';
import type { Graph, Node, ValueId } from '../../graph/ir';
import type { Decode } from './host/gather';

export interface TableGather {
  readonly table: DataTable;
  readonly indices: ValueId;
  readonly decode: Decode | undefined;
}

export interface TableGathers {
  /** By the node whose value the gather gives. */
  readonly at: ReadonlyMap<ValueId, TableGather>;
  /** Nodes that are computed on the way. */
  readonly absorbed: ReadonlySet<ValueId>;
}

/** The number that every element of a value is, if it is a constant. */
function splat(graph: Graph, id: ValueId): number | undefined {
  const node = graph.nodes[id];
  if (node.op === 'broadcast' || node.op === 'reshape') return splat(graph, node.inputs[0]);
  if (node.op !== 'constant' || node.attributes.data.length === 0) return undefined;
  const { data } = node.attributes;
  return data.every((value) => value === data[0]) ? data[0] : undefined;
}

export function findTableGathers(graph: Graph): TableGathers {
  const consumers = new Map<ValueId, ValueId[]>();
  graph.nodes.forEach((node, id) => {
    for (const input of node.inputs) consumers.set(input, [...(consumers.get(input) ?? []), id]);
  });
  const outputs = new Set(graph.outputs);
  const soleConsumer = (id: ValueId): { id: ValueId; node: Node } | undefined => {
    const users = consumers.get(id) ?? [];
    return users.length === 1 && !outputs.has(id) ? { id: users[0], node: graph.nodes[users[0]] } : undefined;
  };
  /** The next of the chain, if it is `op` with a constant number as its other operand. */
  const scaled = (id: ValueId, op: 'mul' | 'add'): { id: ValueId; by: number } | undefined => {
    const next = soleConsumer(id);
    if (next?.node.op !== op) return undefined;
    const [a, b] = next.node.inputs;
    const by = splat(graph, a === id ? b : a);
    return by === undefined ? undefined : { id: next.id, by };
  };

  const at = new Map<ValueId, TableGather>();
  const absorbed = new Set<ValueId>();
  graph.nodes.forEach((node, gather) => {
    if (node.op !== 'gather') return;
    const source = graph.nodes[node.inputs[0]];
    if (source.op !== 'table') return;
    const { table } = source.attributes;
    const chain = [gather];
    let decode: Decode | undefined;
    const cast = soleConsumer(gather);
    const floats = table.dtype === 'float32' || (cast?.node.op === 'cast' && cast.node.type.dtype === 'float32');
    if (floats) {
      if (table.dtype !== 'float32' && cast !== undefined) chain.push(cast.id);
      const scale = scaled(chain[chain.length - 1], 'mul');
      if (scale !== undefined) chain.push(scale.id);
      const offset = scaled(chain[chain.length - 1], 'add');
      if (offset !== undefined) chain.push(offset.id);
      // x + −0 is x, also for −0; without either the numbers are as they are.
      const none = table.dtype === 'float32' && scale === undefined && offset === undefined;
      decode = none ? undefined : { scale: scale?.by ?? 1, offset: offset?.by ?? -0 };
    }
    const last = chain.pop()!;
    for (const id of chain) absorbed.add(id);
    at.set(last, { table, indices: node.inputs[1], decode });
  });
  return { at, absorbed };
}
