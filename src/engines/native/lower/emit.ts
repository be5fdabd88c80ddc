/**
 * Emits what a fragment computes at one element, or at one element a lane. Values are named where what they depend on is
 * known: a number that does not change within a loop is computed before it.
 */
import { EngineError } from '../../../contracts';
import { sizeOf, type Graph, type Node, type Shape, type ValueId } from '../../../graph/ir';
import {
  add,
  binary,
  convert,
  gather,
  i32,
  loadScalar,
  loadVector,
  mul,
  position as positionExpr,
  ramp,
  read,
  scaleIndex,
  shiftIndex,
  substituteIndex,
  variableIndex,
} from '../nest/builder';
import type { Expr, Index, Statement } from '../nest/ir';
import type { Names } from '../nest/names';
import { typeOf } from '../nest/types';
import type { Layout } from '../plan/program';
import {
  at,
  isNumber,
  ofCoordinate,
  ofVariable,
  ofVector,
  plus,
  shifted,
  textOf,
  times,
  type Position,
  type Range,
} from './affine';
import { ELEMENT_RULES } from './element-rules';
import type { Coordinate, ElementEmitter, Fragment } from './fragment';

/** Whatever statements can be put into: a `NestBuilder`, or `sinkOf` a list. */
export interface Sink {
  append(statement: Statement): void;
}

export function sinkOf(statements: Statement[]): Sink {
  return { append: (statement) => void statements.push(statement) };
}

/** What emitted code looks at, told to a lowering that is choosing its loops. */
export interface Watcher {
  /** An element of an operand (its offset there), or a position used as a number. */
  access(position: Position, operand?: ValueId): void;
  /** What is computed changes where the position reaches `border`. */
  border(position: Position, border: number): void;
  /** A reshape would be affine if the variable, [0, extent), were outer·by + inner. */
  split(variable: string, by: number): void;
}

export interface EmitterOptions {
  readonly names: Names;
  /** Lanes of a vector. */
  readonly lanes: number;
  /** The kernel's buffers that hold the operands. */
  readonly buffers: ReadonlyMap<ValueId, string>;
  /** Where values go unless a body is opened by `within`. */
  readonly body: Sink;
  /**
   * The start of the kernel; gets what depends on no variable. Without it that stays in the body. Nothing that `define`
   * gave gets there.
   */
  readonly head?: Sink;
  /** Lanes that are used; all unless told. Others are neither read nor meant. */
  readonly count?: number;
  /** What variables in coordinates stand for, when they are not those of loops. */
  readonly variables?: ReadonlyMap<string, Coordinate>;
  /** Variables range over [0, extent). What is not known to lie inside of an operand is clamped and masked. */
  readonly extents?: ReadonlyMap<string, number>;
  readonly watcher?: Watcher;
}

/** Bytes of a cache line; a table that caches hold anyway; what of a row hardware does not fetch by itself. */
const LINE = 64;
const LARGE = 2 ** 18;
const MOST_LINES = 16;
/** Rounds: about what a row takes from memory over what it takes to convert one. */
const AHEAD = 2;

interface Scope {
  readonly sink: Sink;
  readonly known: Map<string, Expr>;
}

export class Emitter implements ElementEmitter {
  readonly graph: Graph;
  private readonly members: ReadonlySet<ValueId>;
  /** Reads by members, and by the world if stored. */
  private readonly uses = new Map<ValueId, number>();
  private readonly scopes: Scope[];
  /** In which scope a variable or a value lives. Others live in the innermost. */
  private readonly depths = new Map<string, number>();
  private readonly highs = new Map<string, number>();
  /** Rows that have been fetched ahead. */
  private readonly fetched = new Set<string>();
  private readonly defined = new Map<ValueId, Expr>();
  /** Operands that have been read. */
  readonly read = new Set<ValueId>();
  private inUse?: number;
  /** A variable and how far it runs: rows of tables are fetched before it gets to them. */
  private ahead?: { readonly variable: string; readonly extent: number };
  private variables: ReadonlyMap<string, Coordinate>;

  constructor(
    readonly fragment: Fragment,
    private readonly options: EmitterOptions,
  ) {
    this.graph = fragment.graph;
    this.members = new Set(fragment.members);
    const use = (id: ValueId): void => void this.uses.set(id, (this.uses.get(id) ?? 0) + 1);
    for (const id of fragment.members) this.graph.nodes[id].inputs.forEach(use);
    fragment.stores.forEach(use);
    const { head, body, count, variables, extents } = options;
    this.scopes = [...(head === undefined ? [] : [head]), body].map((sink) => ({ sink, known: new Map() }));
    this.inUse = count;
    this.variables = variables ?? new Map();
    for (const [variable, extent] of extents ?? []) this.highs.set(variable, extent - 1);
  }

