/** Lane-major programs: a problem whose particles lie in lanes, with its state in variables for all steps of a call. */
import { sizeOf, type Graph, type Node, type ValueId, type ValueType } from '../../../../graph/ir';
import { sumsSize, type TracedProblem } from '../../../../graph/program';
import { rowMajorStrides } from '../../../../graph/interpreter/indexing';
import { STREAMS, type Stream } from '../../../../random';
import { index as indexOf } from '../../nest/builder';
import type { BufferParameter, Expr, Index, Kernel, MemoryType, RegisterType, Statement, Target } from '../../nest/ir';
import { Names } from '../../nest/names';
import type { LaneMajorProgram, ProgramTable } from '../../plan/program';
import { operationsOfGraph } from './cost';
import { Dag, type Ref, type ScopeId } from './dag';
import { Evaluator, isFixed, registerType, type LaneGraph } from './evaluate';
import type { Source } from './home';

export interface LaneMajorOptions {
  /** Vectors in flight; chosen by the rule of `vectorsInFlight` if not given. */
  readonly vectors?: number;
}

/** Values up to this size are written out, and products of up to so many terms. */
const UNROLL = 64;
const UNROLL_PRODUCT = 1024;

/** float32 sums of a call lose at most half an ulp of the sum a step: 2⁻²⁴·128 of Σ|loss|, 8·10⁻⁶, at worst. */
const MAX_STEPS = 128;

/** Largest of the code, in operations of all vectors in flight. */
const MOST_CODE = 8192;

/**
 * As many vectors (1 to 4) as give about 40 numbers to work on, what hides the latencies, within twice the registers: the
 * rest is spilled, which costs less than waiting. Measured: Lorenz (10 numbers) is fastest with 4 vectors of 32 registers
 * and 3 of 16, influence balancing (26) with one.
 */
export function vectorsInFlight(carried: number, operations: number, registers: number): number {
  const byRegisters = Math.floor(Math.min(40, 2 * registers) / Math.max(1, carried));
  const byCode = Math.floor(MOST_CODE / Math.max(1, operations));
  return Math.max(1, Math.min(4, byRegisters, byCode));
}

/** @throws nothing for a verified traced problem; a problem of any size is lowered, though only small ones run well. */
export function lowerLaneMajor(
  traced: TracedProblem,
  target: Target,
  options: LaneMajorOptions = {},
): LaneMajorProgram {
  const state = traced.state.reduce((sum, { type }) => sum + sizeOf(type.shape), 0);
  const carried = state + traced.theta.size + 1 + sizeOfResults(traced);
  const vectors = options.vectors ?? vectorsInFlight(carried, operationsOfGraph(traced.step), target.registers);
  return new LaneMajorLowering(traced, target, vectors).lower();
}

/** Numbers that a window sums: the loss, the metrics, the sums. */
function sizeOfResults(traced: TracedProblem): number {
  return 1 + traced.metrics.length + sumsSize(traced);
}

interface LeafPlace {
  readonly type: ValueType;
  readonly offset: number;
  readonly size: number;
  readonly memory: MemoryType;
}

class LaneMajorLowering {
  private readonly graphs: readonly Graph[];
  private readonly leaves: readonly LeafPlace[];
  private readonly elements: number;
  private readonly streams: readonly Stream[];
  private readonly tables: ProgramTable[] = [];

  constructor(
    private readonly traced: TracedProblem,
    private readonly target: Target,
    private readonly vectors: number,
  ) {
    this.graphs = [traced.init, traced.step, ...(traced.finish === undefined ? [] : [traced.finish])];
    let elements = 0;
    this.leaves = traced.state.map(({ type }) => {
      const size = sizeOf(type.shape);
      const place: LeafPlace = { type, offset: elements, size, memory: type.dtype === 'float32' ? 'f32' : 'i32' };
      elements += size;
      return place;
    });
    this.elements = elements;
    const used = new Set(
      this.graphs.flatMap(({ nodes }) =>
        nodes.flatMap((node) => (node.op === 'random' ? [node.attributes.stream] : [])),
      ),
    );
    this.streams = (Object.keys(STREAMS) as Stream[]).filter((stream) => used.has(stream));
    for (const { nodes } of this.graphs) for (const node of nodes) this.tableOf(node);
  }

