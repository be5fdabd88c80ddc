/** Compares two traces of one function: a difference means that it depends on more than its arguments. */
import type { Graph, Node, NodeOf, ValueId } from '../ir';

/** The first node that differs, or undefined. */
export function firstDifference(a: Graph, b: Graph): ValueId | undefined {
  const count = Math.max(a.nodes.length, b.nodes.length);
  for (let id = 0; id < count; id++) {
    if (id >= a.nodes.length || id >= b.nodes.length || !sameNode(a.nodes[id], b.nodes[id])) return id;
  }
  const different = a.outputs.findIndex((id, i) => id !== b.outputs[i]);
  return different < 0 ? undefined : a.outputs[different];
}

function sameNode(a: Node, b: Node): boolean {
  if (a.op !== b.op || a.inputs.length !== b.inputs.length) return false;
  if (a.inputs.some((id, i) => id !== b.inputs[i])) return false;
  if (a.op === 'constant' && b.op === 'constant') return sameConstant(a, b);
  if (a.op === 'table' && b.op === 'table') return a.attributes.table === b.attributes.table;
  return JSON.stringify(a.attributes) === JSON.stringify(b.attributes);
}

function sameConstant(a: NodeOf<'constant'>, b: NodeOf<'constant'>): boolean {
  const [x, y] = [a.attributes, b.attributes];
  if (x.dtype !== y.dtype || x.data.length !== y.data.length || JSON.stringify(x.shape) !== JSON.stringify(y.shape)) {
    return false;
  }
  // Tensors from outside are the same array in both traces.
  if (x.data === y.data) return true;
  for (let i = 0; i < x.data.length; i++) if (!Object.is(x.data[i], y.data[i])) return false;
  return true;
}