  value(id: ValueId, coordinates: readonly Coordinate[]): Expr {
    return this.at(id, coordinates.map(ofCoordinate));
  }

  define(id: ValueId, value: Expr): void {
    if (value.kind !== 'literal') {
      this.defined.set(id, value);
      return;
    }
    // A name of the innermost body, so that nothing made of the value outlives the definition.
    const name = this.options.names.fresh();
    this.innermost.sink.append({ kind: 'let', name, value });
    this.defined.set(id, read(name, value.type, 'scalar'));
  }

  forget(): void {
    this.defined.clear();
    this.innermost.known.clear();
  }

  /** Lanes in use from now on: all if undefined. Forgets. */
  limit(count: number | undefined): void {
    this.forget();
    this.inUse = count === this.options.lanes ? undefined : count;
  }

  /** What variables stand for from now on. Forgets. */
  place(variables: ReadonlyMap<string, Coordinate>): void {
    this.forget();
    this.variables = variables;
  }

  /** From now on rows that are looked up in large tables are fetched `AHEAD` rounds of this variable before their use. */
  lookAhead(loop: { readonly variable: string; readonly extent: number } | undefined): void {
    this.ahead = loop;
  }

  /**
   * Fetches the start of the row of a table that will be read when the variable to look ahead along is further on.
   * @param row Computes the row for positions.
   */
  prefetch(table: ValueId, positions: readonly Position[], row: (positions: readonly Position[]) => Position): void {
    const { ahead } = this;
    const layout = this.fragment.layouts.get(table);
    const buffer = this.options.buffers.get(table);
    if (ahead === undefined || layout === undefined || buffer === undefined) return;
    const { shape, strides, memory } = layout;
    const bytes = memory === 'u8' ? 1 : 4;
    if (shape[0] * strides[0] * bytes < LARGE || !positions.some(({ index }) => dependsOn(index, ahead.variable)))
      return;
    const variable = this.resolve(ofVariable(ahead.variable));
    if (variable.lanes !== 0 || variable.index.terms.length === 0) return;
    const later = binary('min', positionExpr(shiftIndex(variable.index, AHEAD)), i32(ahead.extent - 1));
    const named = this.dynamic(later, ahead.extent - 1);
    const start = row(
      positions.map((position) => ({
        ...position,
        index: substituteIndex(position.index, ahead.variable, named.index),
      })),
    );
    if (start.vectors.length > 0 || start.index.terms.length === 0) return;
    const [first] = start.index.terms;
    if (this.fetched.has(first.variable)) return;
    this.fetched.add(first.variable);
    const { sink } = this.scopes[this.depths.get(first.variable) ?? this.scopes.length - 1];
    const lines = Math.min(MOST_LINES, Math.ceil((sizeOf(shape.slice(1)) * bytes) / LINE));
    for (let line = 0; line < lines; line++) {
      const index = shiftIndex(scaleIndex(start.index, strides[0]), (line * LINE) / bytes);
      sink.append({ kind: 'prefetch', buffer, index });
    }
  }

  /** Lanes in use, if they are not all. */
  get count(): number | undefined {
    return this.inUse;
  }

  /**
   * Emits into a body within the current one, where `variables` exist besides; definitions made inside end with it. The
   * caller puts the body into its place after what it finds in the current one.
   */
  within(sink: Sink, variables: readonly string[], build: () => void): void {
    this.scopes.push({ sink, known: new Map() });
    for (const variable of variables) this.depths.set(variable, this.scopes.length - 1);
    const before = new Map(this.defined);
    build();
    this.scopes.pop();
    this.defined.clear();
    for (const [id, value] of before) this.defined.set(id, value);
  }

  /** Whether the node is made here, and read just once. */
  usedOnce(id: ValueId): boolean {
    return this.members.has(id) && !this.defined.has(id) && this.uses.get(id) === 1;
  }

  node(id: ValueId): Node {
    return this.graph.nodes[id];
  }

  at(id: ValueId, positions: readonly Position[]): Expr {
    const defined = this.defined.get(id);
    if (defined !== undefined) return defined;
    const key = `${id} ${this.inUse ?? ''} ${positions.map((position) => textOf(this.resolve(position))).join(' ')}`;
    for (let depth = this.scopes.length - 1; depth >= 0; depth--) {
      const known = this.scopes[depth].known.get(key);
      if (known !== undefined) return known;
    }
    const value = this.members.has(id) ? this.computed(id, positions) : this.loaded(id, positions);
    this.scopes[this.depthOf(value)].known.set(key, value);
    return value;
  }

  /** A name for the value, where all that it depends on is known. Literals and names stay as they are. */
  emit(value: Expr, prefix = 'x'): Expr {
    if (value.kind === 'literal' || value.kind === 'read') return value;
    const depth = this.depthOf(value);
    const name = this.options.names.fresh(prefix);
    this.depths.set(name, depth);
    this.scopes[depth].sink.append({ kind: 'let', name, value });
    const { type, width } = typeOf(value);
    return read(name, type, width);
  }

