/**
 * The elements of a per-lane graph as lane operations. `value` gives one element of a node, at coordinates that are
 * numbers or run with loops. Values of few elements are unrolled, so that movement costs nothing; larger ones, and those
 * that are asked for at running coordinates, lie in tiles (tiles.ts).
 */
import { sizeOf, type Graph, type Node, type NodeOf, type OpName, type ValueId } from '../../../../graph/ir';
import { rowMajorStrides } from '../../../../graph/interpreter/indexing';
import { tapsOf, unwindowed, windowed, windowSizes } from '../../../../graph/windows';
import { addIndex, index as indexOf, scaleIndex, shiftIndex } from '../../nest/builder';
import type { BinaryOp, Index, RegisterType, UnaryOp } from '../../nest/ir';
import type { Dag, Ref } from './dag';
import { loadHome, type Home, type Source } from './home';
import { isUnrolledProduct } from './products';
import { drawElement, type Keys } from './random';
import { Tiles } from './tiles';

export interface LaneGraph {
  readonly graph: Graph;
  readonly sources: ReadonlyMap<ValueId, Source>;
  /** Buffer of a constant or table of that node. */
  readonly tables: ReadonlyMap<ValueId, string>;
  readonly keys?: Keys;
}

export interface EvaluateOptions {
  /** Values of more elements are computed by loops. */
  readonly unroll: number;
  /** Products of more scalar products are computed by loops. */
  readonly unrollProduct: number;
  /** Vector registers. */
  readonly registers: number;
}

const UNARY: Partial<Record<OpName, UnaryOp>> = {
  neg: 'neg',
  abs: 'abs',
  sign: 'sign',
  floor: 'floor',
  ceil: 'ceil',
  round: 'round',
  exp: 'exp',
  expm1: 'expm1',
  log: 'log',
  log1p: 'log1p',
  sqrt: 'sqrt',
  rsqrt: 'rsqrt',
  sin: 'sin',
  cos: 'cos',
  atan: 'atan',
  tanh: 'tanh',
  sigmoid: 'sigmoid',
  erf: 'erf',
  isNan: 'isNan',
  isFinite: 'isFinite',
  not: 'not',
};

const BINARY: Partial<Record<OpName, BinaryOp>> = {
  add: 'add',
  sub: 'sub',
  mul: 'mul',
  div: 'div',
  mod: 'mod',
  pow: 'pow',
  atan2: 'atan2',
  max: 'max',
  min: 'min',
  eq: 'eq',
  ne: 'ne',
  lt: 'lt',
  le: 'le',
  gt: 'gt',
  ge: 'ge',
  and: 'and',
  or: 'or',
};

/** Ops whose element at given coordinates is an element of the operand at the same ones. */
export function isElementwise(op: OpName): boolean {
  return (
    UNARY[op] !== undefined || BINARY[op] !== undefined || ['cast', 'identity', 'stopGradient', 'select'].includes(op)
  );
}

export function registerType(dtype: Node['type']['dtype']): RegisterType {
  return dtype === 'float32' ? 'f32' : dtype === 'bool' ? 'mask' : 'i32';
}

export function isFixed(coordinates: readonly Index[]): boolean {
  return coordinates.every(({ terms }) => terms.length === 0);
}

export class Evaluator {
  readonly tiles: Tiles;
  /** Nodes that read a node, and outputs. */
  readonly uses: Int32Array;
  private readonly consumers: readonly (readonly ValueId[])[];
  private readonly varies: Uint8Array;
  /** Elements by node and coordinates; the last belongs to the innermost body. */
  private readonly memo: Map<string, Ref>[] = [new Map<string, Ref>()];

  constructor(
    readonly dag: Dag,
    readonly lane: LaneGraph,
    readonly options: EvaluateOptions,
  ) {
    const { nodes, outputs } = lane.graph;
    const consumers = nodes.map((): ValueId[] => []);
    nodes.forEach((node, id) => node.inputs.forEach((input) => consumers[input].push(id)));
    this.consumers = consumers;
    this.uses = Int32Array.from(consumers, (list) => list.length);
    for (const id of outputs) this.uses[id]++;
    this.varies = new Uint8Array(nodes.length);
    nodes.forEach((node, id) => {
      const varies =
        node.op === 'input'
          ? isVarying(lane.sources.get(id)!)
          : node.op === 'random' || node.inputs.some((input) => this.varies[input] === 1);
      this.varies[id] = varies ? 1 : 0;
    });
    this.tiles = new Tiles(this);
  }

