/** Product fragments with data, and what they are to compute, in float64. */
import { GraphBuilder } from '../../src/graph/builder';
import { sizeOf, type ValueId } from '../../src/graph/ir';
import type { Fragment } from '../../src/engines/native/lower/fragment';
import { lowerProduct, type ProductPlan } from '../../src/engines/native/lower/product';
import type { Kernel, MemoryType, Target } from '../../src/engines/native/nest/ir';
import type { Layout } from '../../src/engines/native/plan/program';
import { normals } from '../../src/random';

export type Memory = Float32Array | Int32Array | Uint8Array;

/** How a value lies: rows next to one another, rows apart, columns next to one another, every other element. */
export type Lie = 'dense' | 'padded' | 'transposed' | 'spread';

/** What is done to the elements x of the product. */
export type EpilogueName =
  /** x. */
  | 'none'
  /** max(x + bias[n], 0). */
  | 'bias-relu'
  /** v ← μ·v + x, then p ← p − η·v, both where they lie; η a scalar operand, μ a constant. */
  | 'momentum'
  /** x where h > 0, else 0; and h > 0 as a bool. */
  | 'gate'
  /** x·sigmoid(x), and x itself. */
  | 'silu';

export interface ProductCase {
  readonly batch: readonly number[];
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly a?: Lie;
  readonly b?: Lie;
  readonly result?: Lie;
  readonly epilogue?: EpilogueName;
}

export interface Placed {
  readonly memory: Memory;
  readonly layout: Layout;
}

export interface ProductProblem {
  readonly name: string;
  readonly fragment: Fragment;
  /** Operands, and stores that do not lie where an operand lies. */
  readonly values: Map<ValueId, Placed>;
  /** For each store: what it is to be, row-major, and by how much it may differ. */
  readonly expected: Map<ValueId, { readonly value: Float64Array; readonly tolerance: Float64Array }>;
}

/** What lies between elements, to be left alone: a NaN that computations do not make, and its like. */
const PADDING = { f32: 0x7fc0abcd, i32: 0x5a5aa5a5, u8: 0xa5 } as const;

/** Unit roundoff of float32. */
const U = 2 ** -24;

function strideOf(shape: readonly number[], lie: Lie): { strides: number[]; length: number } {
  const rank = shape.length;
  const strides = new Array<number>(rank).fill(0);
  const order = Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  if (lie === 'transposed' && rank >= 2) [order[0], order[1]] = [order[1], order[0]];
  let stride = lie === 'spread' ? 2 : 1;
  order.forEach((axis, i) => {
    strides[axis] = stride;
    stride *= shape[axis];
    if (i === 0 && (lie === 'padded' || lie === 'spread')) stride += 3;
  });
  const span = 1 + shape.reduce((sum, extent, axis) => sum + Math.max(0, extent - 1) * strides[axis], 0);
  return { strides, length: sizeOf(shape) === 0 ? 0 : span };
}

/** Offsets of the elements of a layout in row-major order. */
function offsetsOf({ layout }: Placed): number[] {
  let offsets = [0];
  layout.shape.forEach((extent, axis) => {
    offsets = offsets.flatMap((at) => Array.from({ length: extent }, (_, i) => at + i * layout.strides[axis]));
  });
  return offsets;
}

function filled(memory: MemoryType, length: number): Memory {
  if (memory === 'u8') return new Uint8Array(length).fill(PADDING.u8);
  const words = new Int32Array(length).fill(PADDING[memory]);
  return memory === 'i32' ? words : new Float32Array(words.buffer);
}

/** Memory of exactly the span of the layout, its gaps filled with what `paddingKept` knows. */
function place(shape: readonly number[], lie: Lie, memory: MemoryType, data?: ArrayLike<number>): Placed {
  const { strides, length } = strideOf(shape, lie);
  const placed = { memory: filled(memory, length), layout: { shape, strides, memory } };
  if (data !== undefined) offsetsOf(placed).forEach((at, i) => (placed.memory[at] = data[i]));
  return placed;
}

/** Whether all gaps are as they were filled. */
function paddingKept(placed: Placed): boolean {
  const used = new Set(offsetsOf(placed));
  const bits =
    placed.memory instanceof Float32Array ? new Int32Array(placed.memory.buffer) : (placed.memory as ArrayLike<number>);
  return Array.from(bits).every((word, at) => used.has(at) || word === PADDING[placed.layout.memory]);
}

/** Elements in row-major order. */
function elementsOf(placed: Placed): number[] {
  return offsetsOf(placed).map((at) => placed.memory[at]);
}

