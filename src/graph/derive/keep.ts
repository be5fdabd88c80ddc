/**
 * What a step keeps for its derivative. Each value that the way back reads is either kept, or computed again there from what
 * is: of all ways to choose the cheapest, which is a minimum cut (He & Yu 2023, "Transcending Runtime-Memory Tradeoffs in
 * Checkpointing by being Fusion Aware").
 */
import { sizeOf, type Graph, type NodeOf, type OpName, type ValueId, type ValueType } from '../ir';

/** In any one unit. Infinite where it cannot be. */
export interface KeepCosts {
  /** Writing a value, and reading it on the way back. */
  readonly keep: (type: ValueType) => number;
  /** Computing a node once more, its operands being there. */
  readonly again: (graph: Graph, id: ValueId) => number;
}

/** Moved numbers are made again on the way back, from what they were moved from. */
const MOVED: ReadonlySet<OpName> = new Set<OpName>([
  ...(['constant', 'table', 'iota', 'broadcast', 'reshape', 'transpose', 'slice', 'reverse'] as const),
  ...(['windows', 'pad', 'concat', 'gather'] as const),
  ...(['identity', 'cast'] as const),
]);

/** Made again where all operands are there: as cheap as reading what was kept. */
const MASKS: ReadonlySet<OpName> = new Set<OpName>([
  ...(['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'and', 'or', 'not', 'isNan', 'isFinite'] as const),
]);

function bytesOf({ shape, dtype }: ValueType): number {
  return sizeOf(shape) * (dtype === 'bool' || dtype === 'uint8' ? 1 : 4);
}

/** Of few bytes: nothing is computed twice but moved numbers and masks. */
export const LEAST_BYTES: KeepCosts = {
  keep: bytesOf,
  again: ({ nodes }, id) => (MOVED.has(nodes[id].op) || MASKS.has(nodes[id].op) ? 0 : Infinity),
};

/**
 * Rough nanoseconds a number on one core of a server. What is kept goes through memory three times: a window's tape is
 * larger than the cache.
 */
const KEEP_BYTE = 0.35;
const SIMPLE = 0.1;
const FUNCTION = 0.6;
const FUNCTIONS: ReadonlySet<OpName> = new Set<OpName>([
  ...(['div', 'mod', 'pow', 'atan2', 'exp', 'expm1', 'log', 'log1p', 'sqrt', 'rsqrt', 'sin', 'cos'] as const),
  ...(['atan', 'tanh', 'sigmoid', 'erf'] as const),
]);
/** A multiply-add of a product; of one with many more rows than columns, whose rows go through a network tile by tile. */
const MULTIPLY = 0.05;
const MULTIPLY_IN_ROWS = 0.03;
const TALL = 8;
/** What runs in another order, or draws, is not for the way back. */
const NEVER: ReadonlySet<OpName> = new Set<OpName>(['random', 'scatterAdd', 'argMax', 'argMin', 'input']);

/** Of little time, where a graph is compiled: neighbouring elementwise ops are one pass. */
export const LEAST_TIME: KeepCosts = {
  keep: (type) => KEEP_BYTE * bytesOf(type),
  again: (graph, id) => {
    const node = graph.nodes[id];
    if (NEVER.has(node.op)) return Infinity;
    if (MOVED.has(node.op)) return 0;
    const size = sizeOf(node.type.shape);
    if (node.op === 'matmul') return size * depthOf(graph, node) * (isTall(graph, node) ? MULTIPLY_IN_ROWS : MULTIPLY);
    if (node.op.startsWith('reduce') || node.op === 'foldWindows')
      return sizeOf(graph.nodes[node.inputs[0]].type.shape) * SIMPLE;
    return size * (FUNCTIONS.has(node.op) ? FUNCTION : SIMPLE);
  },
};

function depthOf({ nodes }: Graph, { inputs, attributes }: NodeOf<'matmul'>): number {
  const { shape } = nodes[inputs[0]].type;
  return shape[shape.length - (attributes.transposeA ? 2 : 1)];
}

function isTall(graph: Graph, node: NodeOf<'matmul'>): boolean {
  const { shape } = node.type;
  const wide = Math.max(shape[1], depthOf(graph, node));
  return shape.length === 2 && !node.attributes.transposeA && shape[0] >= TALL * wide;
}

export interface Kept {
  /** In topological order. */
  readonly kept: readonly ValueId[];
  /** Computed again. */
  readonly again: ReadonlySet<ValueId>;
}

/**
 * @param read values that the way back reads
 * @param given what it has without keeping anything
 */
export function chooseKept(
  graph: Graph,
  read: readonly ValueId[],
  given: ReadonlySet<ValueId>,
  costs: KeepCosts,
): Kept {
  const { nodes } = graph;
  // A value is two points: before it (made again if it lies on the sink's side), and behind it (there).
  const source = 2 * nodes.length;
  const sink = source + 1;
  const network = new Network(sink + 1);
  const seen = new Set<ValueId>();
  const pending = read.filter((id) => !given.has(id));
  for (const id of new Set(pending)) network.add(2 * id + 1, sink, Infinity);
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    // Rows of a table are no value that a graph can return; they are gathered again.
    const { type } = nodes[id];
    network.add(2 * id, 2 * id + 1, type.dtype === 'uint8' ? Infinity : costs.keep(type));
    const again = costs.again(graph, id);
    network.add(source, 2 * id, again);
    if (again === Infinity) continue;
    for (const operand of new Set(nodes[id].inputs)) {
      if (given.has(operand)) continue;
      network.add(2 * operand + 1, 2 * id, Infinity);
      pending.push(operand);
    }
  }
  const before = network.cut(source, sink);

  const kept = new Set<ValueId>();
  const again = new Set<ValueId>();
  const open = [...read];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (given.has(id) || kept.has(id) || again.has(id)) continue;
    if (before.has(2 * id)) kept.add(id);
    else {
      again.add(id);
      open.push(...nodes[id].inputs);
    }
  }
  return { kept: [...kept].sort((a, b) => a - b), again };
}

