/**
 * A function over a whole split (10 000 images, a network, the sum of the hits) computes every row by itself until it sums
 * over them. Such a graph becomes one over a few rows, run again and again with its values in the cache, and one that puts
 * together what the runs have found. Anything that this file does not know for sure leaves the graph as it is.
 */
import { GraphBuilder } from '../../../graph/builder';
import { freshName, inputNames } from '../../../graph/inline';
import {
  sizeOf,
  type Graph,
  type Node,
  type NodeOf,
  type OpAttributes,
  type OpName,
  type ValueId,
  type ValueType,
} from '../../../graph/ir';
import { operationsOf } from '../lower/lanes/cost';
import { isElementwise } from '../plan/analysis';

export interface TileLimits {
  /** Row values that take less in full stay as they are; bytes. */
  readonly from: number;
  /** What the row values of a tile may take; bytes. */
  readonly tile: number;
  /** Share of the row values in full that the results of all tiles may take. */
  readonly kept: number;
  /** Share of a tile's work that may be such as does not depend on its rows: it is done anew for each. */
  readonly repeated: number;
}

/**
 * A tile is to stay in the second-level cache with the parameters that pass through it: 0.5 MiB on the smaller of today's
 * cores, 2 MiB on the larger. Four particles through 10 000 images and 784-100-100-10, two cores with 0.5 MiB each: 90 ms in
 * full; 56 in tiles of 100 (0.35 MB), 60, 67 and 60 in tiles of 50, 200 and 400.
 */
export const TILE_LIMITS: TileLimits = { from: 4 * 2 ** 20, tile: 400 * 2 ** 10, kept: 0.25, repeated: 0.02 };

/** An input of a body: rows of a table or a constant, from `first` + the tile's first row on. */
export interface RowInput {
  readonly name: string;
  readonly source: NodeOf<'table'> | NodeOf<'constant'>;
  readonly first: number;
}

/** Runs `count` times, on rows `first`, `first + rows`, … */
export interface TileBody {
  readonly rows: number;
  readonly first: number;
  readonly count: number;
  /** Inputs of the graph that was split, then `RowTiles.rows`. Outputs: the reductions over the tile's rows. */
  readonly graph: Graph;
}

export interface RowTiles {
  readonly rows: readonly RowInput[];
  /** In the order of their tiles: full ones, then what is left. */
  readonly bodies: readonly TileBody[];
  /** Inputs of `rest` after those of the graph that was split: [tiles, …] each, by number of the bodies' output. */
  readonly partials: readonly string[];
  readonly rest: Graph;
}

/** How a node reads an operand when it is computed for the rows of a tile. */
type Reading = 'tile' | 'plain';

/** What is known of a graph for one number of rows; arrays by node. */
interface Study {
  readonly rows: number;
  /** Rows of resident data: the node itself or a slice of it. */
  readonly sources: ReadonlyMap<ValueId, { readonly node: ValueId; readonly first: number }>;
  /** How its operands are read, for nodes that can be computed for the rows of a tile only. */
  readonly readings: readonly (readonly Reading[] | undefined)[];
  /** Differs from row to row: computed in tiles and nowhere else. */
  readonly byRow: readonly boolean[];
  /** Reductions over the rows. */
  readonly partials: readonly ValueId[];
}

type Source = NodeOf<'table'> | NodeOf<'constant'>;

function isSource(node: Node): node is Source {
  return node.op === 'table' || node.op === 'constant';
}

/** Rows of resident data that a node is. */
function sourceOf(graph: Graph, id: ValueId): { readonly node: ValueId; readonly first: number } | undefined {
  const node = graph.nodes[id];
  if (isSource(node)) return { node: id, first: 0 };
  if (node.op !== 'slice' || !isSource(graph.nodes[node.inputs[0]])) return undefined;
  const { begin, size, strides } = node.attributes;
  const { shape } = graph.nodes[node.inputs[0]].type;
  const whole = shape.every((extent, axis) => axis === 0 || (begin[axis] === 0 && size[axis] === extent));
  return whole && strides.every((stride) => stride === 1) ? { node: node.inputs[0], first: begin[0] } : undefined;
}

/**
 * How a node reads its operands if it is computed for some rows of axis 0 only; undefined if that cannot be said.
 * @param tiled which operands can be had for some rows only.
 */
