/**
 * Sums, extremes and their places. A float32 sum of n terms is made in w = lanes·accumulators interleaved parts, each of
 * which is added up in blocks of about √(n/w) terms: its error is at most about (2√(n/w) + log₂w + 2)·2⁻²⁴·Σ|x|, not n·2⁻²⁴·Σ|x|.
 */
import { EngineError } from '../../../contracts';
import type { Node, ValueId } from '../../../graph/ir';
import { add, addIndex, across, binary, fma, i32, read, scaleIndex, select, zero } from '../nest/builder';
import type { Expr, Index, Read, RegisterType, Statement, Target, Width } from '../nest/ir';
import { ofCoordinate } from './affine';
import { domainOf, extentsOf, regionsOf, wholeRegion, type Axis, type Region, type Visit } from './domain';
import { registerType } from './element-rules';
import { offsetIn, type Emitter } from './emit';
import type { Coordinate, Fragment, Lowered } from './fragment';
import { Frame, layoutOf, zerosOf } from './frame';
import { cheapestLanes, writeMap } from './map';

/** Loops run over the operand's shape; the epilogue at the axes that are left. */
export function lowerReduce(fragment: Fragment, target: Target): Lowered {
  const root = rootOf(fragment);
  const { type } = fragment.graph.nodes[root.operand];
  const visit: Visit = (emitter, { coordinates }, accesses) => {
    emitter.value(root.operand, coordinates);
    if (root.arg) emitter.number(ofCoordinate(coordinates[root.axes[0]]));
    emitter.define(root.id, read('root', root.type, 'scalar'));
    const kept = keptOf(root, coordinates);
    for (const id of fragment.stores) {
      emitter.value(id, kept);
      accesses.push(offsetIn(layoutOf(fragment, id), kept.map(ofCoordinate)));
    }
  };
  const region = wholeRegion(fragment, domainOf(type.shape, root.axes), visit, root.arg);
  if (region === undefined) return emptySums(fragment, target, root);
  const extents = extentsOf([region.domain]);
  let best: Frame | undefined;
  // Of equals the innermost: the last that is not worse.
  for (const lanes of [undefined, ...region.loops]) {
    if (root.arg && lanes?.reduced === true) continue;
    const frame = new Frame(fragment, target, extents);
    new Reduction(frame, region, root, lanes).write();
    if (best === undefined || frame.cost <= best.cost) best = frame;
  }
  if (best === undefined) throw new EngineError('a reduction without a loop nest; this is a defect.');
  return best.finish();
}

interface Root {
  readonly id: ValueId;
  readonly node: Node;
  readonly operand: ValueId;
  readonly axes: readonly number[];
  /** argMax or argMin. */
  readonly arg: boolean;
  readonly type: RegisterType;
  readonly operandType: RegisterType;
}

function rootOf({ graph, root: id }: Fragment): Root {
  if (id === undefined) throw new EngineError('a fragment of kind reduce has no root; this is a defect of the plan.');
  const node = graph.nodes[id];
  const [operand] = node.inputs;
  const shared = {
    id,
    node,
    operand,
    type: registerType(node.type.dtype),
    operandType: registerType(graph.nodes[operand].type.dtype),
  };
  switch (node.op) {
    case 'reduceSum':
    case 'reduceMax':
    case 'reduceMin':
      return { ...shared, axes: node.attributes.axes, arg: false };
    case 'argMax':
    case 'argMin':
      return { ...shared, axes: [node.attributes.axis], arg: true };
    default:
      throw new EngineError(`a reduction was to be made of ${node.op}; this is a defect of the plan.`);
  }
}

function keptOf({ axes }: Root, coordinates: readonly Coordinate[]): Coordinate[] {
  return coordinates.filter((_, axis) => !axes.includes(axis));
}

/** Nothing to add up: zeros, if there is anything to store. */
function emptySums(fragment: Fragment, target: Target, root: Root): Lowered {
  const define = (emitter: Emitter): void => {
    emitter.define(root.id, zero(root.type));
  };
  const visit: Visit = (emitter, { coordinates }, accesses) => {
    define(emitter);
    for (const id of fragment.stores) {
      emitter.value(id, coordinates);
      accesses.push(offsetIn(layoutOf(fragment, id), coordinates.map(ofCoordinate)));
    }
  };
  const regions = regionsOf(fragment, domainOf(root.node.type.shape), visit);
  const frame = new Frame(fragment, target, extentsOf(regions.map(({ domain }) => domain)));
  const prepare = ({ emitter }: Frame): void => {
    define(emitter);
  };
  for (const region of regions) writeMap(frame, region, cheapestLanes(fragment, target, region, prepare), prepare);
  return frame.finish();
}