  node(id: ValueId): Node {
    return this.lane.graph.nodes[id];
  }

  size(id: ValueId): number {
    return sizeOf(this.node(id).type.shape);
  }

  shape(id: ValueId): readonly number[] {
    return this.node(id).type.shape;
  }

  varying(id: ValueId): boolean {
    return this.varies[id] === 1;
  }

  /** An element. Coordinates lie within the shape, one an axis. */
  value(id: ValueId, at: readonly Index[]): Ref {
    const name = nameOf(id, at);
    for (let layer = this.memo.length - 1; layer >= 0; layer--) {
      const known = this.memo[layer].get(name);
      if (known !== undefined) return known;
    }
    const node = this.node(id);
    const ref = this.dag.from(`${node.op} %${String(id)}`, () =>
      this.isHeld(id, at) ? this.tiles.load(id, at) : this.rule(node, id, at),
    );
    this.memo[this.memo.length - 1].set(name, ref);
    return ref;
  }

  /** The element computed from its operands, even if the node is to lie in a tile. */
  compute(id: ValueId, at: readonly Index[]): Ref {
    const node = this.node(id);
    return this.dag.from(`${node.op} %${String(id)}`, () => this.rule(node, id, at));
  }

  /** Values made within are known within only: they may belong to its body. */
  within(make: () => void): void {
    this.memo.push(new Map());
    try {
      make();
    } finally {
      this.memo.pop();
    }
  }

  /** Says what the node's element at these coordinates is. */
  define(id: ValueId, at: readonly Index[], ref: Ref): void {
    this.memo[this.memo.length - 1].set(nameOf(id, at), ref);
  }

  /** All elements, in row-major order; for values of few. */
  elements(id: ValueId): readonly Ref[] {
    return allCoordinates(this.shape(id)).map((at) => this.value(id, at));
  }

  /** Whether the element is to be read from a tile. */
  private isHeld(id: ValueId, at: readonly Index[]): boolean {
    const node = this.node(id);
    if (this.tiles.has(id)) return true;
    if (node.op === 'matmul' && !isUnrolledProduct(this, id)) return true;
    const fixed = isFixed(at);
    switch (node.op) {
      case 'input': {
        const source = this.lane.sources.get(id)!;
        return !fixed && source.kind === 'computed' && !source.running;
      }
      case 'constant':
      case 'table':
      case 'iota':
        return false;
      case 'broadcast':
      case 'transpose':
      case 'slice':
      case 'windows':
      case 'reverse':
        return false;
      case 'foldWindows':
        return !fixed || this.size(id) > this.options.unroll;
      case 'reshape':
        return false;
      case 'concat':
        return at[node.attributes.axis].terms.length > 0;
      case 'pad':
        return !at.every(
          ({ terms }, axis) =>
            terms.length === 0 ||
            (node.attributes.low[axis] === 0 &&
              node.attributes.high[axis] === 0 &&
              node.attributes.interior[axis] === 0),
        );
      case 'scatterAdd':
        return !fixed || this.size(id) > this.options.unroll || this.scattersMany(node);
      default:
        if (this.size(id) <= this.options.unroll && !this.isEpilogue(id)) return !fixed && this.size(id) > 1;
        return !this.isInlined(id);
    }
  }

  /** The one node that reads this one, once; undefined if there are others, or if the value is an output. */
  onlyReader(id: ValueId): ValueId | undefined {
    return this.uses[id] === 1 ? this.consumers[id][0] : undefined;
  }

  /** Whether it is no output and nothing but these nodes reads it. */
  readOnlyBy(id: ValueId, readers: ReadonlySet<ValueId>): boolean {
    const { length } = this.consumers[id];
    return this.uses[id] === length && length > 0 && this.consumers[id].every((reader) => readers.has(reader));
  }

