/**
 * Every op on every engine against the interpreter in float64: one op at a time on corner values, and random graphs.
 * Each particle has numbers of its own; operands that are constants of the graph are tried beside operands that differ.
 */
import * as fc from 'fast-check';
import type { DataTable } from '../../src/contracts';
import type { GraphEngine } from '../../src/engines';
import { GraphBuilder } from '../../src/graph/builder';
import { inferType } from '../../src/graph/infer';
import { inline } from '../../src/graph/inline';
import { interpret, stepContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type OpName, type ValueId, type ValueType } from '../../src/graph/ir';
import { printGraph } from '../../src/graph/print';
import { bool, f32, handBuilt, i32 } from './engine-problems';
import type { EngineUnderTest } from './engine-table';
import { randomGraphs, type RandomGraph } from './random-graph';

const SEED = 99;

/** |got − expected| ≤ absolute + relative·|expected|; NaN and infinities must be equal. */
interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}
const EXACT: Tolerance = { relative: 0, absolute: 0 };
/** Correctly rounded to float32: half a unit in the last place. */
const ROUNDED: Tolerance = { relative: 2 ** -24, absolute: 2 ** -149 };
/** Normals drawn by compiled code in float32 (docs/native-math.md). */
const NORMALS: Tolerance = { relative: 0, absolute: 5e-7 };
/** What float32 libraries promise of their functions: 4 units in the last place, and no subnormal results. */
const LIBRARY: Tolerance = { relative: 2 ** -21, absolute: 2 ** -126 };
/** A sum of n products of numbers up to 8: n roundings (Higham 2002, eq. 3.5). */
const sumOf = (n: number): Tolerance => ({ relative: 0, absolute: n * 64 * n * 2 ** -24 });

interface Operand {
  readonly type: ValueType;
  readonly values: readonly number[];
  /** Constants only: an index, a condition that must not become a number on the way. */
  readonly shared?: boolean;
}

interface OpCase {
  readonly op: OpName;
  readonly label?: string;
  readonly operands: readonly Operand[];
  readonly emit: (b: GraphBuilder, operands: readonly ValueId[]) => ValueId;
  readonly tolerance: Tolerance;
}

const FLOATS = [NaN, Infinity, -Infinity, -0, 0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3.75, -7.25, 1e-8, -1e-8, 80];
const INTS = [0, 1, -1, 7, -8, 5, 2147483647, -2147483648, 3, -3, 12, 2, -7, 100000, -100000, 4];
const floats = (values: readonly number[], ...shape: number[]): Operand => ({ type: f32(...shape), values });
const ints = (values: readonly number[], ...shape: number[]): Operand => ({ type: i32(...shape), values });
const bools = (values: readonly number[], ...shape: number[]): Operand => ({ type: bool(...shape), values });
const plain = (n: number, salt = 0): number[] => Array.from({ length: n }, (_, i) => (((i + salt) * 7) % 17) / 2 - 4);

function unary(op: OpName, tolerance: Tolerance, values = FLOATS): OpCase {
  const emit: OpCase['emit'] = (b, [x]) => b.emit(op, [x], {});
  return { op, operands: [floats(values, values.length)], emit, tolerance };
}

function unaryInt(op: OpName): OpCase {
  const emit: OpCase['emit'] = (b, [x]) => b.emit(op, [x], {});
  return { op, label: `${op} int32`, operands: [ints(INTS, INTS.length)], emit, tolerance: EXACT };
}

/** Every value with every other. */
function pairs(values: readonly number[]): readonly [number[], number[]] {
  return [values.flatMap((x) => values.map(() => x)), values.flatMap(() => [...values])];
}

function binary(op: OpName, tolerance: Tolerance, values: readonly number[], dtype: 'float' | 'int' | 'bool'): OpCase {
  const [x, y] = pairs(values);
  const make = dtype === 'float' ? floats : dtype === 'int' ? ints : bools;
  return {
    op,
    label: dtype === 'int' ? `${op} int32` : op,
    operands: [make(x, x.length), make(y, y.length)],
    emit: (b, [p, q]) => b.emit(op, [p, q], {}),
    tolerance,
  };
}

/** Shapes that broadcast together in every way, at the middle, the end, the start and as one number. */
function broadcasting(op: 'add' | 'max' | 'gt' | 'pow'): OpCase[] {
  return [[3], [2, 1], [1, 3], [4, 1, 3], [4, 2, 1], [4, 1, 1], [1], []].map((shape) => ({
    op,
    label: `${op} with [${shape.join(',')}] broadcast`,
    operands: [
      floats(plain(24).map(Math.abs), 4, 2, 3),
      floats(
        plain(sizeOf(shape), 5).map((x) => Math.abs(x)),
        ...shape,
      ),
    ],
    emit: (b, [x, y]) => b.op(op, x, b.broadcast(y, [4, 2, 3])),
    tolerance: op === 'pow' ? LIBRARY : ROUNDED,
  }));
}