/** Below this a capacity is used up: sums of a few thousand costs are exact to it. */
const NOTHING = 1e-6;

/** Points and capacities between them. */
class Network {
  private readonly edges: number[][];
  private readonly to: number[] = [];
  private readonly left: number[] = [];

  constructor(points: number) {
    this.edges = Array.from({ length: points }, () => []);
  }

  add(from: number, to: number, capacity: number): void {
    this.edges[from].push(this.to.push(to) - 1);
    this.left.push(capacity);
    this.edges[to].push(this.to.push(from) - 1);
    this.left.push(0);
  }

  /** The points on the source's side of a minimum cut (Dinic 1970). */
  cut(source: number, sink: number): ReadonlySet<number> {
    for (;;) {
      const level = this.levels(source);
      if (!level.has(sink)) return new Set(level.keys());
      const next = this.edges.map(() => 0);
      while (this.push(source, sink, level, next));
    }
  }

  private levels(source: number): Map<number, number> {
    const level = new Map([[source, 0]]);
    // A map goes on to what is added while it is gone through.
    for (const [point, distance] of level) {
      for (const edge of this.edges[point]) {
        if (this.left[edge] > NOTHING && !level.has(this.to[edge])) level.set(this.to[edge], distance + 1);
      }
    }
    return level;
  }

  /** Sends what one path can take; false if there is none. `next`: the edge of each point to try first. */
  private push(source: number, sink: number, level: ReadonlyMap<number, number>, next: number[]): boolean {
    const path: number[] = [];
    let point = source;
    while (point !== sink) {
      const edge = this.edges[point].at(next[point]);
      if (edge === undefined || next[point] >= this.edges[point].length) {
        // A dead end: one step back, and not here again.
        const last = path.pop();
        if (last === undefined) return false;
        point = this.to[last ^ 1];
        next[point] += 1;
      } else if (this.left[edge] > NOTHING && level.get(this.to[edge]) === level.get(point)! + 1) {
        path.push(edge);
        point = this.to[edge];
      } else next[point] += 1;
    }
    const flow = Math.min(...path.map((edge) => this.left[edge]));
    if (flow === Infinity)
      throw new Error('a value can be neither kept nor made again; this is a defect of the graph.');
    for (const edge of path) {
      this.left[edge] -= flow;
      this.left[edge ^ 1] += flow;
    }
    return true;
  }
}