/** One vector (or number) of results: lanes from `offset` on along the kept axis of the lanes. */
interface Block {
  readonly at: Coordinate;
  readonly count: number | undefined;
}

/** Fewer terms than this in one accumulator are added one after another. */
const LONG = 64;
/** Chains of additions that keep the adders of a core busy (latency 4, two a cycle). */
const CHAINS = 8;
/** A body longer than this hides the latency by itself, and is not written out several times. */
const SHORT_BODY = 12;

class Reduction {
  private readonly placed: Map<string, Coordinate>;
  private readonly kept: readonly Axis[];
  private readonly reduced: readonly Axis[];

  constructor(
    private readonly frame: Frame,
    private readonly region: Region,
    private readonly root: Root,
    private readonly lanes: Axis | undefined,
  ) {
    this.placed = zerosOf(region);
    this.kept = region.loops.filter((axis) => !axis.reduced && axis !== lanes);
    // Lanes run in the innermost loop.
    const others = region.loops.filter((axis) => axis.reduced && axis !== lanes);
    this.reduced = lanes?.reduced === true ? [...others, lanes] : others;
  }

  write(): void {
    const { frame, lanes } = this;
    frame.loops(frame.body, this.kept, this.placed, (statements) => {
      if (lanes === undefined || lanes.reduced) {
        frame.emitter.limit(undefined);
        this.results(statements, [undefined]);
      } else this.alongKept(statements, lanes.extent);
    });
  }

  /** Lanes are results. Several vectors of them at a time. */
  private alongKept(statements: Statement[], extent: number): void {
    const { lanes } = this.frame.target;
    const most = this.shortBody() ? CHAINS : 1;
    const vectors = Math.min(most, Math.ceil(extent / lanes));
    const step = vectors * lanes;
    const rest = extent % step;
    const blocks = (index: Index, size: number): Block[] => {
      const result: Block[] = [];
      for (let offset = 0; offset < size; offset += lanes) {
        const at = { index: addIndex(index, { offset, terms: [] }), lanes: 1 };
        result.push({ at, count: size - offset < lanes ? size - offset : undefined });
      }
      return result;
    };
    this.frame.loop(statements, extent - rest, step, (inner, { index }) => {
      this.results(inner, blocks(index, step));
    });
    if (rest > 0) this.results(statements, blocks({ offset: extent - rest, terms: [] }, rest));
  }

  /** Whether the terms take few statements to make. */
  private shortBody(): boolean {
    return this.frame.fragment.members.length <= SHORT_BODY;
  }

  /** Reduces and stores these results. */
  private results(statements: Statement[], blocks: readonly (Block | undefined)[]): void {
    const totals = this.root.arg ? this.places(statements, blocks) : this.totals(statements, blocks);
    blocks.forEach((block, i) => {
      this.enter(block);
      this.frame.emitter.define(this.root.id, totals[i]);
      this.frame.store(statements, keptOf(this.root, this.region.domain.coordinates));
    });
  }

  /** From here on values are those of the block. */
  private enter(block: Block | undefined): void {
    const { frame, lanes } = this;
    if (block !== undefined && lanes !== undefined) {
      this.placed.set(lanes.variable, block.at);
      frame.emitter.limit(block.count);
    }
    frame.emitter.place(this.placed);
  }

  private term(): Expr {
    return this.frame.emitter.value(this.root.operand, this.region.domain.coordinates);
  }

  private totals(statements: Statement[], blocks: readonly (Block | undefined)[]): Expr[] {
    if (this.reduced.length === 0) {
      return blocks.map((block) => {
        this.enter(block);
        return this.term();
      });
    }
    const sums = new Accumulation(this.frame, this.root, this.placed, this.reduced, this.lanes, {
      blocks: blocks.map((block) => () => {
        this.enter(block);
      }),
      width: this.lanes === undefined ? 'scalar' : 'vector',
      chains: this.shortBody() ? CHAINS : 2,
      coordinates: this.region.domain.coordinates,
    });
    return sums.write(statements);
  }