/** Overlapping; apart with a rest; dilated with gaps; within long axes; beside each other; axes that are no neighbours. */
const WINDOWINGS = [
  { shape: [2, 4, 5, 3], axes: [1, 2], sizes: [3, 2], strides: [1, 1], dilations: [1, 1] },
  { shape: [1, 5, 6, 2], axes: [1, 2], sizes: [2, 2], strides: [2, 3], dilations: [1, 1] },
  { shape: [2, 7, 8], axes: [1, 2], sizes: [2, 3], strides: [3, 1], dilations: [2, 2] },
  { shape: [2, 9, 10, 9], axes: [1, 2], sizes: [3, 3], strides: [2, 2], dilations: [1, 1] },
  { shape: [3, 4, 2], axes: [1], sizes: [1], strides: [2], dilations: [1] },
  { shape: [4, 3, 5], axes: [0, 2], sizes: [2, 4], strides: [1, 1], dilations: [2, 1] },
  { shape: [3, 3, 2], axes: [0, 1], sizes: [4, 2], strides: [1, 1], dilations: [1, 1] },
] as const;

const SIGNED_ZEROS: DataTable = {
  name: 'signed zeros',
  values: Float32Array.of(-0, 0, 2),
  dtype: 'float32',
  rows: 3,
  rowShape: [],
};
const TABLE: DataTable = {
  name: 'engine-test-rows',
  values: Uint8Array.of(0, 255, 17, 3, 128, 77),
  dtype: 'uint8',
  rows: 3,
  rowShape: [2],
};
const INDICES = [2, 0, -1, 1, 7, 1];

function movement(label: OpName, shape: readonly number[], emit: (b: GraphBuilder, x: ValueId) => ValueId): OpCase[] {
  const size = sizeOf(shape);
  const common = { op: label, tolerance: EXACT };
  return [
    { ...common, operands: [floats(plain(size), ...shape)], emit: (b, [x]) => emit(b, x) },
    {
      ...common,
      label: `${label} int32`,
      operands: [ints(plain(size).map(Math.round), ...shape)],
      emit: (b, [x]) => emit(b, x),
    },
    {
      ...common,
      label: `${label} bool`,
      operands: [
        bools(
          plain(size).map((x) => (x > 0 ? 1 : 0)),
          ...shape,
        ),
      ],
      emit: (b, [x]) => emit(b, x),
    },
    {
      ...common,
      label: `${label} of a broadcast`,
      operands: [floats(plain(shape[1]), shape[1], 1)],
      emit: (b, [x]) => emit(b, b.broadcast(x, [shape[0], shape[1], shape[2]])),
    },
  ];
}

function product(label: string, a: number[], b: number[], transposeA: boolean, transposeB: boolean): OpCase {
  const k = a[a.length - (transposeA ? 2 : 1)];
  return {
    op: 'matmul',
    label: `matmul ${label}`,
    operands: [floats(plain(sizeOf(a)), ...a), floats(plain(sizeOf(b), 3), ...b)],
    emit: (g, [x, y]) => g.emit('matmul', [x, y], { transposeA, transposeB }),
    tolerance: sumOf(k),
  };
}

function reduction(op: 'reduceSum' | 'reduceMax' | 'reduceMin', axes: number[]): OpCase[] {
  const values = plain(24);
  const withNan = values.map((x, i) => (op !== 'reduceSum' && i % 11 === 4 ? NaN : x));
  const tolerance = op === 'reduceSum' ? sumOf(24) : EXACT;
  const label = `${op} [${axes.join(',')}]`;
  return [
    { op, label, operands: [floats(withNan, 2, 3, 4)], emit: (b, [x]) => b.emit(op, [x], { axes }), tolerance },
    {
      op,
      label: `${label} int32`,
      operands: [ints([...INTS, ...INTS.slice(0, 8)], 2, 3, 4)],
      emit: (b, [x]) => b.emit(op, [x], { axes }),
      tolerance: EXACT,
    },
    {
      op,
      label: `${label} of a broadcast`,
      operands: [floats(plain(3), 3, 1)],
      emit: (b, [x]) => b.emit(op, [b.broadcast(x, [2, 3, 4])], { axes }),
      tolerance,
    },
  ];
}

const draw = (
  distribution: { name: 'uniform' } | { name: 'normal' } | { name: 'integer'; low: number; high: number },
) =>
  (['step', 'episode'] as const).map((span): OpCase => ({
    op: 'random',
    label: `random ${distribution.name} by ${span}`,
    operands: [],
    emit: (b) =>
      b.emit('random', [], { stream: 'user', perStep: span === 'step', path: [4, 2], distribution, shape: [3, 5] }),
    tolerance: ROUNDED,
  }));

