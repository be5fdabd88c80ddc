/** A graph lowered for n particles, its liveness, and its run. */
import { EngineError, OuterloopError } from '../../contracts';
import type { Graph, Shape, ValueId } from '../../graph/ir';
import type { Drawer } from '../shared/draws';
import { deviceType, tableData, type DataId, type Device, type DeviceType } from './device';
import { findTableGathers, type TableGathers } from './fusion';
import { Lowering, STAGES, type Frame, type Instruction, type Stage, type Value } from './lowering';
import { lowerNode } from './rules';
import { gatherTable } from './rules/indexing';

/** What is the same for every number of particles. */
export class GraphAnalysis {
  /** Nodes that follow from constants, tables and iota alone. */
  readonly shared: readonly boolean[];
  readonly gathers: TableGathers;
  /** Shared nodes that others or the outputs need. */
  readonly roots: readonly ValueId[];

  constructor(
    readonly device: Device,
    readonly graph: Graph,
  ) {
    const shared: boolean[] = [];
    graph.nodes.forEach((node, id) => {
      shared[id] = node.op !== 'input' && node.op !== 'random' && node.inputs.every((input) => shared[input]);
    });
    this.shared = shared;
    this.gathers = device.memory === undefined ? { at: new Map(), absorbed: new Set() } : findTableGathers(graph);
    const roots = new Set<ValueId>(graph.outputs.filter((id) => shared[id]));
    graph.nodes.forEach((_, id) => {
      if (shared[id] || this.gathers.absorbed.has(id)) return;
      for (const input of this.operands(id)) if (shared[input]) roots.add(input);
    });
    this.roots = [...roots].sort((a, b) => a - b);
  }

  /** What a node reads: its inputs, or the indices if it stands for a whole gather from a table. */
  operands(id: ValueId): readonly ValueId[] {
    const gather = this.gathers.at.get(id);
    return gather === undefined ? this.graph.nodes[id].inputs : [gather.indices];
  }

  lower(l: Lowering, id: ValueId, values: readonly (Value | undefined)[]): Value {
    const node = this.graph.nodes[id];
    const inputs = this.operands(id).map((input) => values[input]!);
    const gather = this.gathers.at.get(id);
    return gather === undefined
      ? lowerNode(l, node, inputs)
      : gatherTable(l, node, gather.table, inputs[0], this.graph.nodes[gather.indices].type.shape, gather.decode);
  }
}

/** Instructions of one stage, each with the buffers that nothing reads after it. */
interface Scheduled {
  readonly instruction: Instruction;
  readonly frees: readonly number[];
}

function schedule(l: Lowering, stage: Stage, keep: ReadonlySet<number>): Scheduled[] {
  const mine = l.instructions.filter((instruction) => instruction.stage === stage);
  const lastUse = new Map<number, number>();
  mine.forEach(({ inputs, output }, i) => {
    for (const buffer of [...inputs, output]) lastUse.set(buffer, i);
  });
  const usedLater = new Set(
    l.instructions.filter((instruction) => instruction.stage > stage).flatMap((instruction) => instruction.inputs),
  );
  const frees = mine.map((): number[] => []);
  for (const [buffer, at] of lastUse) {
    const info = l.buffers[buffer];
    const lives = info.external || info.stage !== stage || keep.has(buffer) || usedLater.has(buffer);
    if (!lives) frees[at].push(buffer);
  }
  return mine.map((instruction, i) => ({ instruction, frees: frees[i] }));
}