  /** The places of the first extremes, one loop over the elements in order. */
  private places(statements: Statement[], blocks: readonly (Block | undefined)[]): Expr[] {
    const { frame, root } = this;
    const { emitter, names } = frame;
    const [axis] = root.axes;
    const better = root.node.op === 'argMax' ? 'gt' : 'lt';
    const width: Width = this.lanes === undefined ? 'scalar' : 'vector';
    // The first element is the best so far, whatever it is: NaN is not beaten.
    for (const { variable } of this.reduced) this.placed.set(variable, { index: { offset: 0, terms: [] }, lanes: 0 });
    const bests = blocks.map((block) => {
      this.enter(block);
      const best = variable(statements, names.fresh('v'), this.term(), root.operandType, width);
      return { best, place: variable(statements, names.fresh('v'), i32(0), 'i32', width) };
    });
    if (this.reduced.length === 0) return bests.map(({ place }) => place);
    frame.loops(statements, this.reduced, this.placed, (inner) => {
      blocks.forEach((block, i) => {
        this.enter(block);
        const { best, place } = bests[i];
        const value = this.term();
        const where = emitter.number(ofCoordinate(this.region.domain.coordinates[axis]));
        const name = names.fresh('m');
        inner.push({ kind: 'let', name, value: binary(better, value, best) });
        const beats = read(name, 'mask', width);
        inner.push({ kind: 'set', name: best.name, value: select(beats, value, best) });
        inner.push({ kind: 'set', name: place.name, value: select(beats, where, place) });
      });
    });
    return bests.map(({ place }) => place);
  }
}

interface AccumulationOptions {
  /** One for each vector of results: makes values be those of that vector. */
  readonly blocks: readonly (() => void)[];
  readonly width: Width;
  /** Accumulators that are to be busy at a time. */
  readonly chains: number;
  readonly coordinates: readonly Coordinate[];
}

/** Sums and extremes over loops, in several accumulators for each vector of results. */
class Accumulation {
  private readonly op: 'sum' | 'max' | 'min';
  /** Lanes run along the innermost loop, and are joined at the end. */
  private readonly joins: boolean;
  private readonly ways: number;
  /** Trips of each loop in one accumulator. */
  private readonly trips: readonly number[];
  private readonly step: number;
  /** Lanes of the last, partial vector of the innermost loop. */
  private readonly tail: number;

  constructor(
    private readonly frame: Frame,
    private readonly root: Root,
    private readonly placed: Map<string, Coordinate>,
    private readonly axes: readonly Axis[],
    lanes: Axis | undefined,
    private readonly options: AccumulationOptions,
  ) {
    const { op } = root.node;
    this.op = op === 'reduceSum' ? 'sum' : op === 'reduceMax' ? 'max' : 'min';
    this.joins = lanes?.reduced === true;
    const inner = axes[axes.length - 1].extent;
    const wide = this.joins ? frame.target.lanes : 1;
    const whole = Math.floor(inner / wide);
    this.tail = inner % wide;
    this.ways = Math.min(Math.max(1, Math.floor(options.chains / options.blocks.length)), 4, whole);
    this.step = wide * Math.max(1, this.ways);
    this.trips = [...axes.slice(0, -1).map(({ extent }) => extent), Math.max(1, Math.floor(inner / this.step))];
  }

  write(statements: Statement[]): Expr[] {
    const totals = this.open(statements);
    const trips = this.trips.reduce((a, b) => a * b, 1);
    const blocked = this.op === 'sum' && this.root.type === 'f32' && trips > LONG;
    this.walk(statements, 0, totals, blocked ? this.chunk(trips) : undefined);
    return this.options.blocks.map((_, block) => this.close(statements, totals[block]));
  }

  /** Which loop is to be cut into blocks, and of how many rounds, so that blocks have about √trips terms. */
  private chunk(trips: number): { readonly level: number; readonly rounds: number } {
    const size = Math.ceil(Math.sqrt(trips));
    let inside = 1;
    for (let level = this.trips.length - 1; level > 0; level--) {
      if (inside * this.trips[level] >= size) return { level, rounds: Math.max(1, Math.round(size / inside)) };
      inside *= this.trips[level];
    }
    return { level: 0, rounds: Math.max(1, Math.round(size / inside)) };
  }

  /** Accumulators of each vector of results: `ways`, then one for the tail. −0 is what adds nothing: 0 + −0 is 0. */
  private open(statements: Statement[]): Read[][] {
    const { width } = this.options;
    const { type } = this.root;
    const least = type === 'f32' ? Infinity : 2147483648;
    const value =
      this.op === 'sum' ? (type === 'f32' ? -0 : 0) : this.op === 'max' ? -least : type === 'f32' ? least : least - 1;
    const count = this.ways + (this.tail > 0 ? 1 : 0);
    return this.options.blocks.map(() =>
      Array.from({ length: count }, () =>
        variable(statements, this.frame.names.fresh('v'), { kind: 'literal', type, value }, type, width),
      ),
    );
  }