  /** An elementwise op that is read once, at the coordinates that its reader is computed at. */
  private isInlined(id: ValueId): boolean {
    if (!isElementwise(this.node(id).op) || this.uses[id] !== 1 || this.consumers[id].length === 0) return false;
    const [reader] = this.consumers[id];
    const { op } = this.node(reader);
    const once = isElementwise(op) || ['reduceSum', 'reduceMax', 'reduceMin', 'argMax', 'argMin'].includes(op);
    return once && (this.size(reader) === this.size(id) || !isElementwise(op));
  }

  /** Elementwise on the result of a looped product of the same size: computed where the product is. */
  isEpilogue(id: ValueId): boolean {
    return this.tiles.epilogueOf(id) !== undefined;
  }

  private rule(node: Node, id: ValueId, at: readonly Index[]): Ref {
    const { dag } = this;
    const unary = UNARY[node.op];
    if (unary !== undefined) return dag.unary(unary, this.value(node.inputs[0], at));
    const binary = BINARY[node.op];
    if (binary !== undefined) {
      return dag.binary(binary, this.value(node.inputs[0], at), this.value(node.inputs[1], at));
    }
    switch (node.op) {
      case 'input': {
        const source = this.lane.sources.get(id)!;
        if (source.kind === 'computed') return source.at(at);
        return loadHome(dag, source.home, at, registerType(node.type.dtype));
      }
      case 'constant':
        return this.constant(node, id, at);
      case 'table':
        return loadHome(this.dag, this.home(id)!, at, registerType(node.type.dtype));
      case 'random':
        return drawElement(dag, this.lane.keys!, node, flat(node.type.shape, at).offset);
      case 'iota':
        return dag.position(at[node.attributes.axis]);
      case 'identity':
      case 'stopGradient':
        return this.value(node.inputs[0], at);
      case 'cast':
        return dag.convert(registerType(node.attributes.dtype), this.value(node.inputs[0], at));
      case 'select': {
        const [condition, a, b] = node.inputs;
        return dag.select(this.value(condition, at), this.value(a, at), this.value(b, at));
      }
      case 'matmul':
        return this.unrolledProduct(node, at);
      case 'reduceSum':
      case 'reduceMax':
      case 'reduceMin':
      case 'argMax':
      case 'argMin':
        return this.tiles.reduce(node, id, at);
      case 'gather': {
        const [operand, indices] = node.inputs;
        const rank = this.shape(indices).length;
        return this.row(operand, this.value(indices, at.slice(0, rank)), at.slice(rank));
      }
      case 'scatterAdd':
        return this.scattered(node, at);
      default:
        return this.moved(node, at);
    }
  }

  private moved(node: Node, at: readonly Index[]): Ref {
    const [operand] = node.inputs;
    const from = this.shape(operand);
    switch (node.op) {
      case 'broadcast': {
        const lead = at.length - from.length;
        return this.value(
          operand,
          from.map((extent, axis) => (extent === 1 ? indexOf(0) : at[lead + axis])),
        );
      }
      case 'reshape':
        return this.reshaped(operand, node.type.shape, at);
      case 'transpose': {
        const source = new Array<Index>(at.length);
        node.attributes.perm.forEach((axis, i) => (source[axis] = at[i]));
        return this.value(operand, source);
      }
      case 'slice':
        return this.value(
          operand,
          at.map((c, axis) => shiftIndex(scaleIndex(c, node.attributes.strides[axis]), node.attributes.begin[axis])),
        );
      case 'windows': {
        const { axes, strides, dilations } = node.attributes;
        const element = unwindowed(at, axes, (i, place, within) =>
          addIndex(scaleIndex(place, strides[i]), scaleIndex(within, dilations[i])),
        );
        return this.value(operand, element);
      }
      case 'foldWindows':
        return this.folded(node, at);
      case 'reverse':
        return this.value(
          operand,
          at.map((c, axis) =>
            node.attributes.axes.includes(axis) ? shiftIndex(scaleIndex(c, -1), from[axis] - 1) : c,
          ),
        );
      case 'pad': {
        const { low, interior } = node.attributes;
        const inside: Index[] = [];
        for (const [axis, c] of at.entries()) {
          const away = c.offset - low[axis];
          const step = interior[axis] + 1;
          if (c.terms.length > 0) inside.push(c);
          else if (away < 0 || away % step !== 0 || away / step >= from[axis]) {
            return this.dag.literal(registerType(node.type.dtype), 0);
          } else inside.push(indexOf(away / step));
        }
        return this.value(operand, inside);
      }
      case 'concat': {
        const { axis } = node.attributes;
        let offset = at[axis].offset;
        for (const part of node.inputs) {
          const extent = this.shape(part)[axis];
          if (offset < extent) {
            return this.value(
              part,
              at.map((c, i) => (i === axis ? indexOf(offset) : c)),
            );
          }
          offset -= extent;
        }
        throw new Error('coordinates outside of a concat; this is a defect of the lane code.');
      }
      default:
        throw new Error(`no lane rule for ${node.op}; this is a defect of the lane code.`);
    }
  }