const CASES: readonly OpCase[] = [
  ...['neg', 'abs', 'sign', 'floor', 'ceil', 'round', 'isNan', 'isFinite', 'identity', 'stopGradient'].map((op) =>
    unary(op as OpName, EXACT),
  ),
  ...['exp', 'expm1', 'log', 'log1p', 'atan', 'tanh', 'sigmoid'].map((op) => unary(op as OpName, LIBRARY)),
  unary('sqrt', ROUNDED),
  unary('rsqrt', { relative: 2 ** -23, absolute: 0 }),
  ...['sin', 'cos'].map((op) => unary(op as OpName, LIBRARY, [...FLOATS, 31.4, -17.27825927734375, 1e-30, 1e30])),
  // Abramowitz and Stegun 7.1.26, which TensorFlow.js' cpu kernel evaluates, is good to 1.5e-7.
  unary('erf', { relative: 2 ** -21, absolute: 2e-7 }),
  ...(['neg', 'abs', 'sign'] as const).map(unaryInt),
  { op: 'not', operands: [bools([0, 1, 1, 0], 4)], emit: (b, [x]) => b.op('not', x), tolerance: EXACT },
  ...(['float32', 'int32', 'bool'] as const).flatMap((dtype): OpCase[] => [
    {
      op: 'cast',
      label: `cast float32 to ${dtype}`,
      operands: [floats([...FLOATS, 3e9, -3e9, 0.999, -0.999], 20)],
      emit: (b, [x]) => b.emit('cast', [x], { dtype }),
      tolerance: EXACT,
    },
    {
      op: 'cast',
      label: `cast int32 to ${dtype}`,
      operands: [
        ints(
          INTS.filter((n) => Math.abs(n) < 2 ** 24),
          14,
        ),
      ],
      emit: (b, [x]) => b.emit('cast', [x], { dtype }),
      tolerance: EXACT,
    },
    {
      op: 'cast',
      label: `cast bool to ${dtype}`,
      operands: [bools([0, 1, 1], 3)],
      emit: (b, [x]) => b.emit('cast', [x], { dtype }),
      tolerance: EXACT,
    },
  ]),
  ...(['add', 'sub', 'mul', 'div'] as const).map((op) => binary(op, ROUNDED, FLOATS, 'float')),
  ...(['max', 'min', 'eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const).flatMap((op) => [
    binary(op, EXACT, FLOATS, 'float'),
    binary(op, EXACT, INTS, 'int'),
  ]),
  ...(['add', 'sub', 'mul'] as const).map((op) => binary(op, EXACT, INTS, 'int')),
  // Beyond 2²⁴ TensorFlow.js divides integers in float32; by zero, backends differ.
  ...(['div', 'mod'] as const).map((op) =>
    binary(
      op,
      EXACT,
      INTS.filter((n) => n !== 0 && Math.abs(n) < 2 ** 24),
      'int',
    ),
  ),
  binary('mod', { relative: 2 ** -22, absolute: 2 ** -22 }, [0.5, -0.5, 2.25, -7.75, 3, -3, 1e-3, NaN], 'float'),
  binary('pow', LIBRARY, [0.5, 2, 1, 3.25, -2, 0, NaN, 12], 'float'),
  binary('atan2', LIBRARY, FLOATS, 'float'),
  ...(['and', 'or'] as const).map((op) => binary(op, EXACT, [0, 1], 'bool')),
  ...(['add', 'max', 'gt', 'pow'] as const).flatMap(broadcasting),
  {
    op: 'select',
    operands: [
      bools([1, 0, 0, 1, 1, 0], 2, 3),
      floats([NaN, NaN, 1, 2, Infinity, 3], 2, 3),
      floats([4, 5, NaN, 6, NaN, 7], 2, 3),
    ],
    emit: (b, operands) => b.op('select', ...operands),
    tolerance: EXACT,
  },
  {
    op: 'select',
    label: 'select of broadcasts',
    operands: [bools([1, 0, 1], 3), floats([NaN, 2], 2, 1), floats([5], 1)],
    emit: (b, [condition, x, y]) =>
      b.op('select', b.broadcast(condition, [2, 3]), b.broadcast(x, [2, 3]), b.broadcast(y, [2, 3])),
    tolerance: EXACT,
  },

  product('[5,3]·[3,4]', [5, 3], [3, 4], false, false),
  product('[3,5]ᵀ·[3,4]', [3, 5], [3, 4], true, false),
  product('[5,3]·[4,3]ᵀ', [5, 3], [4, 3], false, true),
  product('[3,5]ᵀ·[4,3]ᵀ', [3, 5], [4, 3], true, true),
  product('batch [2,5,3]·[2,3,4]', [2, 5, 3], [2, 3, 4], false, false),
  product('batch [2,3,5]ᵀ·[2,4,3]ᵀ', [2, 3, 5], [2, 4, 3], true, true),
  // From 20 kflop on wasm takes plain products of views.
  product('large [40,32]·[32,24]', [40, 32], [32, 24], false, false),
  product('large [32,40]ᵀ·[24,32]ᵀ', [32, 40], [24, 32], true, true),
  product('large batch [2,32,40]ᵀ·[2,32,24]', [2, 32, 40], [2, 32, 24], true, false),
  {
    ...product('', [4, 3], [3, 1], false, false),
    label: 'matmul of a broadcast',
    operands: [floats(plain(3), 3), floats(plain(3, 2), 3, 1)],
    emit: (b, [x, y]) =>
      b.emit('matmul', [b.broadcast(x, [4, 3]), b.broadcast(y, [3, 5])], { transposeA: false, transposeB: false }),
  },

  ...(['reduceSum', 'reduceMax', 'reduceMin'] as const).flatMap((op) =>
    [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]].flatMap((axes) => reduction(op, axes)),
  ),
  ...(['argMax', 'argMin'] as const).flatMap((op) =>
    [0, 1, 2].map((axis): OpCase => ({
      op,
      label: `${op} ${axis}`,
      // Ties: the first of equals.
      operands: [
        floats(
          plain(24).map((x) => Math.round(x / 2)),
          2,
          3,
          4,
        ),
      ],
      emit: (b, [x]) => b.emit(op, [x], { axis }),
      tolerance: EXACT,
    })),
  ),

  ...movement('broadcast', [2, 3, 2], (b, x) => b.broadcast(x, [4, 2, 3, 2])),
  ...movement('reshape', [2, 3, 2], (b, x) => b.reshape(x, [3, 1, 4])),
  ...movement('transpose', [2, 3, 2], (b, x) => b.transpose(x, [2, 0, 1])),
  ...movement('slice', [2, 3, 2], (b, x) =>
    b.emit('slice', [x], { begin: [1, 1, 0], size: [1, 2, 2], strides: [1, 1, 1] }),
  ),
  ...movement('slice', [4, 5, 3], (b, x) =>
    b.emit('slice', [x], { begin: [1, 0, 2], size: [2, 3, 1], strides: [2, 2, 1] }),
  ),
  ...movement('pad', [2, 3, 2], (b, x) => b.emit('pad', [x], { low: [1, 0, 2], high: [0, 2, 1], interior: [0, 0, 0] })),
  ...movement('pad', [2, 3, 2], (b, x) => b.emit('pad', [x], { low: [0, 1, 0], high: [1, 0, 0], interior: [2, 1, 0] })),
  ...WINDOWINGS.flatMap(({ shape, ...attributes }) =>
    movement('windows', shape, (b, x) => b.emit('windows', [x], attributes)),
  ),
  ...WINDOWINGS.flatMap(({ shape, axes, sizes, strides, dilations }): OpCase[] => {
    const seen = inferType('windows', [f32(...shape)], { axes, sizes, strides, dilations }).shape;
    const size = sizeOf(seen);
    const emit: OpCase['emit'] = (b, [x]) =>
      b.emit('foldWindows', [x], { axes, extents: axes.map((axis) => shape[axis]), strides, dilations });
    return [
      { op: 'foldWindows', operands: [floats(plain(size), ...seen)], emit, tolerance: sumOf(sizeOf(sizes)) },
      {
        op: 'foldWindows',
        label: 'foldWindows int32',
        operands: [ints(plain(size).map(Math.round), ...seen)],
        emit,
        tolerance: EXACT,
      },
      {
        op: 'foldWindows',
        label: 'foldWindows of a broadcast',
        operands: [floats(plain(seen[seen.length - 1]), seen[seen.length - 1])],
        emit: (b, [x]) => emit(b, [b.broadcast(x, seen)]),
        tolerance: sumOf(sizeOf(sizes)),
      },
    ];
  }),
  ...movement('concat', [2, 3, 2], (b, x) => b.emit('concat', [x, x, x], { axis: 1 })),
  ...movement('reverse', [2, 3, 2], (b, x) => b.emit('reverse', [x], { axes: [0, 2] })),
  ...[0, 1].map((axis): OpCase => ({
    op: 'concat',
    label: `concat of two along ${axis}`,
    operands: [floats(plain(6), 2, 3), floats(plain(6, 4), 2, 3)],
    emit: (b, [x, y]) => b.emit('concat', [x, y], { axis }),
    tolerance: EXACT,
  })),
  ...[[6], [2, 3]].map((shape): OpCase => ({
    op: 'gather',
    label: `gather rows by [${shape.join(',')}]`,
    operands: [floats(plain(12), 4, 3), ints(INDICES, ...shape)],
    emit: (b, [x, i]) => b.op('gather', x, i),
    tolerance: EXACT,
  })),
  {
    op: 'gather',
    label: 'gather numbers',
    operands: [ints([5, 6, 7], 3), ints(INDICES, 6)],
    emit: (b, [x, i]) => b.op('gather', x, i),
    tolerance: EXACT,
  },
  ...[[6], [2, 3]].map((shape): OpCase => ({
    op: 'scatterAdd',
    label: `scatterAdd by [${shape.join(',')}]`,
    operands: [ints(INDICES, ...shape), floats(plain(12), ...shape, 2)],
    emit: (b, [i, x]) => b.emit('scatterAdd', [i, x], { rows: 4 }),
    tolerance: sumOf(6),
  })),
  {
    op: 'table',
    label: 'table rows as they are, as numbers and decoded',
    operands: [ints(INDICES, 6)],
    emit: (b, [i]) => {
      const rows = b.op('gather', b.table(TABLE), i);
      const numbers = b.cast(rows, 'float32');
      const decoded = b.binary('add', b.binary('mul', numbers, b.fill(1 / 255, [])), b.fill(-0.5, []));
      const again = b.cast(b.op('gather', b.table(TABLE), b.emit('reverse', [i], { axes: [0] })), 'float32');
      return b.emit('concat', [decoded, numbers, again, b.cast(b.table(TABLE), 'float32')], { axis: 0 });
    },
    // Two roundings of numbers up to 1.
    tolerance: { relative: 0, absolute: 2 ** -23 },
  },
  {
    op: 'table',
    label: 'table rows decoded and nothing else',
    operands: [ints(INDICES, 6)],
    emit: (b, [i]) => {
      const numbers = b.cast(b.op('gather', b.table(TABLE), i), 'float32');
      return b.binary('add', b.binary('mul', numbers, b.fill(1 / 255, [])), b.fill(-0.5, []));
    },
    tolerance: { relative: 0, absolute: 2 ** -23 },
  },
  ...[false, true].map((scaled): OpCase => ({
    op: 'table',
    label: `rows of a float table that holds −0${scaled ? ', scaled' : ''}`,
    operands: [ints(INDICES, 6)],
    emit: (b, [i]) => {
      const rows = b.op('gather', b.table(SIGNED_ZEROS), i);
      // Told apart by what divides by them.
      return b.binary('div', b.fill(1, []), scaled ? b.binary('mul', rows, b.fill(-2, [])) : rows);
    },
    tolerance: EXACT,
  })),
  {
    op: 'constant',
    operands: [],
    emit: (b) => b.constant(Int32Array.of(1, 2, 3, 4), [2, 2], 'int32'),
    tolerance: EXACT,
  },
  { op: 'iota', operands: [], emit: (b) => b.emit('iota', [], { shape: [2, 3, 2], axis: 1 }), tolerance: EXACT },
  ...draw({ name: 'uniform' }),
  ...draw({ name: 'normal' }),
  ...draw({ name: 'integer', low: -3, high: 1000 }),
];