  private walk(
    statements: Statement[],
    level: number,
    sums: readonly (readonly Read[])[],
    chunk: { readonly level: number; readonly rounds: number } | undefined,
  ): void {
    const { extent } = this.axes[level];
    const last = level === this.axes.length - 1;
    if (chunk?.level !== level) {
      this.range(statements, level, { offset: 0, terms: [] }, extent, sums, chunk);
      return;
    }
    const size = chunk.rounds * (last ? this.step : 1);
    const block = (inner: Statement[], start: Index, length: number): void => {
      const parts = this.open(inner);
      this.range(inner, level, start, length, parts, undefined);
      parts.forEach((ways, i) => {
        ways.forEach((part, j) => {
          inner.push({ kind: 'set', name: sums[i][j].name, value: add(sums[i][j], part) });
        });
      });
    };
    const whole = Math.floor(extent / size);
    this.frame.loop(statements, whole, 1, (inner, { index }) => {
      block(inner, scaleIndex(index, size), size);
    });
    if (extent > whole * size) block(statements, { offset: whole * size, terms: [] }, extent - whole * size);
  }

  /** Adds what lies in [start, start + length) of a loop, and of the loops within. */
  private range(
    statements: Statement[],
    level: number,
    start: Index,
    length: number,
    sums: readonly (readonly Read[])[],
    chunk: { readonly level: number; readonly rounds: number } | undefined,
  ): void {
    const { variable: axis } = this.axes[level];
    if (level === this.axes.length - 1) {
      this.innermost(statements, start, length, sums);
      return;
    }
    this.frame.loop(statements, length, 1, (inner, { index }) => {
      this.placed.set(axis, { index: addIndex(start, index), lanes: 0 });
      this.walk(inner, level + 1, sums, chunk);
    });
  }

  private innermost(statements: Statement[], start: Index, length: number, sums: readonly (readonly Read[])[]): void {
    const wide = this.joins ? this.frame.target.lanes : 1;
    const rounds = (inner: Statement[], from: Index, ways: number): void => {
      for (let way = 0; way < ways; way++) {
        this.add(inner, addIndex(from, { offset: way * wide, terms: [] }), sums, way);
      }
    };
    const rest = length % this.step;
    this.frame.loop(statements, this.ways === 0 ? 0 : length - rest, this.step, (inner, { index }) => {
      rounds(inner, addIndex(start, index), this.ways);
    });
    const left = this.ways === 0 ? 0 : Math.floor(rest / wide);
    rounds(statements, addIndex(start, { offset: length - rest, terms: [] }), left);
    if (length % wide > 0) {
      this.add(
        statements,
        addIndex(start, { offset: length - (length % wide), terms: [] }),
        sums,
        this.ways,
        this.tail,
      );
    }
  }

  /** One more term of every vector of results, from this place of the innermost loop, into accumulator `way`. */
  private add(
    statements: Statement[],
    index: Index,
    sums: readonly (readonly Read[])[],
    way: number,
    count?: number,
  ): void {
    const { emitter } = this.frame;
    const { variable: axis } = this.axes[this.axes.length - 1];
    this.placed.set(axis, { index, lanes: this.joins ? 1 : 0 });
    this.options.blocks.forEach((enter, block) => {
      enter();
      if (this.joins) emitter.limit(count);
      const sum = sums[block][way];
      statements.push({ kind: 'set', name: sum.name, value: this.joined(sum) });
    });
    if (this.joins) emitter.limit(undefined);
  }

  private joined(sum: Read): Expr {
    const { emitter } = this.frame;
    const { operand, type } = this.root;
    const { coordinates } = this.options;
    if (this.op !== 'sum') return binary(this.op, sum, emitter.value(operand, coordinates));
    const { op, inputs } = emitter.node(operand);
    if (op === 'mul' && type === 'f32' && emitter.usedOnce(operand)) {
      const [x, y] = inputs.map((id) => emitter.value(id, coordinates));
      return fma(x, y, sum);
    }
    return add(sum, emitter.value(operand, coordinates));
  }

  private combine(a: Expr, b: Expr): Expr {
    return this.op === 'sum' ? add(a, b) : binary(this.op, a, b);
  }

  /** The result of one vector of accumulators. */
  private close(statements: Statement[], accumulators: readonly Read[]): Expr {
    let parts: Expr[] = accumulators.slice(0, this.ways);
    while (parts.length > 1) {
      const half = Math.ceil(parts.length / 2);
      parts = Array.from({ length: half }, (_, i) =>
        i + half < parts.length ? this.combine(parts[i], parts[i + half]) : parts[i],
      );
    }
    if (this.joins) {
      parts = parts.map((part) => across(this.op, part));
      if (this.tail > 0) parts.push(across(this.op, accumulators[this.ways], this.tail));
    }
    const name = this.frame.names.fresh('r');
    statements.push({ kind: 'let', name, value: parts.reduce((a, b) => this.combine(a, b)) });
    return read(name, this.root.type, this.joins ? 'scalar' : this.options.width);
  }
}

function variable(statements: Statement[], name: string, value: Expr, type: RegisterType, width: Width): Read {
  statements.push({ kind: 'var', name, value, ...(width === 'vector' && { width }) });
  return read(name, type, width);
}
