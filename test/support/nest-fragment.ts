/** Fragments cut out of graphs, run in the nest interpreter on the values that the reference interpreter gives operands. */
import { compileInterpreter, type InterpreterContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type OpName, type Shape, type ValueId } from '../../src/graph/ir';
import { lowerDraw } from '../../src/engines/native/lower/draw';
import type { Fragment, Lowered } from '../../src/engines/native/lower/fragment';
import { operandsOf } from '../../src/engines/native/lower/frame';
import { lowerMap } from '../../src/engines/native/lower/map';
import { lowerReduce } from '../../src/engines/native/lower/reduce';
import { lowerScatter } from '../../src/engines/native/lower/scatter';
import type { MemoryType, Target } from '../../src/engines/native/nest/ir';
import { verifyKernel } from '../../src/engines/native/nest/verify';
import type { Layout } from '../../src/engines/native/plan/program';
import { bits } from '../../src/random';
import { runNest, type NestBuffer } from './nest-interpreter';

export const TARGETS: readonly Target[] = [
  { lanes: 16, registers: 32 },
  { lanes: 8, registers: 16 },
  { lanes: 4, registers: 32 },
];

/** What a map may hold. */
const NOT_IN_MAPS: ReadonlySet<OpName> = new Set<OpName>([
  'input',
  'table',
  'random',
  'matmul',
  'reduceSum',
  'reduceMax',
  'reduceMin',
  'argMax',
  'argMin',
  'scatterAdd',
]);

export const REDUCTIONS: ReadonlySet<OpName> = new Set<OpName>([
  'reduceSum',
  'reduceMax',
  'reduceMin',
  'argMax',
  'argMin',
]);

const FLAT = { map: lowerMap, reduce: lowerReduce, draw: lowerDraw, scatter: lowerScatter };

export type FlatKind = keyof typeof FLAT;

export type LayoutKind = 'dense' | 'padded' | 'transposed';

function memoryOf(graph: Graph, id: ValueId): MemoryType {
  const { dtype } = graph.nodes[id].type;
  return dtype === 'float32' ? 'f32' : dtype === 'int32' ? 'i32' : 'u8';
}

/** Axes in some order from the innermost out, each with some padding behind it, as `seed` has it. */
export function layoutFor(graph: Graph, id: ValueId, kind: LayoutKind, seed: number): Layout {
  const { shape } = graph.nodes[id].type;
  const words = bits([seed, id], 2 * shape.length + 2);
  const order = shape.map((_, axis) => shape.length - 1 - axis);
  if (kind === 'transposed') order.sort((a, b) => words[a] - words[b]);
  const strides = new Array<number>(shape.length).fill(0);
  let stride = 1;
  for (const axis of order) {
    strides[axis] = stride;
    stride *= shape[axis];
    if (kind === 'padded') stride += words[shape.length + axis] % 4;
  }
  return { shape, strides, memory: memoryOf(graph, id) };
}

export interface FragmentOptions {
  readonly root?: ValueId;
  readonly layout?: LayoutKind;
  readonly seed?: number;
  /** Nodes that are to be operands though they could be members. */
  readonly operands?: ReadonlySet<ValueId>;
}

/** The fragment of that kind that makes `stores` from as far up as such a fragment may go. */
export function fragmentFor(
  graph: Graph,
  kind: FlatKind,
  stores: readonly ValueId[],
  options: FragmentOptions = {},
): Fragment {
  const { root, layout = 'dense', seed = 1, operands = new Set() } = options;
  const members = new Set<ValueId>();
  const take = (id: ValueId): void => {
    const { op, type, inputs } = graph.nodes[id];
    if (members.has(id)) return;
    if (id !== root && (operands.has(id) || NOT_IN_MAPS.has(op))) return;
    if (op === 'constant' && sizeOf(type.shape) > 1) return;
    members.add(id);
    for (const input of inputs) if (kind !== 'draw' && kind !== 'scatter') take(input);
  };
  stores.forEach(take);
  const ordered = [...members].sort((a, b) => a - b);
  const bare = { kind, graph, members: ordered, stores, ...(root !== undefined && { root }) };
  const placed = [...operandsOf({ ...bare, layouts: new Map() }), ...stores];
  return { ...bare, layouts: new Map(placed.map((id) => [id, layoutFor(graph, id, layout, seed)])) };
}

