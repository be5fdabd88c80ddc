/**
 * The written specification of docs/graph.md as a check: what every pass may rely on at its entry and must leave at
 * its exit. A violation is a defect of the pass that is named, never of the user's code.
 */
import { GraphError } from '../contracts';
import { STREAMS } from '../random';
import { inferType, OP_NAMES } from './infer';
import {
  formatType,
  sameShape,
  sizeOf,
  type Graph,
  type Node,
  type NodeOf,
  type OpName,
  type ValueId,
  type ValueType,
} from './ir';
import { printNode } from './print';

/** The ops that may read a uint8 value: raw rows are moved, then cast, and nothing else. */
export const UINT8_OPERATIONS: readonly OpName[] = [
  'gather',
  'slice',
  'reshape',
  'transpose',
  'identity',
  'stopGradient',
  'cast',
];

const LEAVES: readonly OpName[] = ['input', 'constant', 'table', 'random', 'iota'];

const ARRAY_OF = {
  float32: 'Float32Array',
  int32: 'Int32Array',
  bool: 'Uint8Array',
  uint8: 'Uint8Array',
} as const;

/** Class by tag, not by instanceof: data may come from another realm (worker, jest). */
function arrayClass(data: object): string {
  return Object.prototype.toString.call(data).slice('[object '.length, -1);
}

function isWord(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n < 2 ** 32;
}

/** @throws GraphError naming `passName` and the node that breaks the specification. */
export function verifyGraph(graph: Graph, passName: string): void {
  const fail = (message: string): never => {
    throw new GraphError(passName, `${message} (graph "${graph.name}").`);
  };
  graph.nodes.forEach((node, id) => {
    const problem = nodeProblem(graph, node, id);
    if (problem !== undefined) fail(`${problem}, in ${nodeText(node, id)}`);
  });

  const inputNodes = graph.nodes.flatMap((node, id) => (node.op === 'input' ? [id] : []));
  if (!sameShape(graph.inputs, inputNodes)) {
    fail(
      `expected inputs to list every input node once and in order, [${inputNodes.join(',')}], got [${graph.inputs.join(',')}]`,
    );
  }
  const names = new Set<string>();
  for (const id of inputNodes) {
    const { name } = (graph.nodes[id] as NodeOf<'input'>).attributes;
    if (names.has(name)) fail(`expected distinct input names, got "${name}" twice`);
    names.add(name);
  }
  for (const id of graph.outputs) {
    if (!Number.isInteger(id) || id < 0 || id >= graph.nodes.length) {
      fail(`expected outputs among 0 … ${graph.nodes.length - 1}, got ${String(id)}`);
    }
    if (graph.nodes[id].type.dtype === 'uint8') fail(`expected no uint8 output, got %${String(id)}: cast it first`);
  }
}

function nodeText(node: Node, id: ValueId): string {
  // A node this wrong may not print.
  try {
    return printNode(node, id);
  } catch {
    return `node ${String(id)}`;
  }
}

function nodeProblem(graph: Graph, node: Node, id: ValueId): string | undefined {
  if (!OP_NAMES.includes(node.op)) return `expected a known op, got "${node.op as string}"`;
  for (const input of node.inputs) {
    if (!Number.isInteger(input) || input < 0 || input >= id) {
      return `expected operands that precede the node (topological order), got ${String(input)}`;
    }
  }
  if (LEAVES.includes(node.op) && node.inputs.length > 0) return `expected no operands, got ${node.inputs.length}`;
  const typeProblem = badType(node.type);
  if (typeProblem !== undefined) return typeProblem;

  const operands = node.inputs.map((input) => graph.nodes[input].type);
  let inferred: ValueType;
  try {
    inferred = inferType<OpName>(node.op, operands, node.attributes);
  } catch (error) {
    return `operands do not fit: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (inferred.dtype !== node.type.dtype || !sameShape(inferred.shape, node.type.shape)) {
    return `expected the inferred type ${formatType(inferred)}, got ${formatType(node.type)}`;
  }
  if (operands.some((type) => type.dtype === 'uint8') && !UINT8_OPERATIONS.includes(node.op)) {
    return `expected uint8 only in ${UINT8_OPERATIONS.join(', ')}: cast it first`;
  }
  return leafProblem(node);
}

function badType({ shape, dtype }: ValueType): string | undefined {
  if (!(dtype in ARRAY_OF)) return `expected a dtype of ${Object.keys(ARRAY_OF).join(', ')}, got "${dtype as string}"`;
  if (!shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) {
    return `expected non-negative integers as a shape, got [${shape.join(',')}]`;
  }
  return undefined;
}

/** What inference cannot see: the data and keys that leaves bring along. */
function leafProblem(node: Node): string | undefined {
  switch (node.op) {
    case 'input':
      return node.type.dtype === 'uint8' ? 'expected no uint8 input: raw rows come from tables' : undefined;
    case 'constant': {
      const { data, dtype } = node.attributes;
      if (arrayClass(data) !== ARRAY_OF[dtype]) {
        return `expected ${ARRAY_OF[dtype]} for a ${dtype} constant, got ${arrayClass(data)}`;
      }
      return dtype === 'bool' && data.some((x) => x > 1) ? 'expected 0 and 1 in a bool constant' : undefined;
    }
    case 'table': {
      const { values, dtype, rows, rowShape, name } = node.attributes.table;
      if (arrayClass(values) !== ARRAY_OF[dtype]) {
        return `expected ${ARRAY_OF[dtype]} for the ${dtype} table "${name}", got ${arrayClass(values)}`;
      }
      const size = rows * sizeOf(rowShape);
      return values.length === size ? undefined : `expected ${size} numbers in table "${name}", got ${values.length}`;
    }
    case 'random': {
      const { stream, path, distribution } = node.attributes;
      if (!(stream in STREAMS)) return `expected a stream of ${Object.keys(STREAMS).join(', ')}, got "${stream}"`;
      if (!path.every(isWord)) return `expected 32-bit words as a path, got [${path.join(',')}]`;
      if (distribution.name === 'integer') {
        const { low, high } = distribution;
        const fits = (low | 0) === low && Number.isInteger(high) && high - 1 <= 2 ** 31 - 1;
        if (!fits || high <= low || high - low >= 2 ** 31) {
          return `expected int32 low < high with high − low < 2³¹, got [${low}, ${high})`;
        }
      }
      return undefined;
    }
    default:
      return undefined;
  }
}