const PARTICLES = 3;
const ALL = Int32Array.from({ length: PARTICLES }, (_, i) => i);

/** An operand for particle p: its numbers turned by p places. */
function turned(values: ArrayLike<number>, p: number): number[] {
  return Array.from({ length: values.length }, (_, i) => values[(i + p) % values.length]);
}

/** One output for every choice of which operands are constants and which differ between particles. */
function graphOfCase({ operands, emit }: OpCase): Graph {
  const b = new GraphBuilder('case');
  const inputs = operands.map(({ type }, i) => b.input(`x${i}`, type));
  const outputs: ValueId[] = [];
  for (let mask = 0; mask < 2 ** operands.length; mask++) {
    const chosen = operands.map(({ type, values }, i) => {
      if ((mask >> i) & 1) return inputs[i];
      const data =
        type.dtype === 'float32'
          ? Float32Array.from(values)
          : type.dtype === 'int32'
            ? Int32Array.from(values)
            : Uint8Array.from(values);
      return b.constant(data, type.shape, type.dtype === 'uint8' ? 'int32' : type.dtype);
    });
    outputs.push(emit(b, chosen));
  }
  return b.finish(outputs);
}

const inputName = (i: number): string => `in${String(i).padStart(4, '0')}`;
const outputName = (i: number): string => `out${String(i).padStart(4, '0')}`;