/** The value of every node, in float64. */
export function allValues(graph: Graph, feeds: readonly Value[], context: InterpreterContext): Value[] {
  return compileInterpreter({ ...graph, outputs: graph.nodes.map((_, id) => id) }).run(feeds, context);
}

function* elementsOf(shape: Shape, strides: readonly number[]): Generator<number> {
  const index = shape.map(() => 0);
  for (let i = 0; i < sizeOf(shape); i++) {
    yield index.reduce((sum, at, axis) => sum + at * strides[axis], 0);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
}

/** No value of a test is this, and no byte of a bool. */
const POISON = { f32: -7.77e33, i32: -77777777, u8: 177 };

function bufferFor(layout: Layout, precision: 'float32' | 'float64'): NestBuffer {
  const { shape, strides, memory } = layout;
  const size = sizeOf(shape) === 0 ? 0 : 1 + shape.reduce((sum, extent, axis) => sum + (extent - 1) * strides[axis], 0);
  const make =
    memory === 'i32'
      ? Int32Array
      : memory === 'u8'
        ? Uint8Array
        : precision === 'float64'
          ? Float64Array
          : Float32Array;
  return new make(size).fill(POISON[memory]);
}

function pack(layout: Layout, value: Value, precision: 'float32' | 'float64'): NestBuffer {
  const buffer = bufferFor(layout, precision);
  let i = 0;
  for (const at of elementsOf(layout.shape, layout.strides)) buffer[at] = value[i++];
  return buffer;
}

/** The elements in row-major order. @throws Error if anything but an element was written. */
function unpack(layout: Layout, buffer: NestBuffer): number[] {
  const elements = Array.from(elementsOf(layout.shape, layout.strides));
  const inside = new Set(elements);
  const poison = bufferFor({ ...layout, shape: [1], strides: [0] }, 'float32')[0];
  buffer.forEach((x, at) => {
    if (!inside.has(at) && Math.fround(x) !== Math.fround(poison))
      throw new Error(`padding was written at ${at}: ${x}`);
  });
  return elements.map((at) => buffer[at]);
}

export interface FragmentRun {
  readonly target: Target;
  readonly precision?: 'float32' | 'float64';
  readonly key?: readonly [number, number];
  /** Stores that lie where an operand lies. */
  readonly inPlace?: ReadonlyMap<ValueId, ValueId>;
  /** Given what was lowered. */
  readonly lowered?: Lowered;
}

/** Lowers, verifies and runs a fragment; what it stores. */
export function runFragment(fragment: Fragment, values: readonly Value[], run: FragmentRun): Map<ValueId, number[]> {
  const { target, precision = 'float64', key = [], inPlace } = run;
  const { kernel, buffers } = run.lowered ?? FLAT[fragment.kind as FlatKind](fragment, target);
  verifyKernel(kernel, target);
  const memory = new Map<ValueId, NestBuffer>();
  const layout = (id: ValueId): Layout => {
    const found = fragment.layouts.get(id);
    if (found === undefined) throw new Error(`%${id} has no layout`);
    return found;
  };
  for (const use of buffers) {
    if (use.kind === 'operand') memory.set(use.value, pack(layout(use.value), values[use.value], precision));
  }
  const bound = buffers.map((use): NestBuffer => {
    if (use.kind === 'workspace') return new Float32Array(use.bytes / 4);
    const at = use.kind === 'store' ? (inPlace?.get(use.value) ?? use.value) : use.value;
    const found = memory.get(at) ?? bufferFor(layout(at), precision);
    memory.set(at, found);
    return found;
  });
  runNest(kernel, bound, key, { lanes: target.lanes, precision });
  return new Map(
    buffers.flatMap((use, i) =>
      use.kind === 'store' ? [[use.value, unpack(layout(use.value), bound[i])] as const] : [],
    ),
  );
}

/** NaN equals NaN, zeros and infinities have signs, and other numbers agree to `tolerance` relative to 1 + |x|. */
export function disagreement(
  got: readonly number[],
  expected: ArrayLike<number>,
  tolerance: number,
): string | undefined {
  if (got.length !== expected.length) return `${got.length} elements for ${expected.length}`;
  for (let i = 0; i < got.length; i++) {
    const [x, y] = [got[i], expected[i]];
    const close = y !== 0 && Number.isFinite(y) && Math.abs(x - y) <= tolerance * (1 + Math.abs(y));
    if (!close && !Object.is(x, y)) return `element ${i}: got ${x}, expected ${y}`;
  }
  return undefined;
}
