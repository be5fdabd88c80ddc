/**
 * Rows fragments: the rows of a batch, or the parameters of a tensor, lie in lanes, and a tile of rows runs from its first
 * op to its last through registers and the first-level cache. What all rows share is computed once.
 */
import { sizeOf, type ValueId } from '../../../../graph/ir';
import { addIndex, index as indexOf, scaleIndex, shiftIndex } from '../../nest/builder';
import type { BufferParameter, Expr, Index, Kernel, Statement, Target } from '../../nest/ir';
import { Names } from '../../nest/names';
import type { Layout } from '../../plan/program';
import type { BufferUse, Fragment, Lowered } from '../fragment';
import { Contraction, zeroed } from './contraction';
import { operationsOf, operationsOfGraph } from './cost';
import { Dag, type Ref } from './dag';
import { allCoordinates, Evaluator, flat, isElementwise, registerType } from './evaluate';
import type { Source } from './home';
import { isContraction, isRowSum, sliceRows, type RowGraph } from './slice';

/** Values up to this size are written out, and products of up to so many terms. */
const UNROLL = 16;
const UNROLL_PRODUCT = 128;

/** Sums over rows of up to so many numbers are kept in registers. */
const SUMS_IN_REGISTERS = 16;

export interface RowsOptions {
  /** Vectors in flight; chosen from the size of a row's code if not given. */
  readonly vectors?: number;
}

/** @throws Error for a fragment whose members are not independent along the rows. */
export function lowerRows(fragment: Fragment, target: Target, options: RowsOptions = {}): Lowered {
  return new RowsLowering(fragment, target, options).lower();
}

/** A sum over the rows: where its parts lie until they are summed across lanes. */
interface RowSum {
  readonly store: number;
  readonly type: 'f32' | 'i32';
  readonly shape: readonly number[];
  readonly names?: readonly string[];
  readonly buffer?: string;
}

class RowsLowering {
  private readonly names = new Names();
  private readonly rows: number;
  private readonly row: RowGraph;
  private readonly buffers: BufferUse[] = [];
  private readonly parameters: BufferParameter[] = [];
  private readonly operandBuffers = new Map<ValueId, string>();
  private readonly storeBuffers: readonly string[];
  private readonly sums: readonly RowSum[];
  private readonly contractions = new Map<number, Contraction>();
  /** Where an operand of each of them is transposed, one after the other. */
  private transposed?: string;
  private readonly top: Statement[] = [];

  constructor(
    private readonly fragment: Fragment,
    private readonly target: Target,
    private readonly options: RowsOptions,
  ) {
    const { graph, stores, layouts } = fragment;
    if (fragment.rows === undefined) throw new Error('a rows fragment without rows; this is a defect of the planner.');
    this.rows = fragment.rows;
    this.row = sliceRows(graph, new Set(fragment.members), stores, this.rows);
    for (const { kind, value } of this.row.inputs) {
      if (kind === 'operand' && !this.operandBuffers.has(value)) {
        const name = `in${String(this.operandBuffers.size)}`;
        this.operandBuffers.set(value, name);
        this.buffers.push({ kind: 'operand', value });
        this.parameters.push({ name, memory: this.layout(value).memory, written: false });
      }
    }
    this.storeBuffers = stores.map((value, i) => {
      const name = `out${String(i)}`;
      this.buffers.push({ kind: 'store', value });
      this.parameters.push({ name, memory: layouts.get(value)!.memory, written: true });
      return name;
    });
    this.sums = stores.flatMap((id, store) => (isRowSum(graph.nodes[id]) ? [this.openSum(store)] : []));
    stores.forEach((id, store) => {
      const node = graph.nodes[id];
      if (!isContraction(node)) return;
      const { shape } = node.type;
      const each = new Contraction(this.names, target, shape, layouts.get(id)!, this.storeBuffers[store]);
      this.contractions.set(store, each);
      this.top.push(...each.open());
    });
  }

