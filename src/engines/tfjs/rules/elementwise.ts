/** Rules of the elementwise ops: broadcasts stay lazy, neighbouring axes that broadcast alike are merged. */
import { sameShape, type NodeOf, type OpName, type Shape } from '../../../graph/ir';
import type { DeviceType, HostArray } from '../device';
import { deviceType } from '../device';
import { FLOAT_LOOPS, INT_LOOPS, selectLoop, UNARY_LOOPS, type BinaryName } from '../host/elementwise';
import { collapse, forEachRow, rowMajorStrides } from '../host/strided';
import { anyBatched, type Lowering, type Value } from '../lowering';
import type { Rule } from './rule';

/** Kernels of TensorFlow.js by op. */
const UNARY_KERNELS = {
  neg: 'Neg',
  abs: 'Abs',
  floor: 'Floor',
  ceil: 'Ceil',
  round: 'Round',
  exp: 'Exp',
  expm1: 'Expm1',
  log: 'Log',
  log1p: 'Log1p',
  sqrt: 'Sqrt',
  rsqrt: 'Rsqrt',
  sin: 'Sin',
  cos: 'Cos',
  atan: 'Atan',
  tanh: 'Tanh',
  sigmoid: 'Sigmoid',
  erf: 'Erf',
  isNan: 'IsNan',
  isFinite: 'IsFinite',
  not: 'LogicalNot',
} as const satisfies Partial<Record<OpName, string>>;

const BINARY_KERNELS: Readonly<Record<BinaryName, string>> = {
  add: 'Add',
  sub: 'Sub',
  mul: 'Multiply',
  div: 'RealDiv',
  mod: 'Mod',
  pow: 'Pow',
  atan2: 'Atan2',
  max: 'Maximum',
  min: 'Minimum',
  eq: 'Equal',
  ne: 'NotEqual',
  lt: 'Less',
  le: 'LessEqual',
  gt: 'Greater',
  ge: 'GreaterEqual',
  and: 'LogicalAnd',
  or: 'LogicalOr',
};

/** Ops whose wasm kernel is XNNPACK's: vectorised, broadcasting, right in every corner. */
const XNN: ReadonlySet<string> = new Set(['add', 'sub', 'mul', 'div']);

/** The extent of each axis of an elementwise result: 1 only where every operand repeats. */
function commonExtents(values: readonly Value[]): Shape {
  return values[0].shape.map((_, axis) =>
    values.reduce((extent, value) => (extent === 1 ? value.shape[axis] : extent), 1),
  );
}

interface Layout {
  readonly result: { readonly shape: Shape; readonly batched: boolean };
  /** Merged axes of the result. */
  readonly dims: readonly number[];
  /** Of each operand along them, 0 where it repeats. */
  readonly strides: readonly (readonly number[])[];
}

function layout(l: Lowering, values: readonly Value[]): Layout {
  const result = { shape: commonExtents(values), batched: anyBatched(values) };
  const dims = l.deviceShape(result);
  const strides = values.map((value) => {
    const shape = result.batched && !value.batched ? [1, ...value.shape] : l.deviceShape(value);
    return rowMajorStrides(shape).map((stride, axis) => (shape[axis] === dims[axis] ? stride : 0));
  });
  return { result, ...collapse(dims, strides) };
}

/** How a kernel sees an operand: the merged axes, without leading ones (a lone number has rank 0). */
function mergedShape(dims: readonly number[], strides: readonly number[]): number[] {
  const shape = dims.map((extent, axis) => (strides[axis] === 0 ? 1 : extent));
  const first = shape.findIndex((extent) => extent !== 1);
  return first < 0 ? [] : shape.slice(first);
}

/** Kernels of every backend broadcast arrays of up to so many axes. */
const KERNEL_RANK = 5;

const withoutLeadingOnes = (shape: Shape): Shape => {
  const first = shape.findIndex((extent) => extent !== 1);
  return first < 0 ? [] : shape.slice(first);
};

