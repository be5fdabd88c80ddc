/**
 * Result types: one rule an op, used by the builder when a node is made and by the verifier on every pass.
 * A rule throws ShapeError with what it expected and got.
 */
import { ShapeError } from '../contracts';
import {
  formatType,
  sameShape,
  sizeOf,
  type DType,
  type OpAttributes,
  type OpName,
  type Shape,
  type ValueType,
  type Windowing,
} from './ir';
import { attributeList } from './print';
import { unwindowed, windowCount, windowed, windowSizes } from './windows';

type InferRule<P extends OpName> = (inputs: readonly ValueType[], attributes: OpAttributes[P]) => ValueType;

function fail(op: OpName, expected: string, inputs: readonly ValueType[]): never {
  throw new ShapeError(`${op}: expected ${expected}, got (${inputs.map(formatType).join(', ')}).`);
}

function arity(op: OpName, inputs: readonly ValueType[], count: number): void {
  if (inputs.length !== count) fail(op, `${String(count)} operands`, inputs);
}

function leaf(type: ValueType): ValueType {
  return type;
}

function unary(op: OpName, dtypes: readonly DType[], result?: DType): (inputs: readonly ValueType[]) => ValueType {
  return (inputs) => {
    arity(op, inputs, 1);
    if (!dtypes.includes(inputs[0].dtype)) fail(op, `an operand of ${dtypes.join(' or ')}`, inputs);
    return { shape: inputs[0].shape, dtype: result ?? inputs[0].dtype };
  };
}

function binary(op: OpName, dtypes: readonly DType[], result?: DType): (inputs: readonly ValueType[]) => ValueType {
  return (inputs) => {
    arity(op, inputs, 2);
    const [a, b] = inputs;
    if (a.dtype !== b.dtype || !sameShape(a.shape, b.shape) || !dtypes.includes(a.dtype)) {
      fail(op, `two operands of one shape and of dtype ${dtypes.join(' or ')}`, inputs);
    }
    return { shape: a.shape, dtype: result ?? a.dtype };
  };
}

function axesOk(axes: readonly number[], rank: number): boolean {
  return axes.every((axis, i) => Number.isInteger(axis) && axis >= 0 && axis < rank && (i === 0 || axis > axes[i - 1]));
}

function reduction(
  op: OpName,
): (inputs: readonly ValueType[], attributes: { readonly axes: readonly number[] }) => ValueType {
  return (inputs, { axes }) => {
    arity(op, inputs, 1);
    const { shape, dtype } = inputs[0];
    if (!axesOk(axes, shape.length)) fail(op, `ascending axes of the operand, [${axes.join(',')}] is not`, inputs);
    if (!NUMERIC.includes(dtype)) fail(op, 'float32 or int32', inputs);
    if (op !== 'reduceSum' && axes.some((axis) => shape[axis] === 0)) fail(op, 'no empty axis', inputs);
    return { shape: shape.filter((_, i) => !axes.includes(i)), dtype };
  };
}

function argReduction(op: OpName): (inputs: readonly ValueType[], attributes: { readonly axis: number }) => ValueType {
  return (inputs, { axis }) => {
    arity(op, inputs, 1);
    const { shape, dtype } = inputs[0];
    if (!axesOk([axis], shape.length) || shape[axis] === 0) fail(op, `a non-empty axis ${String(axis)}`, inputs);
    if (!NUMERIC.includes(dtype)) fail(op, 'float32 or int32', inputs);
    return { shape: shape.filter((_, i) => i !== axis), dtype: 'int32' };
  };
}

function windowingOk({ axes, strides, dilations }: Windowing, lengths: readonly number[], rank: number): boolean {
  const positive = (list: readonly number[]): boolean =>
    list.length === axes.length && list.every((n) => Number.isInteger(n) && n >= 1);
  return axes.length > 0 && axesOk(axes, rank) && [strides, dilations, lengths].every(positive);
}

const NUMERIC: readonly DType[] = ['float32', 'int32'];
const FLOAT: readonly DType[] = ['float32'];
const BOOL: readonly DType[] = ['bool'];
const ANY: readonly DType[] = ['float32', 'int32', 'bool', 'uint8'];

/** True if `from` repeated along size-1 and missing leading axes gives `to`. */
export function broadcastsTo(from: Shape, to: Shape): boolean {
  const lead = to.length - from.length;
  return lead >= 0 && from.every((extent, i) => extent === to[lead + i] || extent === 1);
}