  lower(): Lowered {
    const { lanes } = this.target;
    const vectors = Math.min(this.vectors(), Math.ceil(this.rows / lanes));
    const span = vectors * lanes;
    const whole = Math.floor(this.rows / span) * span;
    const rest = this.rows - whole;
    this.openTransposed(span);
    const body: Statement[] = [];
    if (whole > 0) body.push(...this.tiles(vectors, whole, indexOf(0), span));
    if (rest > 0) body.push(...this.tiles(Math.ceil(rest / lanes), rest, indexOf(whole), rest));
    const kernel: Kernel = {
      name: 'rows',
      buffers: this.parameters,
      scalars: [],
      body: [...this.top, ...body, ...this.closeSums(), ...[...this.contractions.values()].flatMap((c) => c.close())],
    };
    return { kernel, buffers: this.buffers };
  }

  private openTransposed(span: number): void {
    if (this.contractions.size === 0) return;
    this.transposed = this.names.fresh('transposed');
    const length = Math.max(...[...this.contractions.values()].map((each) => each.transposedLength(span)));
    const ragged = [...this.contractions.values()].some((each) => each.ragged);
    if (ragged) this.top.push(...zeroed(this.names, this.transposed, length, this.target.lanes));
    else this.top.push({ kind: 'local', buffer: this.transposed, memory: 'f32', length });
  }

  /** As many vectors as registers for a tile of a product; else by the length of a row's code. */
  private vectors(): number {
    if (this.options.vectors !== undefined) return this.options.vectors;
    const { graph } = this.row;
    if (graph.nodes.some((node) => node.op === 'matmul' && operationsOf(graph, node) > UNROLL_PRODUCT)) {
      // Register tiles of 8 outputs × 3 vectors, or 6 × 2: fewer loads a product than with any other number of vectors.
      return this.target.registers === 32 ? 3 : 2;
    }
    const operations = operationsOfGraph(graph);
    // A softmax of 10 classes (130 operations) has work enough of its own: one vector is 10 % faster than two.
    return operations <= 24 ? 4 : operations <= 64 ? 2 : 1;
  }

  private layout(id: ValueId): Layout {
    const layout = this.fragment.layouts.get(id);
    if (layout === undefined) throw new Error(`no layout of %${String(id)}; this is a defect of the planner.`);
    return layout;
  }

  /** Tiles of `vectors` vectors over `count` rows from `first`; the last vector may be partial if there is one tile. */
  private tiles(vectors: number, count: number, first: Index, span: number): readonly Statement[] {
    const { lanes } = this.target;
    const present = (u: number): number | undefined => {
      const left = span - u * lanes;
      return left < lanes ? left : undefined;
    };
    const dag = new Dag({ names: this.names, lanes, vectors, count: present });
    let locals: readonly Statement[] = [];
    dag.loop(
      count,
      span,
      (variable) => {
        const evaluator = this.evaluator(dag, addIndex(first, variable));
        this.tile(evaluator, addIndex(first, variable), span);
        locals = evaluator.tiles.locals;
      },
      { attached: true },
    );
    return [...locals, ...dag.finish()];
  }

  private evaluator(dag: Dag, first: Index): Evaluator {
    const { graph, inputs } = this.row;
    const sources = new Map(graph.inputs.map((id, i): [ValueId, Source] => [id, this.source(dag, inputs[i], first)]));
    return new Evaluator(
      dag,
      { graph, sources, tables: new Map() },
      { unroll: UNROLL, unrollProduct: UNROLL_PRODUCT, registers: this.target.registers },
    );
  }

  private source(dag: Dag, { kind, value, role }: RowGraph['inputs'][number], first: Index): Source {
    if (kind === 'row') {
      const at = (): Ref => dag.binary('add', dag.lane(), dag.position(first));
      return { kind: 'computed', varying: true, running: true, at };
    }
    const { memory, strides, shape } = this.layout(value);
    const buffer = this.operandBuffers.get(value)!;
    const zero = indexOf(0);
    const type = registerType(this.fragment.graph.nodes[value].type.dtype);
    const stride = shape[0] === 1 ? 0 : strides[0];
    if (role === 'uniform') {
      return { kind: 'memory', home: { buffer, memory, varying: false, offset: zero, strides, after: [] } };
    }
    if (stride === 0) {
      const home = { buffer, memory, varying: false, offset: zero, strides: strides.slice(1), after: [] };
      return { kind: 'memory', home };
    }
    const at = (coordinates: readonly Index[]): Ref => {
      const index = place(strides, first, coordinates);
      const perVector = stride * this.target.lanes;
      return dag.convert(type, dag.load({ buffer, memory, index, width: 'vector', stride, perVector }));
    };
    return { kind: 'computed', varying: true, running: true, at };
  }