/** How opaque memory's kernels see an operand: as it was made, if it broadcasts as it should then, which saves a call. */
function shapeToBroadcast(l: Lowering, value: Value): Shape {
  const wanted = l.deviceShape(value);
  const { made } = l.buffers[value.buffer];
  return sameShape(withoutLeadingOnes(made), withoutLeadingOnes(wanted)) ? made : wanted;
}

/** The shape of a kernel's result: extents aligned at the end, the larger of 1 and n. */
function broadcastShape(a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const [x, y] = [a, b].map((shape) => (axis < rank - shape.length ? 1 : shape[axis - rank + shape.length]));
    return x === 1 ? y : x;
  });
}

export function binaryKernel(l: Lowering, kernel: string, a: Value, b: Value, dtype: DeviceType): Value {
  if (l.device.memory === undefined) {
    const shapes = { a: shapeToBroadcast(l, a), b: shapeToBroadcast(l, b) };
    const made = broadcastShape(shapes.a, shapes.b);
    const result = { shape: commonExtents([a, b]), batched: anyBatched([a, b]), dtype };
    if (made.length <= KERNEL_RANK) return l.kernel(kernel, { a, b }, {}, result, shapes, made);
  }
  const { result, dims, strides } = layout(l, [a, b]);
  const shapes = { a: mergedShape(dims, strides[0]), b: mergedShape(dims, strides[1]) };
  return l.kernel(kernel, { a, b }, {}, { ...result, dtype }, shapes, dims);
}

function hostRows(
  l: Lowering,
  label: string,
  values: readonly Value[],
  dtype: DeviceType,
  row: (
    out: HostArray,
    o: number,
    inputs: readonly HostArray[],
    at: readonly number[],
    steps: number[],
    n: number,
  ) => void,
): Value {
  const { result, dims, strides } = layout(l, values);
  const rank = dims.length;
  const count = rank === 0 ? 1 : dims[rank - 1];
  const steps = strides.map((operand) => (rank === 0 ? 0 : operand[rank - 1]));
  return l.host(label, values, { ...result, dtype }, (out, inputs) => {
    let o = 0;
    forEachRow(dims, 1, strides, (at) => {
      row(out, o, inputs, at, steps, count);
      o += count;
    });
  });
}

/** An elementwise op of two operands, by kernel or by loop. */
export function binary(l: Lowering, op: BinaryName, a: Value, b: Value, dtype: DeviceType): Value {
  const isFloat = a.dtype === 'float32';
  if (l.device.memory === undefined) {
    if ((op === 'div' || op === 'mod') && !isFloat) {
      const kernel = op === 'div' ? 'FloorDiv' : BINARY_KERNELS.mod;
      // TensorFlow's kernels raise an error for an integer divisor of 0; the quotient and the rest are 0 here.
      const isZero = binaryKernel(l, BINARY_KERNELS.eq, b, spread(l, 0, b), 'bool');
      const result = binaryKernel(l, kernel, a, select(l, isZero, spread(l, 1, b), b), dtype);
      return select(l, isZero, spread(l, 0, b), result);
    }
    const result = binaryKernel(l, BINARY_KERNELS[op], a, b, dtype);
    // C's pow(1, NaN) is 1.
    return op === 'pow' ? select(l, unaryKernel(l, 'IsNan', b, 'bool'), b, result) : result;
  }
  if (l.device.backendName === 'wasm' && isFloat && XNN.has(op) && layout(l, [a, b]).dims.length <= 6) {
    return binaryKernel(l, BINARY_KERNELS[op], a, b, dtype);
  }
  const loop = (isFloat ? FLOAT_LOOPS : INT_LOOPS)[op];
  return hostRows(l, op, [a, b], dtype, (out, o, [x, y], at, steps, n) => {
    loop(out, o, x, at[0], steps[0], y, at[1], steps[1], n);
  });
}