/**
 * A problem whose one step computes the graph's outputs into its state; θ are the graph's inputs. Integers come in two
 * halves, which float32 holds exactly.
 */
function problemOf(graph: Graph) {
  const types = graph.inputs.map((id) => graph.nodes[id].type);
  const outputs = graph.outputs.map((id) => graph.nodes[id].type);
  const held = outputs.map((type): ValueType => (type.dtype === 'uint8' ? { ...type, dtype: 'int32' } : type));
  return handBuilt({
    name: 'ops',
    theta: Object.fromEntries(types.map(({ shape }, i) => [inputName(i), f32(2, ...shape)])),
    state: Object.fromEntries(held.map((type, i) => [outputName(i), type])),
    init: (b) => Object.fromEntries(held.map((type, i) => [outputName(i), b.zeros(type)])),
    step: (b, theta) => {
      const half = (i: number, which: number): ValueId => {
        const { shape } = types[i];
        const begin = [which, ...shape.map(() => 0)];
        const part = { begin, size: [1, ...shape], strides: begin.map(() => 1) };
        return b.reshape(b.emit('slice', [theta[inputName(i)]], part), shape);
      };
      const inputs = types.map(({ dtype }, i) => {
        if (dtype === 'float32') return half(i, 1);
        if (dtype === 'bool') return b.cast(half(i, 1), 'bool');
        const high = b.binary('mul', b.cast(half(i, 0), 'int32'), b.fill(65536, [], 'int32'));
        return b.op('add', high, b.cast(half(i, 1), 'int32'));
      });
      const results = inline(b, graph, inputs).map((id) => (b.type(id).dtype === 'uint8' ? b.cast(id, 'int32') : id));
      return { state: Object.fromEntries(results.map((id, i) => [outputName(i), id])), loss: b.fill(0, []) };
    },
  });
}

