/** Runs lane-major programs and rows fragments by the nest interpreter, beside the reference interpreter. */
import { GraphBuilder } from '../../src/graph/builder';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type OpName, type ValueId } from '../../src/graph/ir';
import type { TracedProblem } from '../../src/graph/program';
import type { Fragment, Lowered } from '../../src/engines/native/lower/fragment';
import type { Kernel } from '../../src/engines/native/nest/ir';
import type { Layout, LaneMajorProgram } from '../../src/engines/native/plan/program';
import { episodeKey } from '../../src/random';
import { runNest, type NestBuffer } from './nest-interpreter';

const SEED = 7;

/** θ, state and t of one particle; its worker is its lane, its episode 3. */
export interface Particle {
  readonly theta: readonly Value[];
  readonly state: readonly Value[];
  readonly t: number;
}

export interface Advanced {
  /** One a particle: leaves. */
  readonly states: readonly (readonly number[])[][];
  /** One a particle: sums of loss and metrics, then the last loss. */
  readonly results: readonly (readonly number[])[];
}

function keyOf(lane: number): (stream: Parameters<typeof episodeKey>[1]) => readonly [number, number] {
  return (stream) => episodeKey(SEED, stream, lane, 3);
}

/** By definition: `steps` calls of the step graph in float64. */
export function advanceByDefinition(traced: TracedProblem, particles: readonly Particle[], steps: number): Advanced {
  const out = particles.map((particle, lane) => {
    let state = particle.state;
    const sums = new Array<number>(1 + traced.metrics.length).fill(0);
    let last = 0;
    for (let k = 0; k < steps; k++) {
      const t = particle.t + k;
      const context = { ...stepContext(SEED, lane, 3, t), key: keyOf(lane) };
      const outputs = interpret(traced.step, [...particle.theta, ...state, Int32Array.of(t)], context);
      state = outputs.slice(0, traced.state.length);
      outputs.slice(traced.state.length).forEach((value, i) => (sums[i] += value[0]));
      last = outputs[traced.state.length][0];
    }
    return { state: state.map((leaf) => [...leaf]), results: [...sums, last] };
  });
  return { states: out.map(({ state }) => state), results: out.map(({ results }) => results) };
}

interface Memory {
  readonly theta: Float64Array;
  readonly state: Float64Array;
  readonly stateInts: Int32Array;
  readonly results: Float64Array;
  readonly t: Int32Array;
  readonly keys: Int32Array;
}

/** The block's memory, with unwritten results NaN. */
function memoryOf(traced: TracedProblem, program: LaneMajorProgram, particles: readonly Particle[]): Memory {
  const block = particles.length;
  const memory: Memory = {
    theta: new Float64Array(program.thetaSize * block),
    state: new Float64Array(program.state.elements * block),
    stateInts: new Int32Array(program.state.elements * block),
    results: new Float64Array((2 + Math.max(traced.metrics.length, traced.finishes.length)) * block).fill(NaN),
    t: Int32Array.from(particles, ({ t }) => t),
    keys: new Int32Array(program.streams.length * 2 * block),
  };
  particles.forEach(({ theta, state }, lane) => {
    theta.forEach((leaf, i) =>
      leaf.forEach((x, e) => (memory.theta[(traced.theta.leaves[i].offset + e) * block + lane] = x)),
    );
    state.forEach((leaf, i) => {
      const { offset, memory: type } = program.state.leaves[i];
      const to = type === 'f32' ? memory.state : memory.stateInts;
      leaf.forEach((x, e) => (to[(offset + e) * block + lane] = x));
    });
    program.streams.forEach((stream, s) =>
      keyOf(lane)(stream).forEach((word, w) => (memory.keys[(2 * s + w) * block + lane] = word | 0)),
    );
  });
  return memory;
}

function run(program: LaneMajorProgram, kernel: Kernel, memory: Memory, scalars: readonly number[]): void {
  const tables = program.tables.map((table): NestBuffer => (table.kind === 'table' ? table.table.values : table.data));
  const { theta, state, stateInts, results, t, keys } = memory;
  const buffers = [theta, state, stateInts, results, t, keys, ...tables];
  runNest(kernel, buffers, scalars, { lanes: program.target.lanes, precision: 'float64' });
}

function statesOf(program: LaneMajorProgram, memory: Memory, block: number): number[][][] {
  return Array.from({ length: block }, (_, lane) =>
    program.state.leaves.map(({ offset, size, memory: type }) => {
      const from = type === 'f32' ? memory.state : memory.stateInts;
      return Array.from({ length: size }, (__, e) => from[(offset + e) * block + lane]);
    }),
  );
}

function resultsOf(memory: Memory, rows: number, block: number): number[][] {
  return Array.from({ length: block }, (_, lane) =>
    Array.from({ length: rows }, (__, row) => memory.results[row * block + lane]),
  );
}