function readingsOf(graph: Graph, node: Node, rows: number, tiled: (id: ValueId) => boolean): Reading[] | undefined {
  const { inputs, type } = node;
  if (type.shape[0] !== rows) return undefined;
  const shapeOf = (id: ValueId): readonly number[] => graph.nodes[id].type.shape;
  const all = inputs.map((): Reading => 'tile');
  const read = (...readings: Reading[]): Reading[] | undefined =>
    inputs.every((id, i) => readings[i] === 'plain' || (shapeOf(id)[0] === rows && tiled(id))) ? readings : undefined;
  if (isElementwise(node)) return read(...all);
  switch (node.op) {
    case 'identity':
    case 'stopGradient':
    // The first axis keeps its extent, so that the rest of an element's place lies within its row.
    case 'reshape':
      return read(...all);
    case 'iota':
      return node.attributes.axis === 0 ? undefined : [];
    case 'broadcast': {
      const operand = shapeOf(inputs[0]);
      const spread = operand.length < type.shape.length || operand[0] === 1;
      return read(spread ? 'plain' : 'tile');
    }
    case 'transpose':
      return node.attributes.perm[0] === 0 ? read('tile') : undefined;
    case 'slice': {
      const { begin, strides } = node.attributes;
      return begin[0] === 0 && strides[0] === 1 ? read('tile') : undefined;
    }
    case 'pad': {
      const { low, high, interior } = node.attributes;
      return low[0] === 0 && high[0] === 0 && interior[0] === 0 ? read('tile') : undefined;
    }
    case 'concat':
      return node.attributes.axis === 0 ? undefined : read(...all);
    case 'reverse':
    case 'windows':
    case 'foldWindows':
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
      return node.attributes.axes.includes(0) ? undefined : read('tile');
    case 'argMax':
    case 'argMin':
      return node.attributes.axis === 0 ? undefined : read('tile');
    case 'matmul':
      if (type.shape.length > 2) return read('tile', 'tile');
      return node.attributes.transposeA ? undefined : read('tile', 'plain');
    case 'gather':
      return read('plain', 'tile');
    default:
      return undefined;
  }
}

function reducesRows(node: Node): boolean {
  const reduces = node.op === 'reduceSum' || node.op === 'reduceMax' || node.op === 'reduceMin';
  return reduces && node.attributes.axes.includes(0);
}

/** @returns undefined if something depends on the rows in another way than a tile could have it. */
function study(graph: Graph, rows: number): Study | undefined {
  const sources = new Map<ValueId, { readonly node: ValueId; readonly first: number }>();
  const readings: (readonly Reading[] | undefined)[] = [];
  const byRow: boolean[] = [];
  /** Made of reductions over the rows. */
  const late: boolean[] = [];
  const partials: ValueId[] = [];
  const tiled = (id: ValueId): boolean => sources.has(id) || readings[id] !== undefined;
  for (const [id, node] of graph.nodes.entries()) {
    const source = node.type.shape[0] === rows ? sourceOf(graph, id) : undefined;
    if (source !== undefined) sources.set(id, source);
    const after = node.inputs.some((operand) => late[operand]);
    const reads = after || source !== undefined ? undefined : readingsOf(graph, node, rows, tiled);
    const read = (operand: ValueId, i: number): boolean => reads?.[i] === 'tile' && sources.has(operand);
    const own = node.inputs.some((operand, i) => byRow[operand] || read(operand, i));
    // Whole tables may be read by anything.
    const misread = node.inputs.some((operand, i) => byRow[operand] && reads?.[i] !== 'tile');
    const [operand] = node.inputs;
    const partial = reducesRows(node) && (byRow[operand] || sources.has(operand));
    if (misread && !partial) return undefined;
    if (partial) partials.push(id);
    readings.push(reads);
    byRow.push(own && !partial);
    late.push(after || partial);
  }
  if (partials.length === 0 || graph.outputs.some((id) => byRow[id])) return undefined;
  return { rows, sources, readings, byRow, partials };
}

function bytesOf({ shape, dtype }: ValueType): number {
  return sizeOf(shape) * (dtype === 'bool' || dtype === 'uint8' ? 1 : 4);
}

const VIEWS: ReadonlySet<OpName> = new Set([
  ...(['broadcast', 'reshape', 'transpose', 'slice', 'windows', 'identity', 'stopGradient'] as const),
]);