function leafNumbers(type: ValueType, values: readonly number[]): number[] {
  const high = values.map((x) => (type.dtype === 'int32' ? Math.floor(x / 65536) : 0));
  return [...high, ...values.map((x, i) => x - (type.dtype === 'int32' ? high[i] * 65536 : 0))];
}

/** Runs the graph on an engine: outputs by output and particle. */
async function runOn(engine: GraphEngine, graph: Graph, feeds: readonly (readonly number[])[]): Promise<number[][][]> {
  const program = await engine.compileTraced(problemOf(graph));
  const types = graph.inputs.map((id) => graph.nodes[id].type);
  const rows = [...ALL].map((p) => types.flatMap((type, i) => leafNumbers(type, turned(feeds[i], p))));
  const perturbation = { form: 'explicit', thetas: Float64Array.from(rows.flat()) } as const;
  const population = await program.createPopulation({ size: PARTICLES, seed: SEED });
  await population.reset({ particles: ALL, perturbation, workers: ALL, episodes: ALL });
  await population.advance({ particles: ALL, perturbation, steps: 1 });
  const saved = await population.save();
  await population.dispose();
  await program.dispose();
  return graph.outputs.map((_, i) => {
    const { data } = saved[`state.${outputName(i)}`];
    const width = data.length / PARTICLES;
    return [...ALL].map((p) => [...data.subarray(p * width, (p + 1) * width)]);
  });
}

interface Fed {
  readonly graph: Graph;
  readonly feeds: readonly (readonly number[])[];
}

/** Runs graphs side by side in one program, since compiling one takes longer than running it. */
async function runTogether(engine: GraphEngine, all: readonly Fed[]): Promise<number[][][][]> {
  const b = new GraphBuilder('together');
  const outputs = all.flatMap(({ graph }, g) => {
    const inputs = graph.inputs.map((id, i) => b.input(`g${g}x${i}`, graph.nodes[id].type));
    return inline(b, graph, inputs);
  });
  const feeds = all.flatMap((one) => one.feeds);
  const results = await runOn(engine, b.finish(outputs), feeds);
  return all.map(({ graph }) => results.splice(0, graph.outputs.length));
}

function expectedOf(graph: Graph, feeds: readonly (readonly number[])[]): Value[][] {
  const types = graph.inputs.map((id) => graph.nodes[id].type);
  return [...ALL].map((p) => {
    const values = types.map(({ dtype }, i): Value => {
      const numbers = turned(feeds[i], p);
      if (dtype === 'float32') return Float64Array.from(numbers);
      return dtype === 'int32' ? Int32Array.from(numbers) : Uint8Array.from(numbers);
    });
    return interpret(graph, values, stepContext(SEED, p, p, 0));
  });
}

/** Undefined if all is well, else what is not. */
function difference(got: readonly number[], expected: Value, { relative, absolute }: Tolerance): string | undefined {
  if (got.length !== expected.length) return `${expected.length} numbers expected, got ${got.length}`;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [got[i], expected[i]];
    if (Number.isNaN(b) ? Number.isNaN(a) : a === b) continue;
    if (Math.abs(a - b) <= absolute + relative * Math.abs(b)) continue;
    return `element ${i}: expected ${b}, got ${a}`;
  }
  return undefined;
}

const SUMS: readonly OpName[] = ['matmul', 'reduceSum', 'scatterAdd', 'foldWindows'];
const FUNCTIONS: readonly OpName[] = [
  ...(['exp', 'expm1', 'log', 'log1p', 'rsqrt', 'sin', 'cos', 'atan', 'tanh', 'sigmoid', 'pow', 'atan2'] as const),
];