  /** An element of few: the sum over the taps of the windows that see it. */
  private folded(node: NodeOf<'foldWindows'>, at: readonly Index[]): Ref {
    const { axes, strides, dilations } = node.attributes;
    const [operand] = node.inputs;
    const shape = this.shape(operand);
    const terms = tapsOf(windowSizes(shape, axes)).flatMap((tap) => {
      const places = axes.map((axis, i) => (at[axis].offset - tap[i] * dilations[i]) / strides[i]);
      if (!places.every((place, i) => Number.isInteger(place) && place >= 0 && place < shape[axes[i]])) return [];
      const inner = windowed(
        at,
        axes,
        (i) => indexOf(places[i]),
        (i) => indexOf(tap[i]),
      );
      return [this.value(operand, inner)];
    });
    return this.tiles.sum(terms, registerType(node.type.dtype));
  }

  private reshaped(operand: ValueId, to: readonly number[], at: readonly Index[]): Ref {
    const from = this.shape(operand);
    const place = flat(to, at);
    if (isFixed(at)) return this.value(operand, unflatten(from, place.offset));
    // Axes of extent 1 come and go.
    const kept = at.filter((_, axis) => to[axis] !== 1);
    const same = from.filter((extent) => extent !== 1);
    if (same.length === kept.length && same.every((extent, i) => extent === to.filter((e) => e !== 1)[i])) {
      let next = 0;
      return this.value(
        operand,
        from.map((extent) => (extent === 1 ? indexOf(0) : kept[next++])),
      );
    }
    // One axis that was split, or values that lie one after another.
    if (same.length === 1) {
      return this.value(
        operand,
        from.map((extent) => (extent === 1 ? indexOf(0) : place)),
      );
    }
    return this.tiles.loadFlat(operand, place);
  }

  private constant(node: NodeOf<'constant'>, id: ValueId, at: readonly Index[]): Ref {
    const { data, dtype, shape } = node.attributes;
    const type = registerType(dtype);
    if (isFixed(at)) return this.dag.literal(type, data[flat(shape, at).offset]);
    if (data.every((x) => Object.is(x, data[0]))) return this.dag.literal(type, data[0]);
    const home = this.home(id);
    return home === undefined ? this.tiles.load(id, at) : loadHome(this.dag, home, at, type);
  }

  /** Where a node that is computed by nobody lies. */
  home(id: ValueId): Home | undefined {
    const node = this.node(id);
    if (node.op === 'input') {
      const source = this.lane.sources.get(id)!;
      return source.kind === 'memory' ? source.home : undefined;
    }
    const buffer = this.lane.tables.get(id);
    if (buffer === undefined) return undefined;
    const { dtype, shape } = node.type;
    const memory = dtype === 'float32' ? 'f32' : dtype === 'int32' ? 'i32' : 'u8';
    return { buffer, memory, varying: false, offset: indexOf(0), strides: rowMajorStrides(shape), after: [] };
  }

  private unrolledProduct(node: NodeOf<'matmul'>, at: readonly Index[]): Ref {
    const { transposeA, transposeB } = node.attributes;
    const [a, b] = node.inputs;
    const rank = at.length;
    const lead = at.slice(0, rank - 2);
    const [i, j] = [at[rank - 2], at[rank - 1]];
    const inner = this.shape(a)[transposeA ? rank - 2 : rank - 1];
    const products = Array.from({ length: inner }, (_, k) => {
      const c = indexOf(k);
      const left = this.value(a, [...lead, ...(transposeA ? [c, i] : [i, c])]);
      const right = this.value(b, [...lead, ...(transposeB ? [j, c] : [c, j])]);
      return this.dag.binary('mul', left, right);
    });
    return this.tiles.sum(products, 'f32');
  }