/** What the row values take that are needed at the same time, if neighbours of one shape share memory or registers. */
function rowBytes(graph: Graph, { byRow, partials }: Study): number {
  const reduced = new Set(partials);
  let most = 0;
  for (const [id, node] of graph.nodes.entries()) {
    // Elementwise ops are done where their operands are made or read.
    if ((!byRow[id] && !reduced.has(id)) || isElementwise(node) || VIEWS.has(node.op)) continue;
    const own = reduced.has(id) ? 0 : bytesOf(node.type);
    const operands = node.inputs
      .filter((operand) => byRow[operand])
      .map((operand) => bytesOf(graph.nodes[operand].type));
    most = Math.max(most, own + Math.max(0, ...operands));
  }
  return most;
}

/** Rows of a tile: a divisor, so that one body does, if there is one of at least half of what fits. */
function tileRows(rows: number, most: number): number {
  for (let each = most; each >= Math.max(1, most / 2); each--) if (rows % each === 0) return each;
  return Math.ceil(rows / Math.ceil(rows / most));
}

/** Nodes that the outputs of a graph need, by how they are needed. */
class Needs {
  readonly tiled: boolean[];
  readonly plain: boolean[];

  /** @param wanted what is needed for some rows; `outputs` in full; `given` is at hand. */
  constructor(
    graph: Graph,
    { readings, sources }: Study,
    wanted: readonly ValueId[],
    outputs: readonly ValueId[],
    given: ReadonlySet<ValueId>,
  ) {
    this.tiled = graph.nodes.map(() => false);
    this.plain = graph.nodes.map(() => false);
    for (const id of wanted) this.tiled[id] = true;
    for (const id of outputs) this.plain[id] = true;
    for (let id = graph.nodes.length - 1; id >= 0; id--) {
      const { inputs } = graph.nodes[id];
      if (this.plain[id] && !given.has(id)) for (const operand of inputs) this.plain[operand] = true;
      if (!this.tiled[id] || sources.has(id)) continue;
      inputs.forEach((operand, i) => {
        if (readings[id]?.[i] === 'tile') this.tiled[operand] = true;
        else this.plain[operand] = true;
      });
    }
  }
}

function copy<P extends OpName>(builder: GraphBuilder, node: NodeOf<P>, inputs: readonly ValueId[]): ValueId {
  return builder.emit(node.op, inputs, node.attributes);
}

/** The node with `rows` elements along its first axis. */
function withRows(builder: GraphBuilder, node: Node, inputs: readonly ValueId[], rows: number): ValueId {
  const shape = [rows, ...node.type.shape.slice(1)];
  switch (node.op) {
    case 'broadcast':
    case 'reshape':
      return builder.emit(node.op, inputs, { shape });
    case 'iota':
      return builder.emit('iota', inputs, { ...node.attributes, shape });
    case 'slice':
      return builder.emit('slice', inputs, { ...node.attributes, size: shape });
    default:
      // The attributes of the others do not speak of the first axis.
      return copy<OpName>(builder, node, inputs);
  }
}

function copyInputs(builder: GraphBuilder, graph: Graph): Map<ValueId, ValueId> {
  return new Map(graph.inputs.map((id) => [id, copy<OpName>(builder, graph.nodes[id], [])]));
}

function bodyOf(graph: Graph, found: Study, needs: Needs, inputs: readonly NamedSource[], rows: number): Graph {
  const builder = new GraphBuilder(`${graph.name}, ${rows} rows`);
  const plain = copyInputs(builder, graph);
  const tiled = new Map<ValueId, ValueId>();
  for (const { name, id } of inputs) {
    const { shape, dtype } = graph.nodes[id].type;
    tiled.set(id, builder.input(name, { shape: [rows, ...shape.slice(1)], dtype }));
  }
  for (const [id, node] of graph.nodes.entries()) {
    if (needs.plain[id] && node.op !== 'input') {
      const operands = node.inputs.map((operand) => plain.get(operand)!);
      plain.set(id, copy<OpName>(builder, node, operands));
    }
    if (!needs.tiled[id] || found.sources.has(id)) continue;
    const operands = node.inputs.map((operand, i) =>
      found.readings[id]?.[i] === 'tile' ? tiled.get(operand)! : plain.get(operand)!,
    );
    tiled.set(id, withRows(builder, node, operands, rows));
  }
  const outputs = found.partials.map((id) => {
    const node = graph.nodes[id];
    return copy<OpName>(builder, node, [tiled.get(node.inputs[0])!]);
  });
  return builder.finish(outputs);
}