/** What is wrong with a node's value, given its operands' values as the engine computed them. */
function localDifference(
  { nodes }: Graph,
  id: ValueId,
  particle: number,
  computed: ReadonlyMap<ValueId, readonly number[]>,
): string | undefined {
  const node = nodes[id];
  const b = new GraphBuilder('node');
  const feeds: Value[] = [];
  const operands = node.inputs.map((input): ValueId => {
    const { op, type, attributes } = nodes[input];
    if (op === 'table') return b.emit<OpName>(op, [], attributes);
    const values = computed.get(input)!;
    if (type.dtype === 'uint8') {
      // No input is uint8.
      return b.table({
        name: 'u',
        values: Uint8Array.from(values),
        dtype: 'uint8',
        rows: type.shape[0],
        rowShape: type.shape.slice(1),
      });
    }
    feeds.push(
      type.dtype === 'float32'
        ? Float64Array.from(values)
        : type.dtype === 'int32'
          ? Int32Array.from(values)
          : Uint8Array.from(values),
    );
    return b.input(`x${feeds.length}`, type);
  });
  const graph = b.finish([b.emit<OpName>(node.op, operands, node.attributes)]);
  const context = stepContext(SEED, particle, particle, 0);
  const [expected] = interpret(graph, feeds, context, { floats: 'float32' });
  const got = computed.get(id)!;
  if (!SUMS.includes(node.op) || node.type.dtype !== 'float32') {
    const drawsNormals = node.op === 'random' && node.attributes.distribution.name === 'normal';
    if (drawsNormals) return difference(got, expected, NORMALS);
    const erf: Tolerance = { relative: 2 ** -21, absolute: 2e-7 };
    return difference(got, expected, node.op === 'erf' ? erf : FUNCTIONS.includes(node.op) ? LIBRARY : EXACT);
  }
  // A sum of n terms of either sign: n roundings of at most Σ|terms| (Higham 2002, eq. 3.5).
  const sizes = interpret(
    graph,
    feeds.map((feed) => (feed instanceof Float64Array ? feed.map(Math.abs) : feed)),
    context,
  )[0];
  for (let i = 0; i < got.length; i++) {
    // A partial sum may overflow where the whole does not.
    if (sizes[i] > 3e38 && !Number.isFinite(got[i])) continue;
    const absolute = 64 * 2 ** -24 * sizes[i];
    const reason = difference([got[i]], Float64Array.of(expected[i]), {
      relative: 0,
      absolute: Number.isFinite(absolute) ? absolute : 0,
    });
    if (reason !== undefined) return `at ${i}: ${reason}`;
  }
  return undefined;
}

/** The case with integers that float32 holds, and whose products it holds. */
function withSmallIntegers(opCase: OpCase): OpCase {
  const operands = opCase.operands.map((operand) =>
    operand.type.dtype === 'int32' ? { ...operand, values: operand.values.map((x) => x % 4000) } : operand,
  );
  return { ...opCase, operands };
}

/** Of its inputs, which come in two halves, and of its outputs. */
function numbersOf({ nodes, inputs, outputs }: Graph): number {
  const sum = (ids: readonly ValueId[]): number => ids.reduce((total, id) => total + sizeOf(nodes[id].type.shape), 0);
  return 2 * sum(inputs) + sum(outputs);
}

/** Neighbours, at most `count` and of at most so many numbers together; one that has more stands alone. */
function batched<T extends Fed>(all: readonly T[], count: number, numbers: number): T[][] {
  const batches: T[][] = [];
  let held = Infinity;
  for (const one of all) {
    const more = numbersOf(one.graph);
    const last = batches.at(-1);
    if (last === undefined || last.length === count || held + more > numbers) {
      batches.push([one]);
      held = more;
    } else {
      last.push(one);
      held += more;
    }
  }
  return batches;
}

/** Ops that the cases cover. */
export const COVERED_OPS: ReadonlySet<OpName> = new Set(CASES.map(({ op }) => op));