  lower(): LaneMajorProgram {
    const { traced, target, vectors } = this;
    return {
      mode: 'lane-major',
      target,
      vectors,
      thetaSize: traced.theta.size,
      state: {
        leaves: this.leaves.map(({ offset, size, memory }) => ({ offset, size, memory })),
        elements: this.elements,
      },
      streams: this.streams,
      tables: this.tables,
      init: this.initKernel(),
      step: this.stepKernel(),
      ...(traced.finish === undefined ? {} : { finish: this.finishKernel(traced.finish) }),
      maxSteps: MAX_STEPS,
    };
  }

  private initKernel(): Kernel {
    const { dag, evaluator } = this.begin(this.traced.init, []);
    const values = this.traced.init.outputs.map((id) => evaluator.elements(id));
    values.forEach((elements, leaf) => elements.forEach((ref, e) => this.storeState(dag, leaf, e, ref)));
    return this.kernel('init', [...evaluator.tiles.locals, ...dag.finish()]);
  }

  private finishKernel(graph: Graph): Kernel {
    const { dag, evaluator } = this.begin(graph, this.stateInMemory());
    graph.outputs.forEach((id, row) => this.storeResult(dag, row, evaluator.value(id, [])));
    return this.kernel('finish', [...evaluator.tiles.locals, ...dag.finish()]);
  }

  private stepKernel(): Kernel {
    const { traced, vectors } = this;
    const { step } = traced;
    const names = new Names();
    const dag = this.dag(names);
    const copies = (prefix: string): readonly string[] => Array.from({ length: vectors }, () => names.fresh(prefix));
    const carried = this.leaves.map(({ size }) => Array.from({ length: size }, () => copies('s')));
    const first = this.leaves.map(({ memory, offset }, i) =>
      carried[i].map((_, e) => {
        const index = indexOf((offset + e) * dag.span);
        return dag.load({ buffer: stateBuffer(memory), memory, index, width: 'vector' });
      }),
    );
    const results = step.outputs.slice(this.leaves.length);
    const sums = results.flatMap((id) =>
      Array.from({ length: sizeOf(step.nodes[id].type.shape) }, () => copies('sum')),
    );
    // The last loss; if it is a product its factors, so that the product itself is part of the sum.
    const last = [copies('last'), copies('last')];
    const zero: Expr = { kind: 'literal', type: 'f32', value: 0 };
    let locals: readonly Statement[] = [];

    dag.loop(
      'steps',
      1,
      (k) => {
        const scope = dag.current;
        const now = carried.map((elements, i) => {
          const type = this.leaves[i].memory === 'f32' ? 'f32' : 'i32';
          return elements.map((held) => carriedRead(dag, held, type, scope));
        });
        const sources = this.leaves.map((leaf, i): Source => ({
          kind: 'computed',
          varying: true,
          running: false,
          at: (coordinates) => {
            const e = position(leaf.type.shape, coordinates);
            return dag.convert(registerType(leaf.type.dtype), now[i][e]);
          },
        }));
        const evaluator = this.evaluator(dag, step, sources, k);
        const next = this.leaves.map((_, i) => evaluator.elements(step.outputs[i]));
        const values = results.flatMap((id) => evaluator.elements(id));
        const totals = values.map((value, i) => dag.binary('add', carriedRead(dag, sums[i], 'f32', scope), value));
        next.forEach((elements, i) => elements.forEach((ref, e) => this.set(dag, carried[i][e], ref)));
        totals.forEach((total, i) => this.set(dag, sums[i], total));
        const factors = dag.factors(values[0]) ?? [values[0], dag.literal('f32', 1)];
        factors.forEach((factor, i) => this.set(dag, last[i], factor));
        locals = evaluator.tiles.locals;
      },
      {
        attached: true,
        args: first.flat(),
        before: (read) => [
          ...first.flatMap((elements, i) =>
            elements.flatMap((ref, e) =>
              carried[i][e].map((name, u) => ({ kind: 'var' as const, name, value: read(ref, u) })),
            ),
          ),
          ...[...sums, ...last]
            .flat()
            .map((name) => ({ kind: 'var' as const, name, value: zero, width: 'vector' as const })),
        ],
      },
    );
    this.leaves.forEach((leaf, i) =>
      carried[i].forEach((name, e) => {
        const type = leaf.memory === 'f32' ? 'f32' : 'i32';
        this.writeBack(dag, stateBuffer(leaf.memory), leaf.offset + e, name, type);
      }),
    );
    sums.forEach((name, row) => this.writeBack(dag, 'results', row, name, 'f32'));
    const lastLoss = dag.binary('mul', carriedRead(dag, last[0], 'f32', 0), carriedRead(dag, last[1], 'f32', 0));
    this.storeResult(dag, sums.length, lastLoss);
    return this.kernel('step', [...locals, ...dag.finish()], true);
  }