  /**
   * One tile of `rows` rows: everything small, the sums, then the stores. A store may lie where an operand lies, so that all is read
   * before the first is written; of several large values all but the last are kept in tiles until then.
   */
  private tile(evaluator: Evaluator, first: Index, rows: number): void {
    const small: { readonly store: number; readonly values: readonly Ref[] }[] = [];
    const large: number[] = [];
    const ids = this.row.stores.map(([id]) => id);
    this.row.stores.forEach(([id, right], store) => {
      const sum = this.sums.find((each) => each.store === store);
      const contraction = this.contractions.get(store);
      if (contraction !== undefined) contraction.add(evaluator, { left: id, right }, rows, this.transposed!);
      else if (sum !== undefined) this.addUp(evaluator, sum, id);
      else if (evaluator.size(id) <= UNROLL) small.push({ store, values: evaluator.elements(id) });
      else large.push(store);
    });
    const direct = [...large].reverse().find((store) => this.isDirect(evaluator, ids[store]));
    for (const store of large) if (store !== direct) evaluator.tiles.home(ids[store]);
    const { tiles } = evaluator;
    for (const store of direct === undefined ? large : [direct, ...large.filter((other) => other !== direct)]) {
      const id = ids[store];
      const element = (at: readonly Index[]): Ref =>
        store === direct ? evaluator.compute(id, at) : evaluator.value(id, at);
      evaluator.within(() =>
        tiles.over(evaluator.shape(id), (at) => this.store(evaluator.dag, store, first, at, element(at))),
      );
    }
    for (const { store, values } of small) {
      const shape = evaluator.shape(ids[store]);
      allCoordinates(shape).forEach((at, e) => this.store(evaluator.dag, store, first, at, values[e]));
    }
  }

  /** A large elementwise output that nothing else reads is computed where it is stored. */
  private isDirect(evaluator: Evaluator, id: ValueId): boolean {
    return isElementwise(evaluator.node(id).op) && evaluator.uses[id] === 1 && !evaluator.isEpilogue(id);
  }

  private store(dag: Dag, store: number, first: Index, at: readonly Index[], value: Ref): void {
    const { memory, strides } = this.layout(this.fragment.stores[store]);
    const buffer = this.storeBuffers[store];
    const { lanes } = this.target;
    const index = place(strides, first, at);
    const number = dag.typeOf(value) === 'mask' && memory !== 'u8' ? dag.convert('i32', value) : value;
    dag.effect([number], (read) =>
      Array.from({ length: dag.vectors }, (_, u) => {
        const count = dag.count(u);
        return {
          kind: 'store' as const,
          buffer,
          memory,
          index: shiftIndex(index, u * lanes * strides[0]),
          value: read(number, u),
          width: 'vector' as const,
          ...(strides[0] !== 1 && { stride: strides[0] }),
          ...(count !== undefined && { count }),
        };
      }),
    );
  }

  private openSum(store: number): RowSum {
    const { graph, stores } = this.fragment;
    const { shape, dtype } = graph.nodes[stores[store]].type;
    const type = dtype === 'int32' ? 'i32' : 'f32';
    const zero: Expr = { kind: 'literal', type, value: 0 };
    const size = sizeOf(shape);
    if (size <= SUMS_IN_REGISTERS) {
      const names = Array.from({ length: size }, () => this.names.fresh('sum'));
      this.top.push(...names.map((name): Statement => ({ kind: 'var', name, value: zero, width: 'vector' })));
      return { store, type, shape, names };
    }
    const buffer = this.names.fresh('sums');
    const { lanes } = this.target;
    const variable = this.names.fresh('i');
    this.top.push(
      { kind: 'local', buffer, memory: type, length: size * lanes },
      {
        kind: 'loop',
        variable,
        extent: size,
        step: 1,
        body: [{ kind: 'store', buffer, memory: type, index: laneRow(variable, lanes), value: zero, width: 'vector' }],
      },
    );
    return { store, type, shape, buffer };
  }