  /** An i32 that has been computed, from 0 to `high`, as a position. */
  dynamic(value: Expr, high: number): Position {
    if (value.kind === 'literal') return at(value.value);
    const named = this.emit(value, 'p');
    if (named.kind !== 'read') throw new EngineError('a computed position has no name; this is a defect.');
    this.highs.set(named.name, high);
    return named.width === 'scalar' ? ofVariable(named.name) : ofVector(named.name);
  }

  /** The position as an i32. */
  number(position: Position): Expr {
    this.options.watcher?.access(position);
    if (isNumber(position)) return i32(position.index.offset);
    const { index, lanes, vectors } = this.resolve(position);
    const scalar = positionExpr(index);
    let result = lanes === 0 ? scalar : add(scalar, lanes === 1 ? ramp() : mul(ramp(), i32(lanes)));
    for (const { variable, factor } of vectors) result = add(result, scaledVector(variable, factor));
    return this.emit(result, 'p');
  }

  /** The least and the largest number that the position can be, as far as its variables are known. */
  range({ index, lanes, vectors }: Position): Range | undefined {
    let low = index.offset;
    let high = index.offset;
    const reach = (factor: number, last: number): void => {
      if (factor > 0) high += factor * last;
      else low += factor * last;
    };
    for (const { variable, factor } of [...index.terms, ...vectors]) {
      const last = this.highs.get(variable);
      if (last === undefined) return undefined;
      reach(factor, last);
    }
    reach(lanes, (this.inUse ?? this.options.lanes) - 1);
    return [low, high];
  }

  /** Clamped to [low, high]; the mask says where that changed nothing. Without a mask it is known to be inside. */
  guard(position: Position, low: number, high: number): { readonly position: Position; readonly inside?: Expr } {
    const range = this.range(position);
    if (range !== undefined && range[0] >= low && range[1] <= high) return { position };
    if (range === undefined || (range[0] < low && range[1] >= low)) this.options.watcher?.border(position, low);
    if (range === undefined || (range[0] <= high && range[1] > high)) this.options.watcher?.border(position, high + 1);
    const number = this.number(position);
    const above = binary('ge', number, i32(low));
    const below = binary('le', number, i32(high));
    const open = range ?? [-Infinity, Infinity];
    const inside = open[0] >= low ? below : open[1] <= high ? above : binary('and', above, below);
    const clamped = binary('min', binary('max', number, i32(low)), i32(high));
    return {
      position: shifted(this.dynamic(binary('sub', clamped, i32(low)), high - low), low),
      inside: this.emit(inside, 'm'),
    };
  }

  /** Quotient and remainder of a position that is not negative. */
  divide(position: Position, by: number): readonly [quotient: Position, remainder: Position] {
    if (by === 1) return [position, at(0)];
    const part = (divisible: boolean): Position => {
      const keep = ({ factor }: { readonly factor: number }): boolean => (factor % by === 0) === divisible;
      const { index, lanes, vectors } = position;
      const rest = ((index.offset % by) + by) % by;
      return {
        index: { offset: divisible ? index.offset - rest : rest, terms: index.terms.filter(keep) },
        lanes: keep({ factor: lanes }) ? lanes : 0,
        vectors: vectors.filter(keep),
      };
    };
    const remainder = part(false);
    const range = this.range(remainder);
    if (range !== undefined && range[0] >= 0 && range[1] < by) return [over(part(true), by), remainder];
    const whole = this.range(position);
    if (whole !== undefined && Math.floor(whole[0] / by) === Math.floor(whole[1] / by)) {
      const quotient = Math.floor(whole[0] / by);
      return [at(quotient), shifted(position, -quotient * by)];
    }
    for (const { variable, factor } of remainder.index.terms) {
      const last = this.highs.get(variable);
      if (last !== undefined && factor > 0 && by % factor === 0 && last * factor >= by) {
        this.options.watcher?.split(variable, by / factor);
      }
    }
    const number = this.number(position);
    const high = whole === undefined ? Infinity : Math.floor(whole[1] / by);
    return [this.dynamic(binary('div', number, i32(by)), high), this.dynamic(binary('mod', number, i32(by)), by - 1)];
  }

  private get innermost(): Scope {
    return this.scopes[this.scopes.length - 1];
  }

  private computed(id: ValueId, positions: readonly Position[]): Expr {
    const node = this.graph.nodes[id];
    const rule = ELEMENT_RULES[node.op] as (emitter: Emitter, node: Node, positions: readonly Position[]) => Expr;
    return rule(this, node, positions);
  }