export function productProblem(of: ProductCase): ProductProblem {
  const { batch, m, n, k, transposeA = false, transposeB = false, epilogue = 'none' } = of;
  const graph = new GraphBuilder('product');
  const values = new Map<ValueId, Placed>();
  const members: ValueId[] = [];
  let seed = 0;
  const shape = [...batch, m, n];
  const count = sizeOf(shape);
  const operand = (name: string, of: readonly number[], lie: Lie = 'dense') => {
    const id = graph.input(name, { shape: of, dtype: 'float32' });
    const data = normals([11, ++seed], sizeOf(of));
    values.set(id, place(of, lie, 'f32', data));
    return { id, data };
  };
  const member = (id: ValueId): ValueId => {
    members.push(id);
    return id;
  };
  const spread = (id: ValueId): ValueId => member(graph.emit('broadcast', [id], { shape }));
  const constant = (value: number): ValueId => spread(member(graph.constant(Float32Array.of(value), [], 'float32')));

  const a = operand('a', [...batch, ...(transposeA ? [k, m] : [m, k])], of.a);
  const b = operand('b', [...batch, ...(transposeB ? [n, k] : [k, n])], of.b);
  const root = member(graph.emit('matmul', [a.id, b.id], { transposeA, transposeB }));

  // Σ a·b and Σ |a·b| in float64, by the definition.
  const product = new Float64Array(count);
  const bound = new Float64Array(count);
  for (let at = 0; at < count; at++) {
    const column = at % n;
    const row = Math.floor(at / n) % m;
    const group = Math.floor(at / (m * n));
    let magnitude = 0;
    for (let step = 0; step < k; step++) {
      const x = a.data[group * m * k + (transposeA ? step * m + row : row * k + step)];
      const y = b.data[group * k * n + (transposeB ? column * k + step : step * n + column)];
      product[at] += x * y;
      magnitude += Math.abs(x * y);
    }
    // Higham 2002, (3.5): k roundings whatever the order, with fused multiply-adds or not.
    bound[at] = (k + 1) * U * magnitude;
  }

  const stores: ValueId[] = [];
  const expected: ProductProblem['expected'] = new Map();
  const store = (
    id: ValueId,
    value: (x: number, at: number) => number,
    /** How much of the product's error is left, and what is added. */
    tolerance: (bound: number, value: number, at: number) => number,
    where?: ValueId,
  ): void => {
    stores.push(id);
    const exact = Float64Array.from(product, value);
    expected.set(id, { value: exact, tolerance: exact.map((y, at) => tolerance(bound[at], y, at)) });
    const { dtype } = graph.type(id);
    const lies =
      where === undefined ? place(shape, of.result ?? 'dense', dtype === 'bool' ? 'u8' : 'f32') : values.get(where)!;
    values.set(id, lies);
  };
  const float = Math.fround;
  switch (epilogue) {
    case 'none':
      store(
        root,
        (x) => x,
        (error) => error,
      );
      break;
    case 'bias-relu': {
      const bias = operand('bias', [n]);
      const sum = member(graph.emit('add', [root, spread(bias.id)], {}));
      const relu = member(graph.emit('max', [sum, constant(0)], {}));
      // A sum rounds once; max changes no distance for the larger.
      const exact = (x: number, at: number) => Math.max(0, x + bias.data[at % n]);
      store(relu, exact, (error, y) => error + 2 * U * (Math.abs(y) + error));
      break;
    }
    case 'momentum': {
      const rate = operand('rate', []);
      const p = operand('p', shape, of.result);
      const v = operand('v', shape, of.result);
      const mu = float(0.9);
      const kept = member(graph.emit('mul', [constant(0.9), v.id], {}));
      const velocity = member(graph.emit('add', [kept, root], {}));
      const change = member(graph.emit('mul', [spread(rate.id), velocity], {}));
      const moved = member(graph.emit('sub', [p.id, change], {}));
      const newV = (x: number, at: number) => mu * v.data[at] + x;
      const [eta] = rate.data;
      const errorV = (error: number, at: number) => error + 3 * U * (Math.abs(mu * v.data[at]) + Math.abs(product[at]));
      store(velocity, newV, (error, _, at) => errorV(error, at), v.id);
      store(
        moved,
        (x, at) => p.data[at] - eta * newV(x, at),
        (error, y, at) =>
          Math.abs(eta) * errorV(error, at) +
          3 * U * (Math.abs(p.data[at]) + Math.abs(eta * newV(product[at], at)) + Math.abs(y)),
        p.id,
      );
      break;
    }
    case 'gate': {
      const h = operand('h', shape, of.result);
      const open = member(graph.emit('gt', [h.id, constant(0)], {}));
      const gated = member(graph.emit('select', [open, root, constant(0)], {}));
      store(
        gated,
        (x, at) => (h.data[at] > 0 ? x : 0),
        (error) => error,
      );
      store(
        open,
        (_, at) => (h.data[at] > 0 ? 1 : 0),
        () => 0,
      );
      break;
    }
    case 'silu': {
      const sigmoid = member(graph.emit('sigmoid', [root], {}));
      const silu = member(graph.emit('mul', [root, sigmoid], {}));
      // |d/dx x·σ(x)| < 1.1; the sigmoid is good to a few units in the last place, taken as 8.
      store(
        silu,
        (x) => x / (1 + Math.exp(-x)),
        (error, y) => 1.1 * error + 16 * U * Math.abs(y) + 1e-37,
      );
      store(
        root,
        (x) => x,
        (error) => error,
      );
      break;
    }
  }
  const layouts = new Map([...values].map(([id, { layout }]) => [id, layout]));
  const fragment: Fragment = { kind: 'product', graph: graph.finish(stores), root, members, layouts, stores };
  return { name: productName(of), fragment, values, expected };
}

