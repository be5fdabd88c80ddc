/** What the lowerings of flat fragments share: buffers, stores, loops around bodies. */
import { EngineError } from '../../../contracts';
import type { ValueId } from '../../../graph/ir';
import { variableIndex } from '../nest/builder';
import type { Expr, ScalarParameter, Statement, Target } from '../nest/ir';
import { Names } from '../nest/names';
import type { Layout } from '../plan/program';
import { ofCoordinate, type Position } from './affine';
import { costOf } from './cost';
import type { Axis, Region } from './domain';
import { Emitter, offsetIn, sinkOf } from './emit';
import type { BufferUse, Coordinate, Fragment, Lowered } from './fragment';

/** A kernel of a fragment that is being written. */
export class Frame {
  readonly names = new Names();
  readonly head: Statement[] = [];
  readonly body: Statement[] = [];
  readonly emitter: Emitter;

  constructor(
    readonly fragment: Fragment,
    readonly target: Target,
    extents: ReadonlyMap<string, number> = new Map(),
  ) {
    this.emitter = new Emitter(fragment, {
      names: this.names,
      lanes: target.lanes,
      buffers: new Map(operandsOf(fragment).map((id) => [id, operandName(id)])),
      head: sinkOf(this.head),
      body: sinkOf(this.body),
      extents,
    });
  }

  /** Loop around what `build` writes into the list that it gets; without a loop if there is one round. */
  loop(
    statements: Statement[],
    extent: number,
    step: number,
    build: (inner: Statement[], at: Coordinate) => void,
    unroll = false,
  ): void {
    if (extent <= 0) return;
    if (extent <= step) {
      build(statements, constantly(0));
      return;
    }
    const variable = this.names.fresh('i');
    const inner: Statement[] = [];
    this.emitter.within(sinkOf(inner), [variable], () => {
      build(inner, { index: variableIndex(variable), lanes: 0 });
    });
    statements.push({ kind: 'loop', variable, extent, step, ...(unroll && { unroll }), body: inner });
  }

  /** Loops over axes, one in another; `placed` says where each is. */
  loops(
    statements: Statement[],
    axes: readonly Axis[],
    placed: Map<string, Coordinate>,
    build: (inner: Statement[]) => void,
  ): void {
    if (axes.length === 0) {
      build(statements);
      return;
    }
    const [{ variable, extent }, ...rest] = axes;
    this.loop(statements, extent, 1, (inner, at) => {
      placed.set(variable, at);
      this.loops(inner, rest, placed, build);
    });
  }

  /** Calls `build` for whole vectors along the axis, in a loop, and for what is left behind them. */
  lanes(statements: Statement[], extent: number, build: (inner: Statement[], at: Coordinate) => void): void {
    const { lanes } = this.target;
    const rest = extent % lanes;
    this.emitter.limit(undefined);
    this.loop(statements, extent - rest, lanes, (inner, { index }) => {
      build(inner, { index, lanes: 1 });
    });
    if (rest === 0) return;
    this.emitter.limit(rest);
    build(statements, { index: { offset: extent - rest, terms: [] }, lanes: 1 });
    this.emitter.limit(undefined);
  }

  /** Evaluates all stores at the coordinates before it writes them, so that they may lie where operands lie. */
  store(statements: Statement[], coordinates: readonly Coordinate[]): void {
    const { fragment, emitter } = this;
    const values = fragment.stores.map((id) => emitter.value(id, coordinates));
    fragment.stores.forEach((id, i) => {
      const layout = layoutOf(fragment, id);
      const position = emitter.resolve(offsetIn(layout, coordinates.map(ofCoordinate)));
      statements.push(storeAt(storeName(id), layout, position, values[i], emitter.count));
    });
  }

  get cost(): number {
    return costOf([...this.head, ...this.body], this.target);
  }

  finish(scalars: readonly ScalarParameter[] = [], body = this.body): Lowered {
    const { fragment, emitter } = this;
    const operands = operandsOf(fragment).filter((id) => emitter.read.has(id));
    const id = fragment.root ?? fragment.stores[fragment.stores.length - 1];
    return {
      kernel: {
        name: `${fragment.kind}_${fragment.graph.nodes[id].op}_${id}`,
        buffers: [
          ...operands.map((id) => ({
            name: operandName(id),
            memory: layoutOf(fragment, id).memory,
            written: false,
          })),
          ...fragment.stores.map((id) => ({
            name: storeName(id),
            memory: layoutOf(fragment, id).memory,
            written: true,
          })),
        ],
        scalars,
        body: [...this.head, ...body],
      },
      buffers: [
        ...operands.map((value): BufferUse => ({ kind: 'operand', value })),
        ...fragment.stores.map((value): BufferUse => ({ kind: 'store', value })),
      ],
    };
  }
}

export function constantly(offset: number): Coordinate {
  return { index: { offset, terms: [] }, lanes: 0 };
}

/** Where the variables of a region are that no loop runs over. */
export function zerosOf({ zeros }: Region): Map<string, Coordinate> {
  return new Map(zeros.map((variable) => [variable, constantly(0)]));
}

export function layoutOf({ graph, layouts }: Fragment, id: ValueId): Layout {
  const layout = layouts.get(id);
  if (layout === undefined) {
    throw new EngineError(`%${id} (${graph.nodes[id].op}) is read or stored by a fragment that has no layout for it.`);
  }
  return layout;
}

export function storeAt(
  buffer: string,
  { memory }: Layout,
  { index, lanes }: Position,
  value: Expr,
  count: number | undefined,
): Statement {
  if (lanes === 0) return { kind: 'store', buffer, memory, index, value, width: 'scalar' };
  return {
    kind: 'store',
    buffer,
    memory,
    index,
    value,
    width: 'vector',
    ...(lanes !== 1 && { stride: lanes }),
    ...(count !== undefined && { count }),
  };
}

export function operandName(id: ValueId): string {
  return `in${id}`;
}

export function storeName(id: ValueId): string {
  return `out${id}`;
}

/** What members read from memory, in the order of first use. */
export function operandsOf({ graph, members }: Fragment): ValueId[] {
  const inside = new Set(members);
  const found = new Set<ValueId>();
  for (const id of members) for (const input of graph.nodes[id].inputs) if (!inside.has(input)) found.add(input);
  return [...found];
}