  /** Adds what the tile's rows come to; lanes without a row add nothing. */
  private addUp(evaluator: Evaluator, sum: RowSum, id: ValueId): void {
    const { dag } = evaluator;
    const { lanes } = this.target;
    const total = (read: (u: number) => Expr): Expr =>
      pairwise(
        Array.from({ length: dag.vectors }, (_, u) => {
          const count = dag.count(u);
          const value = read(u);
          if (count === undefined) return value;
          const present: Expr = {
            kind: 'binary',
            op: 'lt',
            a: { kind: 'ramp' },
            b: { kind: 'literal', type: 'i32', value: count },
          };
          const zero: Expr = { kind: 'literal', type: sum.type, value: 0 };
          return { kind: 'select', condition: present, a: value, b: zero };
        }),
      );
    const { names, buffer, type } = sum;
    if (names !== undefined) {
      const values = evaluator.elements(id);
      dag.effect(values, (read) =>
        names.map((name, e) => {
          const old: Expr = { kind: 'read', name, type, width: 'vector' };
          const value: Expr = { kind: 'binary', op: 'add', a: old, b: total((u) => read(values[e], u)) };
          return { kind: 'set', name, value };
        }),
      );
      return;
    }
    const shape = evaluator.shape(id);
    evaluator.within(() =>
      evaluator.tiles.over(shape, (at) => {
        const value = evaluator.value(id, at);
        const index = scaleIndex(flat(shape, at), lanes);
        const old: Expr = { kind: 'load', buffer: buffer!, memory: type, index, width: 'vector' };
        dag.effect([value], (read) => [
          {
            kind: 'store',
            buffer: buffer!,
            memory: type,
            index,
            value: { kind: 'binary', op: 'add', a: old, b: total((u) => read(value, u)) },
            width: 'vector',
          },
        ]);
      }),
    );
  }

  private closeSums(): readonly Statement[] {
    return this.sums.flatMap(({ store, type, shape, names, buffer }) => {
      const { memory, strides } = this.layout(this.fragment.stores[store]);
      const write = (index: Index, of: Expr): Statement => ({
        kind: 'store',
        buffer: this.storeBuffers[store],
        memory,
        index,
        value: { kind: 'across', op: 'sum', a: of },
        width: 'scalar',
      });
      if (names !== undefined) {
        return allCoordinates(shape).map((at, e) =>
          write(place(strides, ...split(at)), { kind: 'read', name: names[e], type, width: 'vector' }),
        );
      }
      return sumLoops(this.names, shape, (at) => {
        const index = scaleIndex(flat(shape, at), this.target.lanes);
        const of: Expr = { kind: 'load', buffer: buffer!, memory: type, index, width: 'vector' };
        return write(place(strides, ...split(at)), of);
      });
    });
  }
}

/** Loops over all coordinates around one statement. */
function sumLoops(
  names: Names,
  shape: readonly number[],
  write: (at: readonly Index[]) => Statement,
  at: readonly Index[] = [],
): readonly Statement[] {
  if (at.length === shape.length) return [write(at)];
  const extent = shape[at.length];
  if (extent === 1) return sumLoops(names, shape, write, [...at, indexOf(0)]);
  const variable = names.fresh('i');
  const body = sumLoops(names, shape, write, [...at, { offset: 0, terms: [{ variable, factor: 1 }] }]);
  return [{ kind: 'loop', variable, extent, step: 1, body }];
}

function laneRow(variable: string, lanes: number): Index {
  return { offset: 0, terms: [{ variable, factor: lanes }] };
}

/** Offset of element (first, …rest) under strides. */
function place(strides: readonly number[], first: Index | undefined, rest: readonly Index[]): Index {
  if (first === undefined) return indexOf(0);
  return addIndex(scaleIndex(first, strides[0]), ...rest.map((c, axis) => scaleIndex(c, strides[axis + 1])));
}

function split(at: readonly Index[]): [Index | undefined, readonly Index[]] {
  return [at.length > 0 ? at[0] : undefined, at.slice(1)];
}

function pairwise(values: readonly Expr[]): Expr {
  if (values.length === 1) return values[0];
  const half = Math.ceil(values.length / 2);
  return { kind: 'binary', op: 'add', a: pairwise(values.slice(0, half)), b: pairwise(values.slice(half)) };
}