  private set(dag: Dag, names: readonly string[], ref: Ref): void {
    const value = dag.typeOf(ref) === 'mask' ? dag.convert('i32', ref) : ref;
    dag.effect([value], (read) => names.map((name, u) => ({ kind: 'set', name, value: read(value, u) })));
  }

  private writeBack(dag: Dag, buffer: string, row: number, names: readonly string[], type: 'f32' | 'i32'): void {
    dag.effect([], () =>
      names.map((name, u) => this.rowStore(buffer, type, row, u, { kind: 'read', name, type, width: 'vector' })),
    );
  }

  private storeState(dag: Dag, leaf: number, e: number, ref: Ref): void {
    const { offset, memory } = this.leaves[leaf];
    const value = dag.typeOf(ref) === 'mask' ? dag.convert('i32', ref) : ref;
    const [buffer, type] = memory === 'f32' ? (['state', 'f32'] as const) : (['stateInts', 'i32'] as const);
    dag.effect([value], (read) =>
      Array.from({ length: this.vectors }, (_, u) => this.rowStore(buffer, type, offset + e, u, read(value, u))),
    );
  }

  private storeResult(dag: Dag, row: number, ref: Ref): void {
    dag.effect([ref], (read) =>
      Array.from({ length: this.vectors }, (_, u) => this.rowStore('results', 'f32', row, u, read(ref, u))),
    );
  }

  private rowStore(buffer: string, memory: 'f32' | 'i32', row: number, u: number, value: Expr): Statement {
    const { lanes } = this.target;
    return { kind: 'store', buffer, memory, index: indexOf((row * this.vectors + u) * lanes), value, width: 'vector' };
  }

  private dag(names = new Names()): Dag {
    return new Dag({ names, lanes: this.target.lanes, vectors: this.vectors });
  }

  private begin(graph: Graph, state: readonly Source[]): { readonly dag: Dag; readonly evaluator: Evaluator } {
    const dag = this.dag();
    return { dag, evaluator: this.evaluator(dag, graph, state, indexOf(0)) };
  }

