/** Rendered C against the nest interpreter, for every instruction set that this machine runs. */
import {
  add,
  across,
  addIndex,
  binary,
  convert,
  f32,
  fma,
  gather,
  i32,
  index,
  loadScalar,
  loadVector,
  maskLiteral,
  mul,
  mulHigh,
  NestBuilder,
  position,
  ramp,
  read,
  scaleIndex,
  select,
  shift,
  u32,
  unary,
} from '../../src/engines/native/nest/builder';
import type {
  BinaryOp,
  BufferParameter,
  Expr,
  Index,
  Kernel,
  MemoryType,
  RegisterType,
  ScalarParameter,
  UnaryOp,
} from '../../src/engines/native/nest/ir';
import { typeOf } from '../../src/engines/native/nest/types';
import { bits, normals } from '../../src/random';
import { CPrograms, type CTarget } from '../support/c-program';
import { CompiledNests, type NestCase } from '../support/nest-compiled';
import { runNest } from '../support/nest-interpreter';

const programs = new CPrograms();
afterAll(() => {
  programs.dispose();
});

/** The portable form of the widest vectors, too, in fewer cases: it is what a new instruction set starts from. */
const TARGETS: readonly (CTarget & { readonly fewer?: boolean })[] = [
  ...programs.targets,
  { ...programs.targets[2], name: 'no flags, 16 lanes', lanes: 16, fewer: true },
];

const MAX = 3.4028234663852886e38;
const SUBNORMAL = 2 ** -149;
const FLOATS = [
  ...[0, SUBNORMAL, 2 ** -130, 2 ** -126, 1e-20, 0.1, 0.49999997, 0.5, 0.75, 1, 1.5, 2, 2.5, 3.5, 7, 1e3],
  ...[2 ** 22 + 0.5, 2 ** 23 - 0.5, 2 ** 23 + 1, 2 ** 24 + 2, 2 ** 31, 2 ** 32, 1e20, MAX, Infinity],
].flatMap((x) => [x, -x]);
const FLOAT_EDGES = Float32Array.from([...FLOATS, NaN, -2147483904, 2147483520, 0.3, -0.7, 12.25, -100.5]);
const INT_EDGES = Int32Array.from([
  ...[0, 1, -1, 2, -2, 3, 7, -7, 10, -10, 100, 255, 65536, -65537, 1 << 30, -(1 << 30)],
  ...[2147483647, 2147483646, -2147483648, -2147483647, 46341, -46341, 16777217, 123456789],
]);

/** All pairs, as two arrays whose length is a multiple of 16. */
function pairsOf<T extends Float32Array | Int32Array>(edges: T): [T, T] {
  const length = Math.ceil(edges.length ** 2 / 16) * 16;
  const make = (at: (i: number) => number): T => {
    const out = (edges instanceof Float32Array ? new Float32Array(length) : new Int32Array(length)) as T;
    for (let i = 0; i < length; i++) out[i] = edges[at(i) % edges.length];
    return out;
  };
  return [make((i) => i), make((i) => Math.floor(i / edges.length))];
}

function memoryOf(type: RegisterType): MemoryType {
  return type === 'f32' ? 'f32' : type === 'mask' ? 'u8' : 'i32';
}

function arrayFor(memory: MemoryType, length: number): Float32Array | Int32Array | Uint8Array {
  return memory === 'f32'
    ? new Float32Array(length)
    : memory === 'i32'
      ? new Int32Array(length)
      : new Uint8Array(length);
}

/**
 * A kernel that writes of(operands) twice: vector by vector into its first result, number by number into its second.
 * u32 operands and results lie in i32 memory with the same bits.
 */