export function select(l: Lowering, condition: Value, a: Value, b: Value): Value {
  if (l.device.memory !== undefined) {
    return hostRows(l, 'select', [condition, a, b], a.dtype, (out, o, [c, x, y], at, steps, n) => {
      selectLoop(out, o, c, at[0], steps[0], x, at[1], steps[1], y, at[2], steps[2], n);
    });
  }
  // The kernel does not broadcast.
  const values = [condition, a, b];
  const shape = commonExtents(values);
  const [c, t, e] = values.map((value) => {
    const full = l.full(value, shape);
    return anyBatched(values) ? l.batch(full) : full;
  });
  return l.kernel('Select', { condition: c, t, e }, {}, { shape, dtype: a.dtype, batched: c.batched });
}

export function unaryLoop(l: Lowering, name: keyof typeof UNARY_LOOPS, x: Value, dtype: DeviceType): Value {
  const loop = UNARY_LOOPS[name];
  return hostRows(l, name, [x], dtype, (out, o, [values], at, steps, n) => loop(out, o, values, at[0], steps[0], n));
}

/** Rank and shape do not matter: as it was made where that saves a call, else one axis, which every backend takes. */
function unaryShape(l: Lowering, x: Value): Shape {
  const { made } = l.buffers[x.buffer];
  return l.device.memory === undefined && made.length <= KERNEL_RANK ? made : [l.size(x)];
}

function unaryKernel(l: Lowering, kernel: string, x: Value, dtype: DeviceType): Value {
  const seen = unaryShape(l, x);
  return l.kernel(kernel, { x }, {}, { ...x, dtype }, { x: seen }, seen);
}

type UnaryName = keyof typeof UNARY_KERNELS | 'sign';

/** Where the backends' own kernels differ from docs/graph.md, a loop stands in. */
function needsLoop(
  l: Lowering,
  op: UnaryName,
  x: Value,
): op is 'neg' | 'abs' | 'sign' | 'erf' | 'not' | 'log1p' | 'sin' | 'cos' {
  if (l.device.memory === undefined) return false;
  // sign: wasm gives 0 below 1.2e-7 and for NaN, cpu 0 for NaN.
  if (op === 'sign' || op === 'not') return true;
  // cpu answers integers with floats.
  if (op === 'neg' || op === 'abs') return x.dtype === 'int32';
  // wasm takes log(1 + x), which is 0 for small x.
  if (op === 'log1p') return l.device.backendName === 'wasm';
  // wasm's have absolute errors only: nothing right is left near a root, and of 1e30 no digit is.
  if (op === 'sin' || op === 'cos') return l.device.backendName === 'wasm';
  // cpu's erf is a polynomial with an absolute error of 1.5e-7.
  return op === 'erf' && l.device.backendName === 'cpu';
}

function unaryRule<P extends UnaryName>(op: P, toBool = false): Rule<P> {
  return (l, _node, [x]) => {
    const dtype = toBool ? 'bool' : x.dtype;
    if (needsLoop(l, op, x)) return unaryLoop(l, op, x, dtype);
    if (op === 'sign') return signByKernels(l, x);
    return unaryKernel(l, UNARY_KERNELS[op as keyof typeof UNARY_KERNELS], x, dtype);
  };
}

/** (x > 0) − (x < 0), and NaN where x is NaN. */
function signByKernels(l: Lowering, x: Value): Value {
  const zero = spread(l, 0, x);
  const positive = cast(l, binaryKernel(l, 'Greater', x, zero, 'bool'), x.dtype);
  const negative = cast(l, binaryKernel(l, 'Less', x, zero, 'bool'), x.dtype);
  const sign = binaryKernel(l, 'Sub', positive, negative, x.dtype);
  return x.dtype === 'float32' ? select(l, unaryKernel(l, 'IsNan', x, 'bool'), x, sign) : sign;
}

/** One number, as many axes as `x`. */
function spread(l: Lowering, value: number, x: Value): Value {
  const number = l.scalar(value, x.dtype);
  return l.view(
    number,
    x.shape.map(() => 1),
  );
}