export function advanceInLanes(
  traced: TracedProblem,
  program: LaneMajorProgram,
  particles: readonly Particle[],
  steps: number,
): Advanced {
  const memory = memoryOf(traced, program, particles);
  run(program, program.step, memory, [steps]);
  const block = particles.length;
  return { states: statesOf(program, memory, block), results: resultsOf(memory, 2 + traced.metrics.length, block) };
}

export function initInLanes(
  traced: TracedProblem,
  program: LaneMajorProgram,
  thetas: readonly (readonly Value[])[],
): number[][][] {
  const particles = thetas.map((theta) => ({ theta, state: [], t: 0 }));
  const memory = memoryOf(traced, program, particles);
  run(program, program.init, memory, []);
  return statesOf(program, memory, particles.length);
}

export function finishInLanes(
  traced: TracedProblem,
  program: LaneMajorProgram,
  particles: readonly Particle[],
): number[][] {
  const memory = memoryOf(traced, program, particles);
  run(program, program.finish!, memory, []);
  return resultsOf(memory, traced.finishes.length, particles.length);
}

/** What init and finish are by definition, one a lane. */
export function functionByDefinition(
  graph: Graph,
  feeds: readonly (readonly Value[])[],
  ts: readonly number[],
): number[][][] {
  return feeds.map((feed, lane) => {
    const context = { ...stepContext(SEED, lane, 3, ts[lane]), key: keyOf(lane) };
    return interpret(graph, feed, context).map((value) => [...value]);
  });
}

/** The graph with another set of outputs, made from its nodes; inputs come first, in the order of `inputs`. */
export function rebuilt(
  graph: Graph,
  inputs: readonly string[],
  outputs: (b: GraphBuilder, values: readonly ValueId[]) => readonly ValueId[],
): Graph {
  const b = new GraphBuilder(graph.name);
  const map = new Map<ValueId, ValueId>();
  for (const name of inputs) {
    const id = graph.inputs.find((each) => {
      const node = graph.nodes[each];
      return node.op === 'input' && node.attributes.name === name;
    })!;
    map.set(id, b.input(name, graph.nodes[id].type));
  }
  graph.nodes.forEach((node, id) => {
    if (map.has(id)) return;
    const operands = node.inputs.map((input) => map.get(input)!);
    map.set(id, b.emit<OpName>(node.op, operands, node.attributes));
  });
  return b.finish(
    outputs(
      b,
      graph.nodes.map((_, id) => map.get(id)!),
    ),
  );
}

/** Every element of some values as a float32 number of its own. */
export function elementsOf(b: GraphBuilder, ids: readonly ValueId[]): ValueId[] {
  return ids.flatMap((id) => {
    const size = sizeOf(b.shape(id));
    const all = b.reshape(b.cast(id, 'float32'), [size]);
    return Array.from({ length: size }, (_, e) =>
      b.reshape(b.emit('slice', [all], { begin: [e], size: [1], strides: [1] }), []),
    );
  });
}

// Rows fragments.

/** A layout with `gap` elements between rows that nobody may touch. */
export function paddedLayout(shape: readonly number[], memory: Layout['memory'], gap = 0): Layout {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    strides[axis] = strides[axis + 1] * shape[axis + 1] + (axis === 0 ? gap : 0);
  }
  return { shape, strides, memory };
}

function offsets({ shape, strides }: Layout): number[] {
  let all = [0];
  shape.forEach((extent, axis) => {
    all = all.flatMap((at) => Array.from({ length: extent }, (_, i) => at + i * strides[axis]));
  });
  return all;
}

/**
 * Runs a rows fragment on its operands' values; gives the elements of each store. `inPlace`: stores that lie where an
 * operand of the same layout lies.
 */
export function runRows(
  fragment: Fragment,
  { kernel, buffers }: Lowered,
  operands: ReadonlyMap<ValueId, ArrayLike<number>>,
  lanes: number,
  inPlace: ReadonlyMap<ValueId, ValueId> = new Map(),
): number[][] {
  const separate = buffers.map((use): NestBuffer => {
    if (use.kind === 'workspace') throw new Error('rows fragments take no workspace.');
    const layout = fragment.layouts.get(use.value)!;
    const places = offsets(layout);
    const length = 1 + Math.max(0, ...places);
    const memory =
      layout.memory === 'f32'
        ? new Float64Array(length).fill(NaN)
        : layout.memory === 'i32'
          ? new Int32Array(length)
          : new Uint8Array(length);
    if (use.kind === 'operand') places.forEach((at, i) => (memory[at] = operands.get(use.value)![i]));
    return memory;
  });
  const find = (kind: string, value: ValueId): number =>
    buffers.findIndex((use) => use.kind === kind && use.kind !== 'workspace' && use.value === value);
  const data = buffers.map((use, i) => {
    const shared = use.kind === 'store' ? inPlace.get(use.value) : undefined;
    return shared === undefined ? separate[i] : separate[find('operand', shared)];
  });
  runNest(kernel, data, [], { lanes, precision: 'float64' });
  return fragment.stores.map((id) => {
    const memory = data[find('store', id)];
    return offsets(fragment.layouts.get(id)!).map((place) => memory[place]);
  });
}
