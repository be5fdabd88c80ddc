import type { Graph, Node, OpName, ValueId } from '../ir';
import { bytesOf, type ConstantHashes } from './hashes';
import { rewriteGraph, type Pass } from './pass';

/** f(a, b) is f(b, a), bit for bit (the payload of a NaN aside). */
const COMMUTATIVE: readonly OpName[] = ['add', 'mul', 'max', 'min', 'eq', 'ne', 'and', 'or'];

/**
 * Common subexpression elimination. Draws are keyed by their attributes, so equal random nodes draw the same numbers
 * and are one. Constants are equal if their bits are: 0 and −0 are not.
 */
export const eliminateCommonSubexpressions: Pass = {
  name: 'cse',
  run(graph: Graph, hashes: ConstantHashes): Graph {
    const tables = new Map<object, number>();
    const seen = new Map<string, { readonly id: ValueId; readonly node: Node }[]>();
    return rewriteGraph(graph, (builder, node) => {
      const key = keyOf(node, tables, hashes);
      const candidates = seen.get(key) ?? [];
      const found = candidates.find((candidate) => sameData(candidate.node, node));
      if (found !== undefined) return found.id;
      const id = builder.size;
      seen.set(key, [...candidates, { id, node }]);
      return undefined;
    });
  },
};

function keyOf(node: Node, tables: Map<object, number>, hashes: ConstantHashes): string {
  const operands = COMMUTATIVE.includes(node.op) ? [...node.inputs].sort((a, b) => a - b) : node.inputs;
  return `${node.op}(${operands.join(',')})${attributeKey(node, tables, hashes)}`;
}

function attributeKey(node: Node, tables: Map<object, number>, hashes: ConstantHashes): string {
  switch (node.op) {
    case 'constant': {
      const { dtype, shape, data } = node.attributes;
      return `${dtype}[${shape.join(',')}]${hashes.of(data)}`;
    }
    case 'table': {
      // By identity: two tables may bear one name by mistake.
      const number = tables.get(node.attributes.table) ?? tables.size;
      tables.set(node.attributes.table, number);
      return String(number);
    }
    default:
      return JSON.stringify(Object.entries(node.attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

/** Equal keys say that two nodes are equal, except for constants, whose key holds only a hash. */
function sameData(a: Node, b: Node): boolean {
  if (a.op !== 'constant' || b.op !== 'constant') return true;
  if (a.attributes.data === b.attributes.data) return true;
  const x = bytesOf(a.attributes.data);
  const y = bytesOf(b.attributes.data);
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}