function elementwise(
  name: string,
  operands: readonly { readonly type: RegisterType; readonly data: Float32Array | Int32Array | Uint8Array }[],
  lanes: number,
  of: (...operands: Expr[]) => Expr,
): NestCase {
  const { length } = operands[0].data;
  const operandMemory = operands.map(({ type }) => memoryOf(type));
  const nest = new NestBuilder();
  const loaded = (at: Index, wide: boolean): Expr[] =>
    operands.map(({ type }, i) => {
      const memory = operandMemory[i];
      const value = wide ? loadVector(`a${i}`, memory, at) : loadScalar(`a${i}`, memory, at);
      return convert(type, value);
    });
  const stored = (value: Expr): Expr => (typeOf(value).type === 'u32' ? convert('i32', value) : value);
  let memory: MemoryType = 'f32';
  nest.loop(
    length,
    (i) => {
      const value = stored(of(...loaded(i, true)));
      memory = memoryOf(typeOf(value).type);
      nest.storeVector('vectors', memory, i, value);
    },
    { step: lanes },
  );
  nest.loop(length, (i) => {
    nest.storeScalar('scalars', memory, i, stored(of(...loaded(i, false))));
  });
  const kernel = nest.kernel({
    name,
    buffers: [
      ...operands.map((_, i) => ({ name: `a${i}`, memory: operandMemory[i], written: false })),
      { name: 'vectors', memory, written: true },
      { name: 'scalars', memory, written: true },
    ],
  });
  return { kernel, buffers: [...operands.map(({ data }) => data), arrayFor(memory, length), arrayFor(memory, length)] };
}

type Same = 'bits' | 'number' | 'near';
interface Row {
  readonly test: NestCase;
  /** bits: all bits (of any NaN one). number: the sign of zero is unspecified. near: within 4 ulp, rest in math.test.ts. */
  readonly same: Same;
}

const EXACT_UNARY: readonly UnaryOp[] = ['neg', 'abs', 'floor', 'ceil', 'round', 'sqrt', 'isNan', 'isFinite'];
const NEAR_UNARY: readonly UnaryOp[] = [
  ...(['exp', 'expm1', 'log', 'log1p', 'rsqrt', 'sin', 'cos', 'atan', 'tanh', 'sigmoid', 'erf'] as const),
];
const COMPARISONS: readonly BinaryOp[] = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'];