  /** Inputs are θ, the state (unless `state` is empty: init has none) and t; `k` steps of the call have been done. */
  private evaluator(dag: Dag, graph: Graph, state: readonly Source[], k: Index): Evaluator {
    const t = (): Ref => {
      const start = dag.load({ buffer: 't', memory: 'i32', index: indexOf(0), width: 'vector' });
      return dag.binary('add', start, dag.position(k));
    };
    const theta = this.traced.theta.leaves.map(({ shape, offset }) => inLanes('theta', 'f32', offset, shape));
    const all: Source[] = [...theta, ...state, { kind: 'computed', varying: true, running: true, at: t }];
    const tables = new Map<ValueId, string>();
    graph.nodes.forEach((node, id) => {
      const table = this.tableOf(node);
      if (table !== undefined) tables.set(id, tableName(table));
    });
    const word = (stream: Stream, which: number): Ref => {
      const row = 2 * this.streams.indexOf(stream) + which;
      return dag.convert(
        'u32',
        dag.load({ buffer: 'keys', memory: 'i32', index: indexOf(row * dag.span), width: 'vector' }),
      );
    };
    const lane: LaneGraph = {
      graph,
      sources: new Map(graph.inputs.map((id, i): [ValueId, Source] => [id, all[i]])),
      tables,
      keys: { stream: (stream) => [word(stream, 0), word(stream, 1)], t },
    };
    return new Evaluator(dag, lane, {
      unroll: UNROLL,
      unrollProduct: UNROLL_PRODUCT,
      registers: this.target.registers,
    });
  }

  private stateInMemory(): readonly Source[] {
    return this.leaves.map(({ memory, offset, type }) => inLanes(stateBuffer(memory), memory, offset, type.shape));
  }

  /** Number of the table that a node lies in: tables, and constants that are long. Adds it when it is first asked for. */
  private tableOf(node: Node): number | undefined {
    if (node.op !== 'table' && (node.op !== 'constant' || node.attributes.data.length <= UNROLL)) return undefined;
    const found = this.tables.findIndex((known) =>
      known.kind === 'table'
        ? node.op === 'table' && known.table === node.attributes.table
        : node.op === 'constant' && known.data === node.attributes.data,
    );
    if (found >= 0) return found;
    this.tables.push(
      node.op === 'table'
        ? { kind: 'table', table: node.attributes.table }
        : { kind: 'constant', data: node.attributes.data },
    );
    return this.tables.length - 1;
  }

  private kernel(name: string, body: readonly Statement[], steps = false): Kernel {
    const buffer = (of: string, memory: MemoryType, written: boolean): BufferParameter => ({
      name: of,
      memory,
      written,
    });
    return {
      name,
      buffers: [
        buffer('theta', 'f32', false),
        buffer('state', 'f32', name !== 'finish'),
        buffer('stateInts', 'i32', name !== 'finish'),
        buffer('results', 'f32', name !== 'init'),
        buffer('t', 'i32', false),
        buffer('keys', 'i32', false),
        ...this.tables.map((table, i) => buffer(tableName(i), memoryOfTable(table), false)),
      ],
      scalars: steps ? [{ name: 'steps', type: 'i32' }] : [],
      body,
    };
  }
}

/** A variable as it is now, under a name of its own: the variable is set before the step ends. */
function carriedRead(dag: Dag, names: readonly string[], type: RegisterType, scope: ScopeId): Ref {
  return dag.variable((u) => names[u], type, 'vector', scope, []);
}

function tableName(table: number): string {
  return `table${String(table)}`;
}

function memoryOfTable(table: ProgramTable): MemoryType {
  const values = table.kind === 'table' ? table.table.values : table.data;
  return values instanceof Float32Array ? 'f32' : values instanceof Int32Array ? 'i32' : 'u8';
}

function stateBuffer(memory: MemoryType): string {
  return memory === 'f32' ? 'state' : 'stateInts';
}

function inLanes(buffer: string, memory: MemoryType, offset: number, shape: readonly number[]): Source {
  const strides = rowMajorStrides(shape);
  return { kind: 'memory', home: { buffer, memory, varying: true, offset: indexOf(offset), strides, after: [] } };
}

function position(shape: readonly number[], at: readonly Index[]): number {
  const strides = rowMajorStrides(shape);
  if (!isFixed(at)) throw new Error('a variable at running coordinates; this is a defect of the lane code.');
  return at.reduce((sum, { offset }, axis) => sum + offset * strides[axis], 0);
}