  /** Element [row, …at] of an operand whose row is known at run time; clamped. */
  private row(operand: ValueId, row: Ref, at: readonly Index[]): Ref {
    const { dag } = this;
    const [rows] = this.shape(operand);
    const clamped = this.clampRow(row, rows);
    const known = dag.literalOf(clamped);
    if (known !== undefined) return this.value(operand, [indexOf(known), ...at]);
    const node = this.node(operand);
    const type = registerType(node.type.dtype);
    const home = this.tiles.has(operand) ? undefined : this.home(operand);
    if (home === undefined && rows <= FEW_ROWS && this.size(operand) <= this.options.unroll) {
      let chosen = this.value(operand, [indexOf(0), ...at]);
      for (let r = 1; r < rows; r++) {
        const here = dag.binary('eq', clamped, dag.literal('i32', r));
        chosen = dag.select(here, this.value(operand, [indexOf(r), ...at]), chosen);
      }
      return chosen;
    }
    const { buffer, memory, varying, offset, strides, after } = home ?? this.tiles.home(operand);
    const factor = varying ? dag.span : 1;
    const rest = addIndex(offset, ...at.map((c, axis) => scaleIndex(c, strides[axis + 1])));
    const steps = dag.binary('mul', clamped, dag.literal('i32', strides[0] * factor));
    const offsets = varying ? dag.binary('add', steps, dag.lane()) : steps;
    return dag.convert(type, dag.gather(buffer, memory, scaleIndex(rest, factor), offsets, after));
  }

  clampRow(row: Ref, rows: number): Ref {
    const { dag } = this;
    return dag.binary('max', dag.binary('min', row, dag.literal('i32', rows - 1)), dag.literal('i32', 0));
  }

  /** Whether a scatterAdd has too many updates for a select each. */
  scattersMany(node: NodeOf<'scatterAdd'>): boolean {
    return this.size(node.inputs[1]) * node.attributes.rows > 4 * this.options.unroll;
  }

  /** Updates of few rows: each added where its index is that row. */
  private scattered(node: NodeOf<'scatterAdd'>, at: readonly Index[]): Ref {
    const { dag } = this;
    const [indices, updates] = node.inputs;
    const [row, ...rest] = at;
    let sum = dag.literal(registerType(node.type.dtype), 0);
    for (const place of allCoordinates(this.shape(indices))) {
      const here = dag.binary('eq', this.clampRow(this.value(indices, place), node.attributes.rows), dag.position(row));
      sum = dag.select(here, dag.binary('add', sum, this.value(updates, [...place, ...rest])), sum);
    }
    return sum;
  }
}

/** Rows of a lane-varying operand that are chosen from by selects rather than from memory. */
const FEW_ROWS = 8;

function isVarying(source: Source): boolean {
  return source.kind === 'memory' ? source.home.varying : source.varying;
}

function nameOf(id: ValueId, at: readonly Index[]): string {
  const place = ({ offset, terms }: Index): string =>
    [offset, ...terms.map(({ variable, factor }) => `${String(factor)}${variable}`)].join('+');
  return `${String(id)}@${at.map(place).join()}`;
}

/** Row-major position of coordinates. */
export function flat(shape: readonly number[], at: readonly Index[]): Index {
  const strides = rowMajorStrides(shape);
  return addIndex(indexOf(0), ...at.map((c, axis) => scaleIndex(c, strides[axis])));
}

export function unflatten(shape: readonly number[], position: number): Index[] {
  return rowMajorStrides(shape).map((stride, axis) => indexOf(Math.floor(position / stride) % shape[axis]));
}

/** Coordinates of all elements, in row-major order. */
export function allCoordinates(shape: readonly number[]): Index[][] {
  return Array.from({ length: sizeOf(shape) }, (_, position) => unflatten(shape, position));
}

/** True if the shapes differ by axes of extent 1 only. */
export function sameButForOnes(a: readonly number[], b: readonly number[]): boolean {
  const [x, y] = [a, b].map((shape) => shape.filter((extent) => extent !== 1));
  return x.length === y.length && x.every((extent, i) => extent === y[i]);
}