function rows(lanes: number): Row[] {
  const [x, y] = pairsOf(FLOAT_EDGES);
  const [i, j] = pairsOf(INT_EDGES);
  const third = x.map((_, at) => FLOAT_EDGES[(at * 7) % FLOAT_EDGES.length]);
  const truth = Uint8Array.from(x, (_, at) => at & 1);
  const other = Uint8Array.from(x, (_, at) => (at >> 1) & 1);
  const float = { type: 'f32', data: x } as const;
  const second = { type: 'f32', data: y } as const;
  const int = { type: 'i32', data: i } as const;
  const secondInt = { type: 'i32', data: j } as const;
  const word = { type: 'u32', data: i } as const;
  const secondWord = { type: 'u32', data: j } as const;
  const mask = { type: 'mask', data: truth } as const;
  const secondMask = { type: 'mask', data: other } as const;
  const signs = Int32Array.from(x, (_, at) => (at % 3) - 1);
  const out: Row[] = [];
  const put = (
    same: Same,
    name: string,
    operands: Parameters<typeof elementwise>[1],
    of: (...operands: Expr[]) => Expr,
  ): void => {
    out.push({ same, test: elementwise(name, operands, lanes, of) });
  };
  // A mask operand is loaded as an i32 and converted; a mask result is stored as u8.
  for (const op of EXACT_UNARY) put('bits', `${op} f32`, [float], (a) => unary(op, a));
  for (const op of ['neg', 'abs', 'sign'] as const) put('bits', `${op} i32`, [int], (a) => unary(op, a));
  put('number', 'sign f32', [float], (a) => unary('sign', a));
  put('bits', 'not', [mask], (a) => unary('not', a));
  for (const op of NEAR_UNARY) put('near', op, [float], (a) => unary(op, a));
  for (const op of ['add', 'sub', 'mul', 'div', 'mod'] as const) {
    put('bits', `${op} f32`, [float, second], (a, b) => binary(op, a, b));
    put('bits', `${op} i32`, [int, secondInt], (a, b) => binary(op, a, b));
  }
  for (const op of ['max', 'min'] as const) {
    put('number', `${op} f32`, [float, second], (a, b) => binary(op, a, b));
    put('bits', `${op} i32`, [int, secondInt], (a, b) => binary(op, a, b));
    // With an operand that cannot be NaN.
    for (const number of [-0.5, Infinity]) {
      put('number', `${op} f32, ${number}`, [float], (a) => binary(op, a, f32(number)));
      put('number', `${op} ${number}, f32`, [float], (a) => binary(op, f32(number), a));
    }
    put('number', `${op} f32, NaN`, [float], (a) => binary(op, a, f32(NaN)));
    put('number', `${op} f32, i32`, [float, { type: 'i32', data: signs }], (a, b) => binary(op, a, convert('f32', b)));
  }
  for (const op of ['add', 'sub', 'mul'] as const)
    put('bits', `${op} u32`, [word, secondWord], (a, b) => binary(op, a, b));
  for (const op of COMPARISONS) {
    put('bits', `${op} f32`, [float, second], (a, b) => binary(op, a, b));
    put('bits', `${op} i32`, [int, secondInt], (a, b) => binary(op, a, b));
    put('bits', `${op} u32`, [word, secondWord], (a, b) => binary(op, a, b));
  }
  for (const op of ['and', 'or', 'xor'] as const) {
    put('bits', `${op} mask`, [mask, secondMask], (a, b) => binary(op, a, b));
    put('bits', `${op} i32`, [int, secondInt], (a, b) => binary(op, a, b));
    put('bits', `${op} u32`, [word, secondWord], (a, b) => binary(op, a, b));
  }
  put('near', 'atan2', [float, second], (a, b) => binary('atan2', a, b));
  put(
    'near',
    'pow',
    [
      { type: 'f32', data: x.map(Math.abs) },
      { type: 'f32', data: y.map((b) => b % 3) },
    ],
    (a, b) => binary('pow', a, b),
  );
  put('bits', 'fma', [float, second, { type: 'f32', data: third }], (a, b, c) => fma(a, b, c));
  put('bits', 'select f32', [mask, float, second], (c, a, b) => select(c, a, b));
  put('bits', 'select mask', [mask, secondMask, { type: 'mask', data: other.map((b) => 1 - b) }], (c, a, b) =>
    select(c, a, b),
  );
  const intTruth = { type: 'mask', data: truth.subarray(0, i.length) } as const;
  put('bits', 'select i32', [intTruth, int, secondInt], (c, a, b) => select(c, a, b));
  put('bits', 'select u32', [intTruth, word, secondWord], (c, a, b) => select(c, a, b));
  put('bits', 'f32 to i32', [float], (a) => convert('i32', a));
  put('bits', 'f32 to mask', [float], (a) => convert('mask', a));
  put('bits', 'i32 to f32', [int], (a) => convert('f32', a));
  put('bits', 'i32 to mask', [int], (a) => convert('mask', a));
  put('bits', 'u32 to f32', [word], (a) => convert('f32', a));
  put('bits', 'mask to f32', [mask], (a) => convert('f32', a));
  put('bits', 'mask to i32', [mask], (a) => convert('i32', a));
  for (const by of [0, 1, 13, 31]) {
    put('bits', `left ${by}`, [word], (a) => shift('left', by, a));
    put('bits', `right ${by}`, [word], (a) => shift('right', by, a));
  }
  put('bits', 'mulHigh', [word, secondWord], (a, b) => mulHigh(a, b));
  // Scalars stand for all lanes.
  put('bits', 'splat left f32', [float], (a) => binary('sub', f32(0.1), a));
  put('bits', 'splat right f32', [float], (a) => binary('div', a, f32(-3)));
  put('bits', 'splat f32 to fma', [float, second], (a, b) => fma(a, f32(SUBNORMAL), b));
  put('bits', 'splat i32', [int], (a) => binary('mod', a, i32(-7)));
  put('bits', 'splat u32', [word], (a) => binary('xor', u32(0xdeadbeef), a));
  put('bits', 'splat mask', [mask], (a) => binary('or', a, maskLiteral(false)));
  put('bits', 'splat in select', [float], (a) => select(binary('gt', a, f32(0)), a, f32(-0)));
  for (const [n, value] of [NaN, Infinity, -Infinity, -0, MAX, SUBNORMAL, -(2 ** -126), 0.1, 1e10, -3].entries()) {
    put('bits', `literal f32 ${n}`, [float], (a) => select(unary('isNan', a), a, f32(value)));
  }
  put('bits', 'literal i32', [int], (a) => add(a, i32(-2147483648)));
  return out;
}