interface NamedSource {
  readonly name: string;
  readonly id: ValueId;
}

function restOf(graph: Graph, { partials }: Study, names: readonly string[], tiles: number, needs: Needs): Graph {
  const builder = new GraphBuilder(graph.name);
  const values = copyInputs(builder, graph);
  const stacked = partials.map((id, i) => {
    const { shape, dtype } = graph.nodes[id].type;
    return builder.input(names[i], { shape: [tiles, ...shape], dtype });
  });
  for (const [id, node] of graph.nodes.entries()) {
    if (!needs.plain[id] || node.op === 'input') continue;
    const partial = partials.indexOf(id);
    if (partial >= 0) {
      const attributes: OpAttributes['reduceSum'] = { axes: [0] };
      values.set(id, builder.emit(node.op as 'reduceSum', [stacked[partial]], attributes));
    } else {
      const operands = node.inputs.map((operand) => values.get(operand)!);
      values.set(id, copy<OpName>(builder, node, operands));
    }
  }
  return builder.finish(graph.outputs.map((id) => values.get(id)!));
}

/**
 * Splits a graph whose values take much memory along rows that do not depend on each other.
 * @returns undefined if there are none, if it would not pay, or if it is not sure to be right.
 */
export function splitRows(graph: Graph, limits: TileLimits = TILE_LIMITS): RowTiles | undefined {
  const extents = graph.nodes.flatMap((node, id) => {
    const rows = node.type.shape.at(0) ?? 1;
    return rows > 1 && sourceOf(graph, id) !== undefined ? [rows] : [];
  });
  const candidates = [...new Set(extents)].flatMap((rows) => {
    const found = study(graph, rows);
    return found === undefined ? [] : [{ found, bytes: rowBytes(graph, found) }];
  });
  for (const { found, bytes } of candidates.sort((a, b) => b.bytes - a.bytes)) {
    if (bytes < limits.from) break;
    const tiles = splitInto(graph, found, bytes, limits);
    if (tiles !== undefined) return tiles;
  }
  return undefined;
}

/** @param bytes of the row values in full. */
function splitInto(graph: Graph, found: Study, bytes: number, limits: TileLimits): RowTiles | undefined {
  const { rows, partials, sources } = found;
  const each = tileRows(rows, Math.max(1, Math.floor((limits.tile * rows) / bytes)));
  const count = Math.floor(rows / each);
  const left = rows - count * each;
  const tiles = count + (left === 0 ? 0 : 1);
  const kept = tiles * partials.reduce((sum, id) => sum + bytesOf(graph.nodes[id].type), 0);
  if (tiles < 2 || kept > limits.kept * bytes) return undefined;
  const wanted = partials.map((id) => graph.nodes[id].inputs[0]);
  const needs = new Needs(graph, found, wanted, [], new Set());

  const work = (of: readonly boolean[]): number =>
    graph.nodes.reduce((sum, node, id) => sum + (of[id] ? operationsOf(graph, node) : 0), 0);
  if (work(needs.plain) > limits.repeated * work(needs.tiled) * (each / rows)) return undefined;

  const taken = inputNames(graph);
  const named = [...sources.keys()]
    .filter((id) => needs.tiled[id])
    .map((id, n): NamedSource => ({ name: freshName(taken, `rows.${n}`), id }));
  const bodies = [
    { rows: each, first: 0, count },
    ...(left === 0 ? [] : [{ rows: left, first: count * each, count: 1 }]),
  ].map((tile): TileBody => ({ ...tile, graph: bodyOf(graph, found, needs, named, tile.rows) }));
  const names = partials.map((_, n) => freshName(taken, `partial.${n}`));
  const late = new Needs(graph, found, [], graph.outputs, new Set(partials));
  return {
    rows: named.map(({ name, id }): RowInput => {
      const { node, first } = sources.get(id)!;
      return { name, source: graph.nodes[node] as Source, first };
    }),
    bodies,
    partials: names,
    rest: restOf(graph, found, names, tiles, late),
  };
}

/** Bytes of a row of a resident table or constant. */
export function bytesOfRow({ type }: RowInput['source']): number {
  return bytesOf(type) / type.shape[0];
}