const SIZES = [1, 2, 3, 5, 10, 15, 16, 17, 33, 100];
export const LIES: readonly Lie[] = ['dense', 'padded', 'transposed', 'spread'];
const EPILOGUES: readonly EpilogueName[] = ['none', 'bias-relu', 'momentum', 'gate', 'silu'];
const BATCHES: readonly (readonly number[])[] = [[], [2], [], [2, 3], [1]];

/** Every size as m, as n and as k, with flags, layouts, epilogues and batches going round; small enough to interpret. */
export const PRODUCT_CASES: readonly ProductCase[] = SIZES.flatMap((m, i) =>
  [1, 3, 7, 9].map((step, j): ProductCase => {
    const turn = 4 * i + j;
    const k = SIZES[(i * step + j + 2) % 10];
    const n = SIZES[(i + step * 3) % 10];
    const batch = m * n * k > 1000 ? [] : BATCHES[turn % 5];
    return {
      batch,
      m,
      n: m * n * k > 20000 ? 5 : n,
      k,
      transposeA: turn % 2 === 1,
      transposeB: turn % 3 === 1,
      a: LIES[turn % 4],
      b: LIES[(turn >> 2) % 4],
      result: LIES[(turn * 3) % 4],
      epilogue: EPILOGUES[(turn + i) % 5],
    };
  }),
);

/** For titles of tests. */
export const productName = ({ batch, m, n, k, transposeA, transposeB, a, b, result, epilogue }: ProductCase): string =>
  `${batch.join('×')}[${m},${k}]·[${k},${n}]${transposeA ? ' Aᵀ' : ''}${transposeB ? ' Bᵀ' : ''} ${a}·${b}→${result} ${epilogue}`;

/** A lowered problem with its memory in the order of the kernel's buffers. */
export interface BoundProduct {
  readonly kernel: Kernel;
  readonly memories: readonly Memory[];
  /**
   * Compares every store with what it is to be, and gaps with what they were.
   * @param after what the kernel has left of `memories`, if not in them.
   * @throws Error for the first element that differs too much.
   */
  readonly compare: (after?: readonly Memory[]) => void;
}

export function boundProduct(problem: ProductProblem, target: Target, plan?: ProductPlan): BoundProduct {
  const { name, fragment, values, expected } = problem;
  const { kernel, buffers } = lowerProduct(fragment, target, plan);
  const memories = buffers.map((use): Memory => {
    if (use.kind === 'workspace') return new Float32Array(use.bytes / 4).fill(NaN);
    return values.get(use.value)!.memory;
  });
  const compare = (after: readonly Memory[] = memories): void => {
    buffers.forEach((use, i) => {
      if (use.kind !== 'store') return;
      const { value, tolerance } = expected.get(use.value)!;
      const placed = { ...values.get(use.value)!, memory: after[i] };
      const got = elementsOf(placed);
      const wrong = got.findIndex((x, at) => !(Math.abs(x - value[at]) <= tolerance[at]));
      const where = `${name} ${JSON.stringify(plan)}: %${use.value}`;
      if (wrong >= 0) {
        throw new Error(`${where}, element ${wrong} is ${got[wrong]}, not ${value[wrong]} ± ${tolerance[wrong]}`);
      }
      if (!paddingKept(placed)) throw new Error(`${where} is written between its elements`);
    });
  };
  return { kernel, memories, compare };
}