/** Of what a literal kernel returns a scalar is stored to vectors, too. */
function same(kind: Same, got: number, expected: number): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(got);
  if (kind === 'bits') return Object.is(got, expected);
  if (got === expected) return true;
  // 4 ulp of a float32, and what float64 says where float32 has no normal number.
  return kind === 'near' && Math.abs(got - expected) <= Math.max(2 ** -21 * Math.abs(expected), 2 ** -126);
}

function bitsOf(data: NodeJS.TypedArray): Uint8Array | Uint32Array {
  if (!(data instanceof Float32Array)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  // One NaN for all.
  return new Uint32Array(data.map((x) => (Number.isNaN(x) ? NaN : x)).buffer);
}

function interpreted({ kernel, buffers, scalars = [] }: NestCase, lanes: number): NestCase['buffers'] {
  const copies = buffers.map((buffer) => buffer.slice());
  runNest(kernel, copies, scalars, { lanes });
  return copies;
}

const RANDOM_FLOATS = normals([3, 5], 512);

function filled(memory: MemoryType, length: number, from = 0): Float32Array | Int32Array | Uint8Array {
  const out = arrayFor(memory, length);
  for (let i = 0; i < length; i++) {
    out[i] =
      memory === 'f32' ? RANDOM_FLOATS[(from + i) % 512] : memory === 'i32' ? (i + from) * -0x1234567 : 255 - i - from;
  }
  return out;
}

/** Loads and stores the first `count` lanes; the buffers hold not one element more than those lanes. */
function lanesCase(memory: MemoryType, lanes: number, stride: number, count: number): NestCase {
  const length = (count - 1) * Math.abs(stride) + 1;
  const at = index(stride < 0 ? length - 1 : 0);
  const partial = count === lanes ? {} : { count };
  const nest = new NestBuilder();
  const value = nest.let(loadVector('from', memory, at, { stride, ...partial }));
  nest.storeVector('all', memory, index(), value);
  if (stride !== 0) nest.storeVector('to', memory, at, value, { stride, ...partial });
  return {
    kernel: nest.kernel({
      name: `${memory} by ${stride}, ${count}`,
      buffers: [
        { name: 'from', memory, written: false },
        { name: 'all', memory, written: true },
        ...(stride === 0 ? [] : [{ name: 'to', memory, written: true }]),
      ],
    }),
    buffers: [
      filled(memory, length),
      filled(memory, lanes, 50),
      ...(stride === 0 ? [] : [filled(memory, length, 100)]),
    ],
  };
}

/** Gathers what it scatters; places repeat, so that the order of the lanes shows. */
function offsetsCase(memory: MemoryType, lanes: number, count: number): NestCase {
  const places = Int32Array.from({ length: lanes }, (_, l) => (l < count ? [3, 0, 5, 3, -2, 9, 9, 1][l % 8] : 1 << 28));
  const nest = new NestBuilder();
  const offsets = nest.let(loadVector('places', 'i32', index()));
  const partial = count === lanes ? undefined : count;
  nest.storeVector('all', memory, index(), gather('from', memory, index(2), offsets, partial));
  const value = memory === 'f32' ? convert('f32', ramp()) : add(ramp(), i32(1));
  nest.scatter('to', memory, index(2), offsets, value, partial);
  return {
    kernel: nest.kernel({
      name: `offsets ${memory} ${count}`,
      buffers: [
        { name: 'from', memory, written: false },
        { name: 'places', memory: 'i32', written: false },
        { name: 'to', memory, written: true },
        { name: 'all', memory, written: true },
      ],
    }),
    buffers: [filled(memory, 12), places, filled(memory, 12, 100), filled(memory, lanes)],
  };
}

/** Masks to every memory, by vectors and by numbers. */
function maskStores(lanes: number): NestCase {
  const nest = new NestBuilder();
  const memories = ['f32', 'i32', 'u8'] as const;
  const mask = binary('lt', loadVector('from', 'f32', index()), f32(0));
  for (const memory of memories) {
    nest.storeVector(memory, memory, index(), mask);
    nest.storeVector(memory, memory, index(lanes), mask, { count: 3 });
    nest.storeVector(memory, memory, index(lanes + 3), mask, { stride: 2, count: 3 });
    nest.storeVector(memory, memory, index(lanes + 8), maskLiteral(true), { count: 2 });
    nest.storeScalar(memory, memory, index(lanes + 10), binary('lt', loadScalar('from', 'f32', index()), f32(0)));
  }
  nest.storeScalar('u8', 'u8', index(lanes + 11), i32(200));
  return {
    kernel: nest.kernel({
      name: 'mask stores',
      buffers: [
        { name: 'from', memory: 'f32', written: false },
        ...memories.map((memory) => ({ name: memory, memory, written: true })),
      ],
    }),
    buffers: [filled('f32', lanes), ...memories.map((memory) => filled(memory, lanes + 12))],
  };
}

/** Every op across every count of lanes; the lanes behind hold a NaN (or the extreme int32), which must not be seen. */
function acrossCase(lanes: number, type: 'f32' | 'i32', nanAt?: number): NestCase {
  const nest = new NestBuilder();
  let at = 0;
  for (const op of ['sum', 'max', 'min'] as const) {
    for (let count = 1; count <= lanes; count++) {
      const from = loadVector('from', type, index((count - 1) * lanes));
      nest.storeScalar('to', type, index(at++), across(op, from, count === lanes ? undefined : count));
    }
  }
  const from = filled(type, lanes * lanes);
  for (let count = 1; count < lanes; count++) {
    from.fill(type === 'f32' ? NaN : 2147483647, (count - 1) * lanes + count, count * lanes);
    if (nanAt !== undefined && nanAt < count) from[(count - 1) * lanes + nanAt] = NaN;
  }
  return {
    kernel: nest.kernel({
      name: `across ${type} ${nanAt ?? ''}`,
      buffers: [
        { name: 'from', memory: type, written: false },
        { name: 'to', memory: type, written: true },
      ],
    }),
    buffers: [from, arrayFor(type, 3 * lanes)],
  };
}

function sumsCase(lanes: number): NestCase {
  const nest = new NestBuilder();
  for (let count = 1; count <= 4; count++) {
    const parts = Array.from({ length: count }, (_, part) => loadVector('from', 'f32', index(part * lanes)));
    nest.storeVector('to', 'f32', index((count - 1) * lanes), { kind: 'sums', parts });
  }
  return {
    kernel: nest.kernel({
      name: 'sums',
      buffers: [
        { name: 'from', memory: 'f32', written: false },
        { name: 'to', memory: 'f32', written: true },
      ],
    }),
    buffers: [filled('f32', 4 * lanes), new Float32Array(4 * lanes)],
  };
}

function transposeCase(rows: number, columns: number): NestCase {
  const nest = new NestBuilder();
  nest.append({
    kind: 'transpose',
    from: { buffer: 'from', index: index(), stride: columns + 3 },
    to: { buffer: 'to', index: index(1), stride: rows + 2 },
    rows,
    columns,
  });
  return {
    kernel: nest.kernel({
      name: `transpose ${rows} ${columns}`,
      buffers: [
        { name: 'from', memory: 'f32', written: false },
        { name: 'to', memory: 'f32', written: true },
      ],
    }),
    buffers: [
      filled('f32', (rows - 1) * (columns + 3) + columns),
      filled('f32', 1 + (columns - 1) * (rows + 2) + rows, 200),
    ],
  };
}

const BUFFERS: readonly BufferParameter[] = [
  { name: 'in', memory: 'f32', written: false },
  { name: 'out', memory: 'f32', written: true },
];

/** All kinds of statements, with names that C reserves. */
function statementsCase(lanes: number): NestCase {
  const inner = new NestBuilder();
  inner.storeScalar('out', 'f32', index(), mul(read('scale', 'f32', 'scalar'), loadScalar('in', 'f32', index())));
  inner.storeScalar('out', 'f32', index(1), convert('f32', read('whole', 'i32', 'scalar')));
  inner.storeScalar('out', 'f32', index(2), convert('f32', read('word', 'u32', 'scalar')));
  const scalars: ScalarParameter[] = [
    { name: 'scale', type: 'f32' },
    { name: 'whole', type: 'i32' },
    { name: 'word', type: 'u32' },
  ];
  const callee = inner.kernel({ name: 'callee', buffers: BUFFERS, scalars });
  const small: Kernel = { ...callee, name: 'small one', inline: true };

  const nest = new NestBuilder();
  nest.note('a note that ends in a backslash \\\nand goes on */ // here \\');
  const local = nest.local('f32', 3 * lanes, 'float');
  nest.loop(3 * lanes, (i) => {
    nest.storeScalar(local, 'f32', i, mul(f32(0.5), convert('f32', position(addIndex(scaleIndex(i, -3), index(7))))));
  });
  // A sum in vectors, over a step that does not divide the extent.
  const sum = nest.var(f32(1), 'vector', 'int');
  nest.loop(
    2 * lanes + 1,
    (i) => {
      nest.set(sum, add(sum, loadVector(local, 'f32', scaleIndex(i, 1), { count: 1 })));
    },
    { step: lanes - 1, prefix: 'for' },
  );
  nest.storeVector('out', 'f32', index(), sum);
  nest.set(sum, f32(-2));
  nest.storeVector('out', 'f32', index(lanes), sum);
  // Written out: two in each other, one with a step; and one too long to be.
  const total = nest.var(f32(0));
  const unrolled = { unroll: true };
  nest.loop(
    3,
    (i) => {
      nest.loop(
        5,
        (j) => {
          const x = nest.let(loadScalar(local, 'f32', addIndex(scaleIndex(i, 2), j)));
          nest.when(binary('gt', x, f32(0)), () => {
            nest.set(total, add(mul(total, f32(1.5)), x));
          });
        },
        { ...unrolled, step: 2 },
      );
    },
    unrolled,
  );
  nest.loop(
    5000,
    (i) => {
      nest.set(total, add(total, convert('f32', position(i))));
    },
    unrolled,
  );
  nest.storeScalar('out', 'f32', index(2 * lanes), total);
  // The extent is a parameter; a let is part of an index.
  nest.loop('rows', (i) => {
    const row = nest.letIndex(binary('mod', mul(position(i), i32(5)), i32(3)));
    nest.storeScalar('out', 'f32', addIndex(index(2 * lanes + 1), row), convert('f32', position(i)));
  });
  nest.loop('none', () => {
    nest.storeScalar('out', 'f32', index(1 << 20), f32(0));
  });
  nest.prefetch('in', index(1 << 20));
  nest.prefetch('out', index(-64), true);
  const whole = read('rows', 'i32', 'scalar');
  for (const [n, kernel] of [callee, small, callee].entries()) {
    nest.call(
      kernel,
      [
        { buffer: 'in', index: index(n) },
        { buffer: 'out', index: index(2 * lanes + 4 + 3 * n) },
      ],
      [f32(0.1), binary('sub', whole, i32(n)), u32(4000000000)],
    );
  }
  return {
    kernel: nest.kernel({
      name: 'statements: all',
      buffers: BUFFERS,
      scalars: [
        { name: 'rows', type: 'i32' },
        { name: 'none', type: 'i32' },
      ],
    }),
    buffers: [filled('f32', 3), new Float32Array(2 * lanes + 13)],
    scalars: [7, 0],
  };
}

/** Words of blocks 0, 1, …, by lanes and one by one, and the normals of both. */
function drawCase(lanes: number): NestCase {
  const blocks = 2 * lanes;
  const nest = new NestBuilder();
  const key = [read('key0', 'u32', 'scalar'), read('key1', 'u32', 'scalar')] as const;
  nest.loop(
    blocks,
    (i) => {
      const counter = convert('u32', add(ramp(), position(i)));
      const words = nest.threefry(key, [counter, u32(0)], 'vector');
      const drawn = nest.normals(words, 'vector');
      words.forEach((word, n) => {
        nest.storeVector('words', 'i32', addIndex(i, index(n * blocks)), convert('i32', word));
        nest.storeVector('normals', 'f32', addIndex(i, index(n * blocks)), drawn[n]);
      });
    },
    { step: lanes },
  );
  nest.loop(blocks, (i) => {
    const words = nest.threefry(key, [convert('u32', position(i)), u32(0)], 'scalar');
    const drawn = nest.normals(words, 'scalar');
    words.forEach((word, n) => {
      nest.storeScalar('words', 'i32', addIndex(i, index((2 + n) * blocks)), convert('i32', word));
      nest.storeScalar('normals', 'f32', addIndex(i, index((2 + n) * blocks)), drawn[n]);
    });
  });
  return {
    kernel: nest.kernel({
      name: 'draws',
      buffers: [
        { name: 'words', memory: 'i32', written: true },
        { name: 'normals', memory: 'f32', written: true },
      ],
      scalars: [
        { name: 'key0', type: 'u32' },
        { name: 'key1', type: 'u32' },
      ],
    }),
    buffers: [new Int32Array(4 * blocks), new Float32Array(4 * blocks)],
    scalars: [0xfedcba98, 0x13572468],
  };
}

function memoryRows(lanes: number, fewer: boolean): Row[] {
  const cases: NestCase[] = [maskStores(lanes), statementsCase(lanes)];
  for (const memory of ['f32', 'i32', 'u8'] as const) {
    for (let count = 1; count <= lanes; count += fewer ? 5 : 1) {
      cases.push(lanesCase(memory, lanes, 1, count));
    }
    for (const count of [1, lanes - 1, lanes]) {
      for (const stride of [3, -2, 0]) cases.push(lanesCase(memory, lanes, stride, count));
      cases.push(offsetsCase(memory, lanes, count));
    }
  }
  cases.push(acrossCase(lanes, 'f32'), acrossCase(lanes, 'i32'), acrossCase(lanes, 'f32', 2));
  for (const [rows, columns] of [
    [lanes, lanes],
    [1, 1],
    [3, lanes],
    [lanes, 3],
    [lanes - 1, lanes - 1],
    [1, lanes],
    [2, 1],
  ]) {
    cases.push(transposeCase(rows, columns));
  }
  return cases.map((test) => ({ test, same: 'bits' }));
}

function differences({ test, same: kind }: Row, got: NestCase['buffers'], lanes: number): string[] {
  const expected = interpreted(test, lanes);
  return test.kernel.buffers.flatMap(({ name }, b) =>
    Array.from(expected[b], (x, at) => ({ x, y: got[b][at], at }))
      .filter(({ x, y }) => !same(kind, y, x))
      .slice(0, 4)
      .map(({ x, y, at }) => {
        const operands = test.buffers.slice(0, b).map((operand) => operand[at]);
        return `${test.kernel.name}: ${name}[${at}] = ${y}, expected ${x} (${operands.join(', ')})`;
      }),
  );
}

describe.each(TARGETS)('C for $name', ({ flags, lanes, compiles, runs, fewer = false }) => {
  const elementwiseRows = rows(lanes).filter(({ same: kind }) => !fewer || kind !== 'near');
  const all: Row[] = [...elementwiseRows, ...memoryRows(lanes, fewer)];
  const draws = drawCase(lanes);
  const sums = sumsCase(lanes);
  const cases = [...all.map(({ test }) => test), draws, sums];
  const it = compiles ? test : test.skip;
  const onIt = compiles && runs ? test : test.skip;
  let built: CompiledNests | undefined;
  const nests = (): CompiledNests => {
    if (built === undefined) throw new Error('it did not compile');
    return built;
  };

  // What a processor cannot run is compiled all the same.
  it('compiles without a warning', () => {
    built = new CompiledNests(programs, { flags, lanes }, cases, !runs);
  });

  onIt('gives what the nest interpreter gives, and touches nothing else', () => {
    const got = nests().run();
    expect(all.flatMap((row, i) => differences(row, got[i], lanes))).toEqual([]);
  });

  onIt.each([false, true])('gives a number the bits of a lane (subnormals flushed: %s)', (flush) => {
    const got = nests().run({ flush });
    const names = elementwiseRows.flatMap(({ test: { kernel } }, i) => {
      const [vectors, numbers] = got[i].slice(-2).map(bitsOf);
      const at = vectors.findIndex((word, e) => word !== numbers[e]);
      return at < 0 ? [] : [`${kernel.name} at ${at}: ${got[i].map((buffer) => buffer[at]).join(', ')}`];
    });
    expect(names).toEqual([]);
  });

  onIt('draws the words of src/random, and normals of them', () => {
    const [words, drawn] = nests().run()[all.length];
    const blocks = 2 * lanes;
    const expected = bits([0xfedcba98, 0x13572468], 2 * blocks);
    const normal = normals([0xfedcba98, 0x13572468], 2 * blocks);
    for (let b = 0; b < blocks; b++) {
      for (const n of [0, 1]) {
        expect(words[n * blocks + b] >>> 0).toBe(expected[2 * b + n]);
        expect(words[(2 + n) * blocks + b] >>> 0).toBe(expected[2 * b + n]);
        // Their accuracy is the business of math.test.ts; a wrong word would be off by far more.
        expect(Math.abs(drawn[n * blocks + b] - normal[2 * b + n])).toBeLessThan(1e-5);
        expect(drawn[(2 + n) * blocks + b]).toBe(drawn[n * blocks + b]);
      }
    }
  });

  onIt('sums several vectors at once', () => {
    const [from, to] = nests().run()[all.length + 1];
    for (let count = 1; count <= 4; count++) {
      for (let part = 0; part < lanes; part++) {
        const numbers = Array.from(from.subarray(part * lanes, (part + 1) * lanes));
        const exact = part < count ? numbers.reduce((sum, x) => sum + x, 0) : 0;
        // One rounding of at most 2⁻²⁴ of the sum of sizes for each addition that a number takes part in, fewer than lanes.
        const bound = lanes * 2 ** -24 * numbers.reduce((sum, x) => sum + Math.abs(x), 0);
        expect(Math.abs(to[(count - 1) * lanes + part] - exact)).toBeLessThanOrEqual(part < count ? bound : 0);
      }
    }
  });
});