function execute(device: Device, scheduled: readonly Scheduled[], frame: Frame): void {
  const { data } = frame;
  for (const { instruction, frees } of scheduled) {
    try {
      data[instruction.output] = instruction.run(frame);
    } catch (error) {
      if (error instanceof OuterloopError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new EngineError(`backend "${device.backendName}" failed in ${instruction.label}: ${reason}`, {
        cause: error,
      });
    }
    for (const buffer of frees) {
      device.backend.disposeData(data[buffer]!);
      data[buffer] = undefined;
    }
  }
}

function upload(device: Device, l: Lowering, data: (DataId | undefined)[]): void {
  for (const [buffer, { data: values, shape, dtype }] of l.constants) {
    data[buffer] = ArrayBuffer.isView(values)
      ? // A copy: the cpu backend would keep, and hand out, the graph's own array.
        device.backend.write(values.slice(), [...shape], dtype)
      : tableData(device, values, shape);
  }
}

/** Shared values that every plan of a graph uses: computed when the first of them runs, once. */
export class SharedValues {
  private readonly lowering: Lowering;
  private readonly values: readonly (Value | undefined)[];
  private data: (DataId | undefined)[] | undefined;

  constructor(readonly analysis: GraphAnalysis) {
    const { device, graph, shared, roots } = analysis;
    this.lowering = new Lowering(device, 0, graph);
    const needed = new Set<ValueId>();
    const visit = (id: ValueId): void => {
      if (needed.has(id)) return;
      needed.add(id);
      if (!analysis.gathers.absorbed.has(id)) analysis.operands(id).forEach(visit);
    };
    roots.forEach(visit);
    const values: (Value | undefined)[] = [];
    graph.nodes.forEach((_, id) => {
      if (shared[id] && needed.has(id) && !analysis.gathers.absorbed.has(id)) {
        values[id] = analysis.lower(this.lowering, id, values);
      }
    });
    this.values = values;
  }

  value(id: ValueId): Value {
    return this.values[id]!;
  }

  /** The shape that the value's array was made with. */
  made(id: ValueId): Shape {
    return this.lowering.buffers[this.value(id).buffer].made;
  }

  dataId(id: ValueId): DataId {
    this.data ??= this.compute();
    return this.data[this.value(id).buffer]!;
  }

  dispose(): void {
    for (const dataId of this.data ?? []) if (dataId !== undefined) this.analysis.device.backend.disposeData(dataId);
    this.data = undefined;
  }

  private compute(): (DataId | undefined)[] {
    const { device, roots } = this.analysis;
    const data: (DataId | undefined)[] = [];
    const keep = new Set(roots.map((id) => this.value(id).buffer));
    upload(device, this.lowering, data);
    execute(device, schedule(this.lowering, STAGES.fixed, keep), { data });
    // Constants that only intermediates read.
    for (const buffer of this.lowering.constants.keys()) {
      const dataId = data[buffer];
      if (keep.has(buffer) || dataId === undefined) continue;
      device.backend.disposeData(dataId);
      data[buffer] = undefined;
    }
    return data;
  }
}

/** Type of one output as it stands on the device, without the particle axis. */
export interface OutputType {
  readonly shape: Shape;
  readonly dtype: DeviceType;
}

/** One graph for a fixed number of particles. */
export class Plan {
  readonly outputs: readonly OutputType[];
  /** Most bytes that one window holds at once, inputs not counted. */
  readonly peakBytes: number;
  /** Those of them that it holds from its start to its end, whatever runs. */
  readonly standingBytes: number;
  private readonly lowering: Lowering;
  private readonly inputs: readonly Value[] = [];
  private readonly results: readonly Value[];
  private readonly sharedUses: readonly { readonly buffer: number; readonly id: ValueId }[];
  private readonly stages: readonly (readonly Scheduled[])[];
  private readonly stepBuffers: readonly number[];
  private readonly data: (DataId | undefined)[] = [];
  private prepared = false;
  private frame: Frame = { data: this.data };

  /** The first `windowInputs` inputs of the graph are given once a window, the rest each step. */
  constructor(
    private readonly shared: SharedValues,
    readonly particles: number,
    private readonly windowInputs: number,
  ) {
    const { device, graph, shared: isShared, gathers, roots } = shared.analysis;
    const l = new Lowering(device, particles, graph);
    this.lowering = l;
    const values: (Value | undefined)[] = [];
    const uses: { buffer: number; id: ValueId }[] = [];
    for (const id of roots) {
      const value = l.external(STAGES.fixed, shared.value(id), shared.made(id));
      values[id] = value;
      uses.push({ buffer: value.buffer, id });
    }
    this.sharedUses = uses;
    this.inputs = graph.inputs.map((id, i) => {
      const { shape, dtype } = graph.nodes[id].type;
      const stage = i < windowInputs ? STAGES.window : STAGES.step;
      return (values[id] = l.external(stage, { shape, dtype: deviceType(dtype), batched: true }));
    });
    graph.nodes.forEach((node, id) => {
      if (isShared[id] || node.op === 'input' || gathers.absorbed.has(id)) return;
      values[id] = shared.analysis.lower(l, id, values);
    });
    this.results = graph.outputs.map((id) => l.owned(values[id]!, graph.nodes[id].type.shape));
    this.outputs = this.results.map(({ shape, dtype }) => ({ shape, dtype }));
    const keep = new Set(this.results.map(({ buffer }) => buffer));
    this.stages = [STAGES.fixed, STAGES.window, STAGES.step].map((stage) => schedule(l, stage, keep));
    this.stepBuffers = [...l.buffers.keys()].filter((buffer) => l.buffers[buffer].stage === STAGES.step);
    ({ peakBytes: this.peakBytes, standingBytes: this.standingBytes } = this.measure());
  }

  /** Labels of the instructions of a step, for tests and the bench. */
  get stepLabels(): readonly string[] {
    return this.stages[STAGES.step].map(({ instruction }) => instruction.label);
  }

  /** Bytes that each run makes for outputs, by output: 0 for one that is an input, stands all window long, or came before. */
  outputBytes(): number[] {
    const { buffers } = this.lowering;
    const seen = new Set<number>();
    return this.results.map(({ buffer }) => {
      const { external, stage, bytes } = buffers[buffer];
      const fresh = !external && stage === STAGES.step && !seen.has(buffer);
      seen.add(buffer);
      return fresh ? bytes : 0;
    });
  }

  /** Starts a window; the inputs stay the caller's. */
  begin(inputs: readonly DataId[], drawer: Drawer): void {
    this.prepare();
    this.frame = { data: this.data, drawer };
    for (let i = 0; i < this.windowInputs; i++) this.data[this.inputs[i].buffer] = inputs[i];
    this.guarded(() => execute(this.lowering.device, this.stages[STAGES.window], this.frame));
  }

  /** Runs once; the inputs stay the caller's, the outputs become the caller's. */
  step(inputs: readonly DataId[]): DataId[] {
    const { backend } = this.lowering.device;
    inputs.forEach((dataId, i) => (this.data[this.inputs[this.windowInputs + i].buffer] = dataId));
    this.guarded(() => execute(this.lowering.device, this.stages[STAGES.step], this.frame));
    const given = new Set<number>();
    const outputs = this.results.map(({ buffer }) => {
      const dataId = this.data[buffer]!;
      const info = this.lowering.buffers[buffer];
      // The plan's only reference goes to the first who asks; everyone else gets one of their own.
      if (info.external || info.stage !== STAGES.step || given.has(buffer)) backend.incRef(dataId);
      given.add(buffer);
      return dataId;
    });
    for (const buffer of this.stepBuffers) this.data[buffer] = undefined;
    return outputs;
  }

  /** Frees what the window held. */
  end(): void {
    this.release(STAGES.window);
  }

  dispose(): void {
    this.release(STAGES.fixed);
    this.prepared = false;
  }

  private prepare(): void {
    if (this.prepared) return;
    for (const { buffer, id } of this.sharedUses) this.data[buffer] = this.shared.dataId(id);
    upload(this.lowering.device, this.lowering, this.data);
    execute(this.lowering.device, this.stages[STAGES.fixed], this.frame);
    this.prepared = true;
  }

  private guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.release(STAGES.step);
      this.release(STAGES.window);
      throw error;
    }
  }

  private release(stage: Stage): void {
    this.lowering.buffers.forEach((info, buffer) => {
      const dataId = this.data[buffer];
      if (info.stage !== stage || dataId === undefined) return;
      if (!info.external) this.lowering.device.backend.disposeData(dataId);
      this.data[buffer] = undefined;
    });
  }

  private measure(): { readonly peakBytes: number; readonly standingBytes: number } {
    const { buffers } = this.lowering;
    let held = 0;
    let standingBytes = 0;
    let peakBytes = 0;
    this.stages.forEach((scheduled, stage) => {
      if (stage === STAGES.step) standingBytes = held;
      for (const { instruction, frees } of scheduled) {
        held += buffers[instruction.output].bytes;
        peakBytes = Math.max(peakBytes, held);
        for (const buffer of frees) held -= buffers[buffer].bytes;
      }
    });
    return { peakBytes, standingBytes };
  }
}