const INFER: { readonly [P in OpName]: InferRule<P> } = {
  input: (_, { type }) => leaf(type),
  constant: (inputs, { shape, dtype, data }) => {
    if (data.length !== sizeOf(shape))
      fail('constant', `${String(sizeOf(shape))} numbers, data has ${String(data.length)}`, inputs);
    return { shape, dtype };
  },
  table: (_, { table }) => ({ shape: [table.rows, ...table.rowShape], dtype: table.dtype }),
  random: (_, { shape, distribution }) => ({ shape, dtype: distribution.name === 'integer' ? 'int32' : 'float32' }),
  iota: (inputs, { shape, axis }) => {
    if (!axesOk([axis], shape.length)) fail('iota', `an axis of [${shape.join(',')}], ${String(axis)} is none`, inputs);
    return { shape, dtype: 'int32' };
  },
  neg: unary('neg', NUMERIC),
  abs: unary('abs', NUMERIC),
  sign: unary('sign', NUMERIC),
  floor: unary('floor', FLOAT),
  ceil: unary('ceil', FLOAT),
  round: unary('round', FLOAT),
  exp: unary('exp', FLOAT),
  expm1: unary('expm1', FLOAT),
  log: unary('log', FLOAT),
  log1p: unary('log1p', FLOAT),
  sqrt: unary('sqrt', FLOAT),
  rsqrt: unary('rsqrt', FLOAT),
  sin: unary('sin', FLOAT),
  cos: unary('cos', FLOAT),
  atan: unary('atan', FLOAT),
  tanh: unary('tanh', FLOAT),
  sigmoid: unary('sigmoid', FLOAT),
  erf: unary('erf', FLOAT),
  isNan: unary('isNan', FLOAT, 'bool'),
  isFinite: unary('isFinite', FLOAT, 'bool'),
  not: unary('not', BOOL),
  identity: unary('identity', ANY),
  stopGradient: unary('stopGradient', ANY),
  cast: (inputs, { dtype }) => unary('cast', ANY, dtype)(inputs),
  add: binary('add', NUMERIC),
  sub: binary('sub', NUMERIC),
  mul: binary('mul', NUMERIC),
  div: binary('div', NUMERIC),
  mod: binary('mod', NUMERIC),
  pow: binary('pow', FLOAT),
  atan2: binary('atan2', FLOAT),
  max: binary('max', NUMERIC),
  min: binary('min', NUMERIC),
  eq: binary('eq', NUMERIC, 'bool'),
  ne: binary('ne', NUMERIC, 'bool'),
  lt: binary('lt', NUMERIC, 'bool'),
  le: binary('le', NUMERIC, 'bool'),
  gt: binary('gt', NUMERIC, 'bool'),
  ge: binary('ge', NUMERIC, 'bool'),
  and: binary('and', BOOL),
  or: binary('or', BOOL),
  select: (inputs) => {
    arity('select', inputs, 3);
    const [condition, a, b] = inputs;
    if (
      condition.dtype !== 'bool' ||
      a.dtype !== b.dtype ||
      !sameShape(condition.shape, a.shape) ||
      !sameShape(a.shape, b.shape)
    ) {
      fail('select', 'a bool and two operands of one dtype, all of one shape', inputs);
    }
    return a;
  },
  matmul: (inputs, { transposeA, transposeB }) => {
    arity('matmul', inputs, 2);
    const [a, b] = inputs;
    const rank = a.shape.length;
    const [m, ka] = transposeA ? [rank - 1, rank - 2] : [rank - 2, rank - 1];
    const [kb, n] = transposeB ? [rank - 1, rank - 2] : [rank - 2, rank - 1];
    if (
      rank < 2 ||
      b.shape.length !== rank ||
      a.dtype !== 'float32' ||
      b.dtype !== 'float32' ||
      a.shape[ka] !== b.shape[kb] ||
      !sameShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
    ) {
      fail('matmul', 'float32 matrices with equal batch axes and inner sizes', inputs);
    }
    return { shape: [...a.shape.slice(0, -2), a.shape[m], b.shape[n]], dtype: 'float32' };
  },
  reduceSum: reduction('reduceSum'),
  reduceMax: reduction('reduceMax'),
  reduceMin: reduction('reduceMin'),
  argMax: argReduction('argMax'),
  argMin: argReduction('argMin'),
  broadcast: (inputs, { shape }) => {
    arity('broadcast', inputs, 1);
    if (!broadcastsTo(inputs[0].shape, shape))
      fail('broadcast', `an operand that broadcasts to [${shape.join(',')}]`, inputs);
    return { shape, dtype: inputs[0].dtype };
  },
  reshape: (inputs, { shape }) => {
    arity('reshape', inputs, 1);
    if (sizeOf(shape) !== sizeOf(inputs[0].shape)) fail('reshape', `${String(sizeOf(shape))} elements`, inputs);
    return { shape, dtype: inputs[0].dtype };
  },
  transpose: (inputs, { perm }) => {
    arity('transpose', inputs, 1);
    const { shape, dtype } = inputs[0];
    if (
      !sameShape(
        [...perm].sort((a, b) => a - b),
        shape.map((_, i) => i),
      )
    ) {
      fail('transpose', `an operand whose axes [${perm.join(',')}] permutes`, inputs);
    }
    return { shape: perm.map((axis) => shape[axis]), dtype };
  },
  slice: (inputs, { begin, size, strides }) => {
    arity('slice', inputs, 1);
    const { shape, dtype } = inputs[0];
    const ok =
      begin.length === shape.length &&
      size.length === shape.length &&
      strides.length === shape.length &&
      shape.every(
        (extent, i) =>
          [begin[i], size[i], strides[i]].every(Number.isInteger) &&
          begin[i] >= 0 &&
          strides[i] >= 1 &&
          size[i] >= 0 &&
          (size[i] === 0 || begin[i] + (size[i] - 1) * strides[i] < extent),
      );
    if (!ok)
      fail(
        'slice',
        `an operand that [${begin.join(',')}] + [${size.join(',')}]·[${strides.join(',')}] lies in`,
        inputs,
      );
    return { shape: size, dtype };
  },
  pad: (inputs, { low, high, interior }) => {
    arity('pad', inputs, 1);
    const { shape, dtype } = inputs[0];
    const ok = [low, high, interior].every(
      (part) => part.length === shape.length && part.every((n) => Number.isInteger(n) && n >= 0),
    );
    if (!ok) fail('pad', 'non-negative low, high and interior for every axis', inputs);
    return {
      shape: shape.map((extent, i) => low[i] + extent + Math.max(0, extent - 1) * interior[i] + high[i]),
      dtype,
    };
  },
  windows: (inputs, attributes) => {
    arity('windows', inputs, 1);
    const { axes, sizes, strides, dilations } = attributes;
    const { shape, dtype } = inputs[0];
    if (!windowingOk(attributes, sizes, shape.length))
      fail(
        'windows',
        `ascending axes of the operand with a size, stride and dilation each, got ${attributeList(attributes)}`,
        inputs,
      );
    return {
      shape: windowed(
        shape,
        axes,
        (i, extent) => windowCount(extent, sizes[i], strides[i], dilations[i]),
        (i) => sizes[i],
      ),
      dtype,
    };
  },
  foldWindows: (inputs, attributes) => {
    arity('foldWindows', inputs, 1);
    const { axes, extents, strides, dilations } = attributes;
    const { shape, dtype } = inputs[0];
    const known = windowingOk(
      attributes,
      axes.map(() => 1),
      shape.length - axes.length,
    );
    const sizes = known ? windowSizes(shape, axes) : [];
    const fits =
      known &&
      extents.length === axes.length &&
      axes.every(
        (axis, i) =>
          Number.isInteger(extents[i]) &&
          sizes[i] >= 1 &&
          shape[axis] === windowCount(extents[i], sizes[i], strides[i], dilations[i]),
      );
    if (!fits) fail('foldWindows', `what windows make of an operand with ${attributeList(attributes)}`, inputs);
    if (!NUMERIC.includes(dtype)) fail('foldWindows', 'float32 or int32', inputs);
    return { shape: unwindowed(shape, axes, (i) => extents[i]), dtype };
  },
  concat: (inputs, { axis }) => {
    if (inputs.length === 0) fail('concat', 'at least one operand', inputs);
    const [first] = inputs;
    const ok =
      axesOk([axis], first.shape.length) &&
      inputs.every(
        (type) =>
          type.dtype === first.dtype &&
          type.shape.length === first.shape.length &&
          type.shape.every((extent, i) => i === axis || extent === first.shape[i]),
      );
    if (!ok) fail('concat', `operands of one dtype that differ only along axis ${String(axis)}`, inputs);
    const total = inputs.reduce((sum, type) => sum + type.shape[axis], 0);
    return { shape: first.shape.map((extent, i) => (i === axis ? total : extent)), dtype: first.dtype };
  },
  reverse: (inputs, { axes }) => {
    arity('reverse', inputs, 1);
    if (!axesOk(axes, inputs[0].shape.length)) fail('reverse', `ascending axes of the operand`, inputs);
    return inputs[0];
  },
  gather: (inputs) => {
    arity('gather', inputs, 2);
    const [operand, indices] = inputs;
    if (operand.shape.length < 1 || operand.shape[0] < 1 || indices.dtype !== 'int32') {
      fail('gather', 'an operand with rows and int32 indices', inputs);
    }
    return { shape: [...indices.shape, ...operand.shape.slice(1)], dtype: operand.dtype };
  },
  scatterAdd: (inputs, { rows }) => {
    arity('scatterAdd', inputs, 2);
    const [indices, updates] = inputs;
    const rank = indices.shape.length;
    if (
      indices.dtype !== 'int32' ||
      !NUMERIC.includes(updates.dtype) ||
      !sameShape(updates.shape.slice(0, rank), indices.shape) ||
      rows < 1
    ) {
      fail('scatterAdd', 'int32 indices and updates whose leading axes are those of the indices', inputs);
    }
    return { shape: [rows, ...updates.shape.slice(rank)], dtype: updates.dtype };
  },
};

/** The type of `op` applied to operands of the given types. @throws ShapeError */
export function inferType<P extends OpName>(
  op: P,
  inputs: readonly ValueType[],
  attributes: OpAttributes[P],
): ValueType {
  return INFER[op](inputs, attributes);
}

/** All op names, in the order of the rule table. */
export const OP_NAMES = Object.keys(INFER) as readonly OpName[];