/** Every op on every engine, against the interpreter; and random graphs. */
export function opSuite(engines: readonly EngineUnderTest[]): void {
  describe.each(engines)('$name', ({ name, open, exact, smallIntegers, compiled, together = 24, most = Infinity }) => {
    let engine: GraphEngine;
    const computed = new Map<OpCase, number[][][]>();
    const listedCases = CASES.map((listed): Fed & { readonly listed: OpCase } => {
      const opCase = smallIntegers === true ? withSmallIntegers(listed) : listed;
      // float32 is what θ carries.
      const feeds = opCase.operands.map(({ values, type }) =>
        type.dtype === 'float32' ? values.map(Math.fround) : [...values],
      );
      return { listed, graph: graphOfCase(opCase), feeds };
    }).filter(({ graph }) => numbersOf(graph) <= most);
    beforeAll(async () => {
      engine = await open();
      for (const batch of compiled === true ? batched(listedCases, together, most / 4) : []) {
        const results = await runTogether(engine, batch);
        batch.forEach(({ listed }, i) => computed.set(listed, results[i]));
      }
    }, 3_600_000);
    afterAll(() => engine.dispose());

    const groups = [...new Set(CASES.map(({ op }) => op))].map((op) => ({
      op,
      cases: listedCases.filter(({ listed }) => listed.op === op),
    }));
    test.each(groups)('$op', async ({ cases }) => {
      for (const { listed, graph, feeds } of cases) {
        const got = computed.get(listed) ?? (await runOn(engine, graph, feeds));
        const expected = expectedOf(graph, feeds);
        const tolerance = exact
          ? EXACT
          : compiled === true && listed.label?.includes('normal') === true
            ? NORMALS
            : listed.tolerance;
        const wrong = got.flatMap((byParticle, output) =>
          byParticle.flatMap((numbers, p) => {
            const reason = difference(numbers, expected[p][output], tolerance);
            return reason === undefined
              ? []
              : [`${listed.label ?? listed.op}, output ${output}, particle ${p}: ${reason}`];
          }),
        );
        expect(wrong).toEqual([]);
      }
    });

    /** As many graphs at a time as one program should hold; a failure shrinks to the one that fails. */
    const batches = (graphs: fc.Arbitrary<RandomGraph>, runs: number) => {
      const length = compiled === true ? Math.ceil(together / 2) : 1;
      const options = { minLength: 1, maxLength: length, size: 'max' } as const;
      return { of: fc.array(graphs, options), numRuns: Math.ceil(runs / length) };
    };
    const fed = ({ graph, feeds }: { graph: Graph; feeds: readonly Value[] }): Fed => ({
      graph,
      feeds: feeds.map((feed) => [...feed]),
    });

    test('random graphs', async () => {
      const { of, numRuns } = batches(randomGraphs({ domain: 'tame' }), 60);
      await fc.assert(
        fc.asyncProperty(of, async (graphs) => {
          const all = graphs.map(fed);
          const got = await runTogether(engine, all);
          // 24 ops in a row, each a few units in the last place of a number of at most a few hundred.
          const tolerance = exact ? EXACT : { relative: 1e-4, absolute: 1e-4 };
          for (const [g, { graph, feeds }] of all.entries()) {
            const expected = expectedOf(graph, feeds);
            for (const [output, byParticle] of got[g].entries()) {
              for (const [p, row] of byParticle.entries()) {
                expect(difference(row, expected[p][output], tolerance)).toBeUndefined();
              }
            }
          }
        }),
        { seed: 20260731, numRuns },
      );
    }, 300_000);

    if (compiled === true) {
      test('random graphs of longer axes', async () => {
        const { of, numRuns } = batches(randomGraphs({ domain: 'tame', long: true }), 96);
        await fc.assert(
          fc.asyncProperty(of, async (graphs) => {
            const all = graphs.map(fed);
            const got = await runTogether(engine, all);
            for (const [g, { graph, feeds }] of all.entries()) {
              const expected = expectedOf(graph, feeds);
              for (const [output, byParticle] of got[g].entries()) {
                for (const [p, row] of byParticle.entries()) {
                  // As above, and sums of up to 17³ terms.
                  const tolerance = { relative: 1e-3, absolute: 1e-3 };
                  expect(difference(row, expected[p][output], tolerance)).toBeUndefined();
                }
              }
            }
          }),
          { seed: 20261123, numRuns },
        );
      }, 300_000);
    }

    /**
     * NaN, infinities, −0 and int32 overflow, deep in graphs: every node is an output, and is held against the
     * interpreter's float32 on the operands that the engine itself computed, so that errors do not add up. Of the engines
     * that round as the host does: not of float64, nor of kernels whose NaN and integers are TensorFlow's.
     */
    if (!['tfjs:cpu', 'tfjs:wasm'].includes(name) && compiled !== true) return;
    test('random graphs of any numbers, node by node', async () => {
      const { of, numRuns } = batches(randomGraphs({ domain: 'any', maxOps: 24 }), compiled === true ? 120 : 250);
      await fc.assert(
        fc.asyncProperty(of, async (randoms) => {
          const all = randoms.map(({ graph, feeds }) => {
            const outputs = graph.nodes.flatMap(({ op }, id) => (op === 'input' || op === 'table' ? [] : [id]));
            return fed({ graph: { ...graph, outputs }, feeds });
          });
          const got = await runTogether(engine, all);
          const wrong = all.flatMap(({ graph, feeds }, g) =>
            [...ALL].flatMap((p) => {
              const values = new Map<ValueId, readonly number[]>();
              graph.inputs.forEach((id, i) => values.set(id, turned(feeds[i], p)));
              graph.outputs.forEach((id, i) => values.set(id, got[g][i][p]));
              return graph.outputs.flatMap((id) => {
                const reason = localDifference(graph, id, p, values);
                return reason === undefined ? [] : [`${printGraph(graph)} %${id} (${graph.nodes[id].op}): ${reason}`];
              });
            }),
          );
          expect(wrong).toEqual([]);
        }),
        { seed: 20260732, numRuns },
      );
    }, 300_000);
  });
}