export function cast(l: Lowering, x: Value, dtype: DeviceType): Value {
  if (x.dtype === dtype) return x;
  const host = l.device.memory !== undefined;
  if (dtype === 'bool') {
    return host ? unaryLoop(l, 'nonZero', x, 'bool') : binaryKernel(l, 'NotEqual', x, spread(l, 0, x), 'bool');
  }
  if (host) return unaryLoop(l, x.dtype === 'float32' ? 'truncate' : 'convert', x, dtype);
  if (x.dtype === 'float32') return truncateByKernels(l, x);
  const seen = unaryShape(l, x);
  return l.kernel('Cast', { x }, { dtype }, { ...x, dtype }, { x: seen }, seen);
}

/** Toward zero; what int32 does not hold saturates and NaN gives 0, where the kernel may do anything. */
function truncateByKernels(l: Lowering, x: Value): Value {
  const [lowest, highest] = [-2147483648, 2147483647];
  // 2147483520 is the largest float32 below 2³¹.
  const low = binaryKernel(l, 'Maximum', x, spread(l, lowest, x), 'float32');
  const inside = binaryKernel(l, 'Minimum', low, spread(l, 2147483520, x), 'float32');
  const seen = unaryShape(l, inside);
  const whole = l.kernel('Cast', { x: inside }, { dtype: 'int32' }, { ...x, dtype: 'int32' }, { x: seen }, seen);
  const above = binaryKernel(l, 'Greater', x, spread(l, 2147483520, x), 'bool');
  const saturated = select(l, above, spread(l, highest, whole), whole);
  return select(l, unaryKernel(l, 'IsNan', x, 'bool'), spread(l, 0, whole), saturated);
}

function binaryRule<P extends BinaryName>(op: P): Rule<P> {
  return (l, node: NodeOf<P>, [a, b]) => binary(l, op, a, b, deviceType(node.type.dtype));
}

const alias: Rule<'identity' | 'stopGradient'> = (_l, _node, [x]) => x;

export const ELEMENTWISE_RULES = {
  neg: unaryRule('neg'),
  abs: unaryRule('abs'),
  sign: unaryRule('sign'),
  floor: unaryRule('floor'),
  ceil: unaryRule('ceil'),
  round: unaryRule('round'),
  exp: unaryRule('exp'),
  expm1: unaryRule('expm1'),
  log: unaryRule('log'),
  log1p: unaryRule('log1p'),
  sqrt: unaryRule('sqrt'),
  rsqrt: unaryRule('rsqrt'),
  sin: unaryRule('sin'),
  cos: unaryRule('cos'),
  atan: unaryRule('atan'),
  tanh: unaryRule('tanh'),
  sigmoid: unaryRule('sigmoid'),
  erf: unaryRule('erf'),
  isNan: unaryRule('isNan', true),
  isFinite: unaryRule('isFinite', true),
  not: unaryRule('not', true),
  identity: alias as Rule<'identity'>,
  stopGradient: alias as Rule<'stopGradient'>,
  cast: ((l, node, [x]) => cast(l, x, node.attributes.dtype)) satisfies Rule<'cast'>,
  add: binaryRule('add'),
  sub: binaryRule('sub'),
  mul: binaryRule('mul'),
  div: binaryRule('div'),
  mod: binaryRule('mod'),
  pow: binaryRule('pow'),
  atan2: binaryRule('atan2'),
  max: binaryRule('max'),
  min: binaryRule('min'),
  eq: binaryRule('eq'),
  ne: binaryRule('ne'),
  lt: binaryRule('lt'),
  le: binaryRule('le'),
  gt: binaryRule('gt'),
  ge: binaryRule('ge'),
  and: binaryRule('and'),
  or: binaryRule('or'),
  select: ((l, _node, [condition, a, b]) => select(l, condition, a, b)) satisfies Rule<'select'>,
} as const;