  private loaded(id: ValueId, positions: readonly Position[]): Expr {
    const layout = this.fragment.layouts.get(id);
    const buffer = this.options.buffers.get(id);
    const { op, type } = this.graph.nodes[id];
    if (layout === undefined || buffer === undefined) {
      throw new EngineError(
        `%${id} (${op}) is neither a member of its fragment nor an operand with a layout and a buffer.`,
      );
    }
    const position = offsetIn(layout, positions);
    this.options.watcher?.access(position, id);
    this.read.add(id);
    const value = this.emit(this.load(buffer, layout, this.resolve(position)));
    return type.dtype === 'bool' ? this.emit(convert('mask', value), 'm') : value;
  }

  private load(buffer: string, { memory }: Layout, { index, lanes, vectors }: Position): Expr {
    const count = this.inUse;
    if (vectors.length > 0) {
      const offsets = vectors.map(({ variable, factor }) => scaledVector(variable, factor));
      if (lanes !== 0) offsets.push(lanes === 1 ? ramp() : mul(ramp(), i32(lanes)));
      return gather(buffer, memory, index, offsets.reduce(add), count);
    }
    return lanes === 0
      ? loadScalar(buffer, memory, index)
      : loadVector(buffer, memory, index, { stride: lanes, count });
  }

  /** With the variables replaced by what they stand for. */
  resolve(position: Position): Position {
    if (this.variables.size === 0) return position;
    let result: Position = { ...position, index: { offset: position.index.offset, terms: [] } };
    for (const { variable, factor } of position.index.terms) {
      const stands = this.variables.get(variable);
      result = plus(result, times(stands === undefined ? ofVariable(variable) : ofCoordinate(stands), factor));
    }
    return result;
  }

  /** The innermost scope that anything in the value belongs to. */
  private depthOf(value: Expr): number {
    const innermost = this.scopes.length - 1;
    const ofName = (name: string): number => this.depths.get(name) ?? innermost;
    const ofIndex = ({ terms }: Index): number => Math.max(0, ...terms.map(({ variable }) => ofName(variable)));
    switch (value.kind) {
      case 'literal':
      case 'ramp':
        return 0;
      case 'read':
        return ofName(value.name);
      case 'position':
        return ofIndex(value.index);
      case 'load':
        // A partial vector belongs to the lanes in use now.
        return value.count === undefined ? ofIndex(value.index) : innermost;
      case 'gather':
        return value.count === undefined ? Math.max(ofIndex(value.index), this.depthOf(value.offsets)) : innermost;
      case 'binary':
      case 'mulHigh':
        return Math.max(this.depthOf(value.a), this.depthOf(value.b));
      case 'fma':
        return Math.max(this.depthOf(value.a), this.depthOf(value.b), this.depthOf(value.c));
      case 'select':
        return Math.max(this.depthOf(value.condition), this.depthOf(value.a), this.depthOf(value.b));
      case 'unary':
      case 'convert':
      case 'shift':
      case 'across':
        return this.depthOf(value.a);
      case 'sums':
        return Math.max(...value.parts.map((part) => this.depthOf(part)));
    }
  }
}

/** Offset within a layout, in elements. */
export function offsetIn({ shape, strides }: Layout, positions: readonly Position[]): Position {
  let offset = at(0);
  positions.forEach((position, axis) => {
    if (shape[axis] !== 1) offset = plus(offset, times(position, strides[axis]));
  });
  return offset;
}

function dependsOn({ terms }: Index, variable: string): boolean {
  return terms.some((term) => term.variable === variable);
}

function scaledVector(variable: string, factor: number): Expr {
  const vector = read(variable, 'i32', 'vector');
  return factor === 1 ? vector : mul(vector, i32(factor));
}

/** All factors are multiples of `by`. */
function over({ index, lanes, vectors }: Position, by: number): Position {
  const terms = (all: Position['vectors']): Position['vectors'] =>
    all.map(({ variable, factor }) => ({ variable, factor: factor / by }));
  return {
    index: { offset: index.offset / by, terms: terms(index.terms) },
    lanes: lanes / by,
    vectors: terms(vectors),
  };
}

/** A loop variable as a coordinate. */
export function coordinate(variable: string, lanes = 0): Coordinate {
  return { index: variableIndex(variable), lanes };
}

/**
 * Whether a reshape can be followed element by element without division: a loop nest exists in whose variables both
 * shapes' positions are affine. That is so if the sizes of the trailing axes of both, taken together, divide each other.
 */
export function reshapeFollows(from: Shape, to: Shape): boolean {
  if (sizeOf(from) === 0) return true;
  const sizes = [...new Set([...suffixSizes(from), ...suffixSizes(to)])].sort((a, b) => a - b);
  return sizes.every((size, i) => i === 0 || size % sizes[i - 1] === 0);
}

function suffixSizes(shape: Shape): number[] {
  let size = 1;
  return [...shape].reverse().map((extent) => (size *= extent));
}
