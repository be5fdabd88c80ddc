/** What happens to the elements of a product before they are stored. */
import { sameShape, sizeOf, type Node, type ValueId } from '../../../../graph/ir';
import { addIndex, index, scaleIndex, type NestBuilder } from '../../nest/builder';
import type { Expr, Index } from '../../nest/ir';
import type { Coordinate, ElementEmitter, Fragment } from '../fragment';
import { layoutOf } from './shape';

/** Of how many elements, and along which axis, a value stands. */
export interface Span {
  /** Scalars: one element. */
  readonly width: 'scalar' | 'vector';
  /** Of a vector: only the first lanes exist. */
  readonly count?: number;
}

/** Gives the emitter for vectors of which only `count` lanes exist; the same one for the same count. */
export type EmitterOf = (count: number | undefined) => ElementEmitter;

/** Ops that take many instructions, and many registers, each. */
const EXPENSIVE: ReadonlySet<Node['op']> = new Set([
  'exp',
  'expm1',
  'log',
  'log1p',
  'sin',
  'cos',
  'atan',
  'tanh',
  'sigmoid',
  'erf',
  'pow',
  'atan2',
  'mod',
]);

/** Ops whose results cost nothing: they are where their operands are. */
const FREE: ReadonlySet<Node['op']> = new Set(['constant', 'iota', 'broadcast', 'reshape', 'identity', 'stopGradient']);

/** Beyond so many ops, a tile's epilogue written out would be long code and short of registers. */
const FEW_OPS = 12;

export class ProductEpilogue {
  /** Values that are the same for all elements, with what they are. */
  private readonly uniform = new Map<ValueId, Expr>();
  private readonly used = new Set<ElementEmitter>();
  private batch: readonly Index[] = [];

  constructor(
    private readonly fragment: Fragment,
    /** The matmul. */
    private readonly root: ValueId,
    private readonly builder: NestBuilder,
    /** Names of the buffers. */
    private readonly operands: ReadonlyMap<ValueId, string>,
    private readonly stores: ReadonlyMap<ValueId, string>,
    private readonly emitterOf: EmitterOf,
    /** Rows are the axis n, columns the axis m. */
    private readonly swapped: boolean,
  ) {}

  /** Whether it is better run over a block in memory than over the accumulators of a tile. */
  get expensive(): boolean {
    const { graph, members } = this.fragment;
    const ops = members.filter((id) => id !== this.root && !FREE.has(graph.nodes[id].op));
    return ops.length > FEW_OPS || ops.some((id) => EXPENSIVE.has(graph.nodes[id].op));
  }

  /**
   * Brings what belongs to the element (row, column) nearer: operands with an element for each of the product's, or if
   * there are none, what is stored. Stores lie where such operands lie as a rule.
   */
  prefetch(row: Index, column: Index): void {
    for (const { buffer, strides } of this.streams) {
      const at = [...this.batch, ...(this.swapped ? [column, row] : [row, column])];
      this.builder.prefetch(buffer, addIndex(...at.map((each, axis) => scaleIndex(each, strides[axis]))), true);
    }
  }

  /** What `prefetch` brings: buffers and their strides. */
  get streams(): readonly { readonly buffer: string; readonly strides: readonly number[] }[] {
    const { graph, members, stores } = this.fragment;
    const { shape } = graph.nodes[this.root].type;
    const read = new Set(members.filter((id) => id !== this.root).flatMap((id) => graph.nodes[id].inputs));
    const operands = [...this.operands].filter(([id]) => read.has(id) && sameShape(graph.nodes[id].type.shape, shape));
    const all = operands.length > 0 ? operands : stores.map((id) => [id, this.stores.get(id)!] as const);
    return all.map(([id, buffer]) => ({ buffer, strides: layoutOf(this.fragment, id).strides }));
  }

  /** Computes what all elements share; before all loops. */
  hoist(): void {
    const { graph, members, stores } = this.fragment;
    const inside = new Set(members);
    const same = new Set<ValueId>();
    const isSame = (id: ValueId): boolean =>
      same.has(id) || (!inside.has(id) && sizeOf(graph.nodes[id].type.shape) === 1);
    for (const id of members) {
      const node = graph.nodes[id];
      if (id === this.root || node.op === 'iota') continue;
      if (node.op === 'constant' ? sizeOf(node.type.shape) === 1 : node.inputs.every(isSame)) same.add(id);
    }
    // Those that the others read.
    const wanted = new Set<ValueId>(stores.filter((id) => same.has(id)));
    for (const id of members) {
      if (id === this.root || same.has(id)) continue;
      for (const input of graph.nodes[id].inputs) if (isSame(input)) wanted.add(input);
    }
    const emitter = this.emitterOf(undefined);
    for (const id of wanted) {
      const at = graph.nodes[id].type.shape.map(() => ({ index: index(0), lanes: 0 }));
      const value = emitter.value(id, at);
      this.uniform.set(id, value.kind === 'literal' || value.kind === 'read' ? value : this.builder.let(value, 'u'));
    }
    emitter.forget();
  }

  /** Where in the leading axes the next elements are. */
  enter(batch: readonly Index[]): void {
    this.batch = batch;
  }

  /** Stores what becomes of the element (row, column), or of the elements (row, column + lane). */
  store(accumulated: Expr, row: Index, column: Index, span: Span): void {
    const emitter = this.emitterOf(span.count);
    if (!this.used.has(emitter)) {
      this.used.add(emitter);
      for (const [id, value] of this.uniform) emitter.define(id, value);
    }
    emitter.define(this.root, accumulated);
    const lanes = span.width === 'vector' ? 1 : 0;
    const rowAt: Coordinate = { index: row, lanes: 0 };
    const columnAt: Coordinate = { index: column, lanes };
    const at: Coordinate[] = [
      ...this.batch.map((each) => ({ index: each, lanes: 0 })),
      ...(this.swapped ? [columnAt, rowAt] : [rowAt, columnAt]),
    ];
    // All values first: a store may lie where an operand of another store lies.
    const values = this.fragment.stores.map((id) => {
      const value = emitter.value(id, at);
      return value.kind === 'read' || value.kind === 'literal' ? value : this.builder.let(value);
    });
    this.fragment.stores.forEach((id, i) => {
      const { strides, memory } = layoutOf(this.fragment, id);
      const where = addIndex(...at.map(({ index: position }, axis) => scaleIndex(position, strides[axis])));
      const buffer = this.stores.get(id)!;
      if (span.width === 'scalar') this.builder.storeScalar(buffer, memory, where, values[i]);
      else {
        const stride = strides[this.swapped ? strides.length - 2 : strides.length - 1];
        this.builder.storeVector(buffer, memory, where, values[i], { stride, count: span.count });
      }
    });
  }

  /** After the last `store` of a body: what it has computed is not visible behind it. */
  leave(): void {
    for (const emitter of this.used) emitter.forget();
    this.used.clear();
  }
}
