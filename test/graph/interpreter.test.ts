/**
 * Every rule of the interpreter against two oracles that share no code with it: what tfjs's cpu backend computes, and
 * cases worked out by hand (edges of the definition, where tfjs differs or is coarse).
 */
import * as tf from '@tensorflow/tfjs';
import { ShapeError, type DataTable } from '../../src/contracts';
import { GraphBuilder } from '../../src/graph/builder';
import { OP_NAMES } from '../../src/graph/infer';
import { compileInterpreter, interpret, INTERPRETER_RULES, stepContext, type Value } from '../../src/graph/interpreter';
import { sizeOf, type Graph, type NoAttributes, type OpAttributes, type OpName, type Shape } from '../../src/graph/ir';
import { episodeKey, fillNormals, foldIn, integers, uniforms } from '../../src/random';

type Dtype = 'float32' | 'int32' | 'bool';
interface Operand {
  readonly shape: Shape;
  readonly dtype: Dtype;
  readonly values: readonly number[];
}
interface Case<A> {
  readonly attributes: A;
  readonly operands: readonly Operand[];
  /** tfjs's own result, held against the interpreter's within `tolerance`. */
  readonly tfjs?: (...operands: tf.Tensor[]) => tf.Tensor;
  /** Absolute and relative; float32 rounding of the result (2⁻²⁴) by default. */
  readonly tolerance?: number;
  /** By hand, compared with Object.is. */
  readonly exactly?: readonly number[];
  /** By mathematics, within 4 ulp of float64. */
  readonly nearly?: readonly number[];
}

const f = (values: readonly number[], shape: Shape = [values.length]): Operand => ({ shape, dtype: 'float32', values });
const n = (values: readonly number[], shape: Shape = [values.length]): Operand => ({ shape, dtype: 'int32', values });
const p = (values: readonly number[], shape: Shape = [values.length]): Operand => ({ shape, dtype: 'bool', values });
const none = {} as const;

const MAX = 2147483647;
const MIN = -2147483648;
/** All exact in float32. */
const REALS = [-7.5, -3, -2.5, -1.5, -1, -0.5, -0.125, 0, 0.125, 0.5, 1, 1.5, 2.5, 3.25, 8];
const POSITIVES = REALS.filter((x) => x > 0);
const PARTNERS = REALS.map((_, i) => REALS[(i * 4 + 3) % REALS.length]);
const NONZERO = PARTNERS.map((x) => (x === 0 ? 0.75 : x));
const INTS = [-9, -4, -3, -1, 0, 1, 2, 5, 7];
const INT_PARTNERS = [2, -3, 3, 4, 5, -1, 2, -7, 3];
const EDGES = [-0, NaN, Infinity, -Infinity];

/** A unary float op whose JavaScript counterpart is exact by definition. */
function unary(
  values: readonly number[],
  js: (x: number) => number,
  tfjs: (x: tf.Tensor) => tf.Tensor,
): Case<NoAttributes>[] {
  return [{ attributes: none, operands: [f(values)], tfjs, nearly: values.map(js) }];
}
function edges(expected: readonly number[]): Case<NoAttributes> {
  return { attributes: none, operands: [f(EDGES)], exactly: expected };
}
function binary(
  tfjs: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
  a = REALS,
  b: readonly number[] = PARTNERS,
): Case<NoAttributes> {
  return { attributes: none, operands: [f(a), f(b)], tfjs };
}
function ints(tfjs: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): Case<NoAttributes> {
  return { attributes: none, operands: [n(INTS), n(INT_PARTNERS)], tfjs };
}
function comparison(
  tfjs: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
  onNan: 0 | 1,
  onZeros: 0 | 1,
): Case<NoAttributes>[] {
  return [
    binary(tfjs),
    binary(tfjs, REALS, REALS),
    ints(tfjs),
    {
      attributes: none,
      operands: [f([NaN, NaN, 1, 0]), f([NaN, 1, NaN, -0])],
      exactly: [onNan, onNan, onNan, onZeros],
    },
  ];
}

const CUBE = f(
  Array.from({ length: 24 }, (_, i) => ((i * 7) % 24) / 4 - 2.5),
  [2, 3, 4],
);
const INT_CUBE = n(
  Array.from({ length: 24 }, (_, i) => ((i * 11) % 24) - 9),
  [2, 3, 4],
);
const BITS = p([1, 0, 0, 1, 1, 0], [2, 3]);
const MATRIX = f([1, -2, 3, 0.5, 4, -0.25], [2, 3]);
const OTHER = f([2, 1, 0, -1, 0.5, 3, -2, 1, 1, 0, 4, -3], [3, 4]);

const table: DataTable = {
  name: 'rows',
  values: Uint8Array.of(0, 255, 7, 9, 100, 200),
  dtype: 'uint8',
  rows: 3,
  rowShape: [2],
};
const CONTEXT = stepContext(11, 2, 5, 7);
const userKey = foldIn(foldIn(foldIn(episodeKey(11, 'user', 2, 5), 7), 3), 0x80000001);
const batchKey = episodeKey(11, 'batch', 2, 5);
const normalsOf = (key: readonly [number, number], count: number): number[] => {
  const out = new Float64Array(count);
  fillNormals(key, out);
  return Array.from(out);
};

function reductions(tfjs: (x: tf.Tensor, axes: number[]) => tf.Tensor): Case<OpAttributes['reduceSum']>[] {
  return [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]].flatMap((axes) =>
    [CUBE, INT_CUBE].map((operand) => ({
      attributes: { axes },
      operands: [operand],
      tfjs: (x: tf.Tensor) => tfjs(x, axes),
    })),
  );
}
function argReductions(tfjs: (x: tf.Tensor, axis: number) => tf.Tensor): Case<OpAttributes['argMax']>[] {
  return [0, 1, 2].flatMap((axis) =>
    [
      CUBE,
      INT_CUBE,
      f(
        Array.from({ length: 24 }, (_, i) => i % 3),
        [2, 3, 4],
      ),
    ].map((operand) => ({
      attributes: { axis },
      operands: [operand],
      tfjs: (x: tf.Tensor) => tfjs(x, axis),
    })),
  );
}
function products(): Case<OpAttributes['matmul']>[] {
  const flags = [false, true];
  return flags.flatMap((transposeA) =>
    flags.map((transposeB) => ({
      attributes: { transposeA, transposeB },
      operands: [f(MATRIX.values, transposeA ? [3, 2] : [2, 3]), f(OTHER.values, transposeB ? [4, 3] : [3, 4])],
      tfjs: (a, b) => tf.matMul(a, b, transposeA, transposeB),
    })),
  );
}

const CASES: { readonly [P in OpName]: readonly Case<OpAttributes[P]>[] } = {
  input: [
    {
      attributes: { name: 'x', type: { shape: [2], dtype: 'float32' } },
      operands: [],
      exactly: [0, 0],
    },
  ],
  constant: [
    {
      attributes: { shape: [3], dtype: 'float32', data: Float32Array.of(0.1, -0, NaN) },
      operands: [],
      exactly: [Math.fround(0.1), -0, NaN],
    },
    { attributes: { shape: [2], dtype: 'int32', data: Int32Array.of(MIN, 3) }, operands: [], exactly: [MIN, 3] },
    { attributes: { shape: [2, 1], dtype: 'bool', data: Uint8Array.of(1, 0) }, operands: [], exactly: [1, 0] },
  ],
  table: [{ attributes: { table }, operands: [], exactly: [0, 255, 7, 9, 100, 200] }],
  random: [
    {
      attributes: {
        stream: 'user',
        perStep: true,
        path: [3, 0x80000001],
        distribution: { name: 'uniform' },
        shape: [5],
      },
      operands: [],
      exactly: Array.from(uniforms(userKey, 5)),
    },
    {
      attributes: { stream: 'batch', perStep: false, path: [], distribution: { name: 'normal' }, shape: [3, 3] },
      operands: [],
      exactly: normalsOf(batchKey, 9),
    },
    {
      attributes: {
        stream: 'batch',
        perStep: false,
        path: [],
        distribution: { name: 'integer', low: -5, high: 60000 },
        shape: [7],
      },
      operands: [],
      exactly: Array.from(integers(batchKey, 7, -5, 60000)),
    },
  ],
  iota: [
    { attributes: { shape: [4], axis: 0 }, operands: [], tfjs: () => tf.range(0, 4, 1, 'int32') },
    { attributes: { shape: [2, 3], axis: 0 }, operands: [], exactly: [0, 0, 0, 1, 1, 1] },
    { attributes: { shape: [2, 3], axis: 1 }, operands: [], exactly: [0, 1, 2, 0, 1, 2] },
  ],

  neg: [
    ...unary(REALS, (x) => 0 - x, tf.neg),
    edges([0, NaN, -Infinity, Infinity]),
    { attributes: none, operands: [n([3, MIN])], exactly: [-3, MIN] },
  ],
  abs: [
    ...unary(REALS, (x) => Math.sqrt(x * x), tf.abs),
    edges([0, NaN, Infinity, Infinity]),
    { attributes: none, operands: [n([-3, 4, MIN])], exactly: [3, 4, MIN] },
  ],
  sign: [
    ...unary(REALS, (x) => (x > 0 ? 1 : x < 0 ? -1 : 0), tf.sign),
    { attributes: none, operands: [f([NaN, Infinity, -Infinity])], exactly: [NaN, 1, -1] },
    { attributes: none, operands: [n([-7, 0, 9])], exactly: [-1, 0, 1] },
  ],
  floor: [...unary(REALS, Math.floor, tf.floor), edges([-0, NaN, Infinity, -Infinity])],
  ceil: [...unary(REALS, Math.ceil, tf.ceil), edges([-0, NaN, Infinity, -Infinity])],
  round: [
    { attributes: none, operands: [f(REALS)], tfjs: tf.round },
    {
      attributes: none,
      operands: [f([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 2.25, 2.75, -2.75, 8388609])],
      exactly: [0, 2, 2, 4, -0, -2, -2, 2, 3, -3, 8388609],
    },
    edges([-0, NaN, Infinity, -Infinity]),
  ],
  exp: [
    ...unary(REALS, (x) => Math.E ** x, tf.exp).map((c) => ({ ...c, nearly: undefined })),
    edges([1, NaN, Infinity, 0]),
  ],
  expm1: [
    { attributes: none, operands: [f(REALS)], tfjs: tf.expm1 },
    { attributes: none, operands: [f([1e-10])], nearly: [1e-10 + 5e-21] },
    edges([-0, NaN, Infinity, -1]),
  ],
  log: [
    { attributes: none, operands: [f(POSITIVES)], tfjs: tf.log },
    { attributes: none, operands: [f([0, -1, 1, Infinity, Math.E])], exactly: [-Infinity, NaN, 0, Infinity, 1] },
  ],
  log1p: [
    { attributes: none, operands: [f(POSITIVES)], tfjs: tf.log1p },
    { attributes: none, operands: [f([1e-10])], nearly: [1e-10 - 5e-21] },
    { attributes: none, operands: [f([-1, -2, 0])], exactly: [-Infinity, NaN, 0] },
  ],
  sqrt: [
    { attributes: none, operands: [f([0, 4, 0.25, 2])], tfjs: tf.sqrt, nearly: [0, 2, 0.5, Math.SQRT2] },
    edges([-0, NaN, Infinity, NaN]),
  ],
  rsqrt: [
    { attributes: none, operands: [f([4, 0.25, 2])], tfjs: tf.rsqrt, nearly: [0.5, 2, Math.SQRT1_2] },
    edges([-Infinity, NaN, 0, NaN]),
  ],
  sin: [
    { attributes: none, operands: [f(REALS)], tfjs: tf.sin },
    { attributes: none, operands: [f([Math.PI / 6])], nearly: [0.5] },
  ],
  cos: [
    { attributes: none, operands: [f(REALS)], tfjs: tf.cos },
    { attributes: none, operands: [f([Math.PI / 3])], nearly: [0.5] },
  ],
  atan: [
    { attributes: none, operands: [f(REALS)], tfjs: tf.atan },
    { attributes: none, operands: [f([1, Infinity])], nearly: [Math.PI / 4, Math.PI / 2] },
  ],
  tanh: [
    {
      attributes: none,
      operands: [f(REALS)],
      tfjs: tf.tanh,
      nearly: REALS.map((x) => -Math.expm1(-2 * x) / (Math.exp(-2 * x) + 1)),
    },
    edges([-0, NaN, 1, -1]),
  ],
  sigmoid: [
    {
      attributes: none,
      operands: [f(REALS)],
      tfjs: tf.sigmoid,
      nearly: REALS.map((x) => Math.exp(x) / (1 + Math.exp(x))),
    },
    { attributes: none, operands: [f([0, Infinity, -Infinity, NaN])], exactly: [0.5, 1, 0, NaN] },
  ],
  erf: [
    // tfjs approximates to 1.5e-7 (Abramowitz and Stegun 7.1.26).
    { attributes: none, operands: [f(REALS)], tfjs: tf.erf, tolerance: 3e-7 },
    {
      attributes: none,
      operands: [f([0.1, 0.5, 1, 2, 3, 4, -1])],
      // Abramowitz and Stegun, table 7.1, to full precision.
      nearly: [
        0.1124629160182849, 0.5204998778130465, 0.8427007929497149, 0.9953222650189527, 0.9999779095030014,
        0.9999999845827421, -0.8427007929497149,
      ],
    },
    edges([-0, NaN, 1, -1]),
  ],
  isNan: [{ attributes: none, operands: [f([1, NaN, Infinity])], tfjs: tf.isNaN, exactly: [0, 1, 0] }],
  isFinite: [{ attributes: none, operands: [f([1, NaN, -Infinity])], tfjs: tf.isFinite, exactly: [1, 0, 0] }],
  not: [{ attributes: none, operands: [BITS], tfjs: tf.logicalNot }],
  identity: [{ attributes: none, operands: [f(EDGES)], exactly: EDGES }],
  stopGradient: [{ attributes: none, operands: [f(EDGES)], exactly: EDGES }],
  cast: [
    { attributes: { dtype: 'int32' }, operands: [f(REALS)], tfjs: (x) => tf.cast(x, 'int32') },
    {
      attributes: { dtype: 'int32' },
      operands: [f([NaN, 3e9, -3e9, Infinity, -0.9])],
      exactly: [0, MAX, MIN, MAX, 0],
    },
    { attributes: { dtype: 'bool' }, operands: [f([0, -0, 0.1, NaN])], exactly: [0, 0, 1, 1] },
    { attributes: { dtype: 'bool' }, operands: [n([0, 256, -1])], exactly: [0, 1, 1] },
    { attributes: { dtype: 'float32' }, operands: [n(INTS)], tfjs: (x) => tf.cast(x, 'float32') },
    { attributes: { dtype: 'float32' }, operands: [BITS], tfjs: (x) => tf.cast(x, 'float32') },
    { attributes: { dtype: 'int32' }, operands: [BITS], tfjs: (x) => tf.cast(x, 'int32') },
  ],

  add: [
    binary(tf.add),
    ints(tf.add),
    { attributes: none, operands: [n([MAX]), n([1])], exactly: [MIN] },
    { attributes: none, operands: [f([-0, -0]), f([0, -0])], exactly: [0, -0] },
  ],
  sub: [binary(tf.sub), ints(tf.sub), { attributes: none, operands: [n([MIN]), n([1])], exactly: [MAX] }],
  mul: [
    binary(tf.mul),
    ints(tf.mul),
    // (2³¹−1)² = 2⁶² − 2³² + 1.
    { attributes: none, operands: [n([MAX, MIN]), n([MAX, -1])], exactly: [1, MIN] },
    { attributes: none, operands: [f([0]), f([Infinity])], exactly: [NaN] },
  ],
  div: [
    binary(tf.div, REALS, NONZERO),
    ints(tf.floorDiv),
    { attributes: none, operands: [f([1, -1, 0]), f([0, 0, 0])], exactly: [Infinity, -Infinity, NaN] },
    { attributes: none, operands: [n([-7, 7, -7, 5, MIN]), n([2, -2, -2, 0, -1])], exactly: [-4, -4, 3, 0, MIN] },
  ],
  mod: [
    binary(tf.mod, REALS, NONZERO),
    ints(tf.mod),
    { attributes: none, operands: [f([-7, 7, -7, 5.5]), f([3, -3, -3, 2])], exactly: [2, -2, -1, 1.5] },
    { attributes: none, operands: [f([6, -6, 1, Infinity]), f([-3, 3, 0, 2])], exactly: [-0, 0, NaN, NaN] },
    { attributes: none, operands: [n([-7, 7, 5]), n([3, -3, 0])], exactly: [2, -2, 0] },
  ],
  pow: [
    binary(tf.pow, POSITIVES, POSITIVES),
    { attributes: none, operands: [f([-2, -2, NaN, 0, 0]), f([3, 0.5, 0, -1, 0])], exactly: [-8, NaN, 1, Infinity, 1] },
  ],
  atan2: [
    binary(tf.atan2, REALS, NONZERO),
    { attributes: none, operands: [f([0, 1, -1]), f([-1, 0, -1])], nearly: [Math.PI, Math.PI / 2, (-3 * Math.PI) / 4] },
  ],
  max: [
    binary(tf.maximum),
    ints(tf.maximum),
    { attributes: none, operands: [f([NaN, 1]), f([1, NaN])], exactly: [NaN, NaN] },
  ],
  min: [
    binary(tf.minimum),
    ints(tf.minimum),
    { attributes: none, operands: [f([NaN, 1]), f([1, NaN])], exactly: [NaN, NaN] },
  ],
  eq: comparison(tf.equal, 0, 1),
  ne: comparison(tf.notEqual, 1, 0),
  lt: comparison(tf.less, 0, 0),
  le: comparison(tf.lessEqual, 0, 1),
  gt: comparison(tf.greater, 0, 0),
  ge: comparison(tf.greaterEqual, 0, 1),
  and: [{ attributes: none, operands: [p([0, 0, 1, 1]), p([0, 1, 0, 1])], tfjs: tf.logicalAnd, exactly: [0, 0, 0, 1] }],
  or: [{ attributes: none, operands: [p([0, 0, 1, 1]), p([0, 1, 0, 1])], tfjs: tf.logicalOr, exactly: [0, 1, 1, 1] }],
  select: [
    {
      attributes: none,
      operands: [BITS, MATRIX, f([9, 8, 7, 6, 5, 4], [2, 3])],
      tfjs: (c, a, b) => tf.where(c, a, b),
    },
    { attributes: none, operands: [p([1, 0]), f([1, NaN]), f([NaN, 2])], exactly: [1, 2] },
    { attributes: none, operands: [p([1, 0]), p([0, 0]), p([1, 1])], exactly: [0, 1] },
  ],

  matmul: [
    ...products(),
    // Depth 7 and width 6: past what the loops are unrolled by, with a rest.
    ...[false, true].map((transposeB) => ({
      attributes: { transposeA: false, transposeB },
      operands: [
        f(
          Array.from({ length: 21 }, (_, i) => ((i * 5) % 8) - 3.5),
          [3, 7],
        ),
        f(
          Array.from({ length: 42 }, (_, i) => ((i * 11) % 13) - 6),
          transposeB ? [6, 7] : [7, 6],
        ),
      ],
      tfjs: (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b, false, transposeB),
    })),
    {
      attributes: { transposeA: false, transposeB: false },
      operands: [
        CUBE,
        f(
          Array.from({ length: 40 }, (_, i) => (i % 9) - 4),
          [2, 4, 5],
        ),
      ],
      tfjs: (a, b) => tf.matMul(a, b),
    },
    {
      attributes: { transposeA: true, transposeB: true },
      operands: [
        CUBE,
        f(
          Array.from({ length: 30 }, (_, i) => (i % 7) - 3),
          [2, 5, 3],
        ),
      ],
      tfjs: (a, b) => tf.matMul(a, b, true, true),
    },
    {
      attributes: { transposeA: false, transposeB: false },
      operands: [f([0], [1, 1]), f([Infinity], [1, 1])],
      exactly: [NaN],
    },
    { attributes: { transposeA: false, transposeB: false }, operands: [f([], [1, 0]), f([], [0, 2])], exactly: [0, 0] },
  ],

  reduceSum: [
    ...reductions((x, axes) => tf.sum(x, axes)),
    { attributes: { axes: [0] }, operands: [n([MAX, 1, MAX])], exactly: [-1] },
    { attributes: { axes: [0] }, operands: [f([], [0, 2])], exactly: [0, 0] },
    { attributes: { axes: [0] }, operands: [f([-0], [1])], exactly: [-0] },
    { attributes: { axes: [] }, operands: [f([1, 2])], exactly: [1, 2] },
  ],
  reduceMax: [
    ...reductions((x, axes) => tf.max(x, axes)),
    { attributes: { axes: [0] }, operands: [f([1, NaN, 3])], exactly: [NaN] },
    { attributes: { axes: [0] }, operands: [f([-Infinity, -Infinity])], exactly: [-Infinity] },
  ],
  reduceMin: [
    ...reductions((x, axes) => tf.min(x, axes)),
    { attributes: { axes: [0] }, operands: [f([1, NaN, 3])], exactly: [NaN] },
  ],
  argMax: [
    ...argReductions((x, axis) => tf.argMax(x, axis)),
    { attributes: { axis: 0 }, operands: [f([1, 5, 5, 2])], exactly: [1] },
  ],
  argMin: [
    ...argReductions((x, axis) => tf.argMin(x, axis)),
    { attributes: { axis: 0 }, operands: [f([3, 1, 1, 2])], exactly: [1] },
  ],

  broadcast: [
    { attributes: { shape: [2, 3] }, operands: [f([5], [])], tfjs: (x) => tf.broadcastTo(x, [2, 3]) },
    { attributes: { shape: [2, 3] }, operands: [f([1, 2, 3])], tfjs: (x) => tf.broadcastTo(x, [2, 3]) },
    { attributes: { shape: [2, 3] }, operands: [f([1, 2], [2, 1])], tfjs: (x) => tf.broadcastTo(x, [2, 3]) },
    {
      attributes: { shape: [2, 2, 3, 2] },
      operands: [n([1, 2, 3, 4], [2, 1, 2])],
      tfjs: (x) => tf.broadcastTo(x, [2, 2, 3, 2]),
    },
  ],
  reshape: [{ attributes: { shape: [4, 6] }, operands: [CUBE], exactly: CUBE.values }],
  transpose: [
    [0, 2, 1],
    [2, 0, 1],
    [1, 2, 0],
    [2, 1, 0],
  ].map((perm) => ({ attributes: { perm }, operands: [CUBE], tfjs: (x) => tf.transpose(x, perm) })),
  slice: [
    {
      attributes: { begin: [1, 0, 1], size: [1, 3, 2], strides: [1, 1, 1] },
      operands: [CUBE],
      tfjs: (x) => tf.slice(x, [1, 0, 1], [1, 3, 2]),
    },
    {
      attributes: { begin: [0, 1, 0], size: [2, 1, 2], strides: [1, 2, 3] },
      operands: [INT_CUBE],
      tfjs: (x) => tf.stridedSlice(x, [0, 1, 0], [2, 3, 4], [1, 2, 3]),
    },
    { attributes: { begin: [2], size: [0], strides: [1] }, operands: [f([1, 2])], exactly: [] },
  ],
  pad: [
    {
      attributes: { low: [1, 0], high: [0, 2], interior: [0, 0] },
      operands: [MATRIX],
      tfjs: (x) =>
        tf.pad(x, [
          [1, 0],
          [0, 2],
        ]),
    },
    {
      attributes: { low: [1], high: [1], interior: [2] },
      operands: [n([4, 5, 6])],
      exactly: [0, 4, 0, 0, 5, 0, 0, 6, 0],
    },
    { attributes: { low: [1], high: [0], interior: [0] }, operands: [p([1, 1])], exactly: [0, 1, 1] },
  ],
  windows: [
    {
      attributes: { axes: [0], sizes: [2], strides: [2], dilations: [1] },
      operands: [f([1, 2, 3, 4, 5])],
      exactly: [1, 2, 3, 4],
    },
    {
      // Windows {0, 2}, {1, 3}, {2, 4} of one axis.
      attributes: { axes: [0], sizes: [2], strides: [1], dilations: [2] },
      operands: [n([10, 11, 12, 13, 14])],
      exactly: [10, 12, 11, 13, 12, 14],
    },
    {
      // [3, 3] by 2×2 windows: [2, 2, 2, 2], every window by rows.
      attributes: { axes: [0, 1], sizes: [2, 2], strides: [1, 1], dilations: [1, 1] },
      operands: [f([1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 3])],
      exactly: [1, 2, 4, 5, 2, 3, 5, 6, 4, 5, 7, 8, 5, 6, 8, 9],
    },
    {
      // Along axis 1 of three: [2, 2, 2 in the window, 2].
      attributes: { axes: [1], sizes: [2], strides: [1], dilations: [1] },
      operands: [f([0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121], [2, 3, 2])],
      exactly: [0, 1, 10, 11, 10, 11, 20, 21, 100, 101, 110, 111, 110, 111, 120, 121],
    },
    {
      // Axes that are no neighbours: the axes within stand behind the last, [1, 2, 1 | 2, 1].
      attributes: { axes: [0, 2], sizes: [2, 1], strides: [1, 2], dilations: [1, 1] },
      operands: [p([1, 0, 0, 1], [2, 2, 1])],
      exactly: [1, 0, 0, 1],
    },
    {
      attributes: { axes: [0], sizes: [4], strides: [1], dilations: [1] },
      operands: [f([1, 2, 3])],
      exactly: [],
    },
  ],
  foldWindows: [
    {
      // 0, 1, 2 are seen by one, two, one of the windows {0, 1}, {1, 2}; 3 by none.
      attributes: { axes: [0], extents: [4], strides: [2], dilations: [1] },
      operands: [f([1, 2, 4, 8], [2, 2])],
      exactly: [1, 2, 4, 8],
    },
    {
      attributes: { axes: [0], extents: [3], strides: [1], dilations: [1] },
      operands: [f([1, 2, 4, 8], [2, 2])],
      exactly: [1, 6, 8],
    },
    {
      // Places 0 and 3 of the windows {0, 2}, {3, 5}; 6 and 7 are left out.
      attributes: { axes: [0], extents: [8], strides: [3], dilations: [2] },
      operands: [n([1, 2, 4, 8], [2, 2])],
      exactly: [1, 0, 2, 4, 0, 8, 0, 0],
    },
    {
      // −0 alone stays, and int32 wraps.
      attributes: { axes: [0], extents: [2], strides: [1], dilations: [1] },
      operands: [f([-0, NaN], [2, 1])],
      exactly: [-0, NaN],
    },
    {
      attributes: { axes: [0], extents: [3], strides: [1], dilations: [1] },
      operands: [n([1, MAX, 1, 1], [2, 2])],
      exactly: [1, MIN, 1],
    },
    {
      // The fold of all windows counts by how many each element is seen: 1 2 1 along each axis.
      attributes: { axes: [0, 1], extents: [3, 3], strides: [1, 1], dilations: [1, 1] },
      operands: [f(new Array<number>(16).fill(1), [2, 2, 2, 2])],
      exactly: [1, 2, 1, 2, 4, 2, 1, 2, 1],
    },
    {
      attributes: { axes: [0], extents: [3], strides: [1], dilations: [1] },
      operands: [f([], [0, 4])],
      exactly: [0, 0, 0],
    },
  ],
  concat: [
    ...[0, 1, 2].map((axis) => ({
      attributes: { axis },
      operands: [CUBE, CUBE, CUBE],
      tfjs: (...all: tf.Tensor[]) => tf.concat(all, axis),
    })),
    {
      attributes: { axis: 1 },
      operands: [MATRIX, f([7, 8], [2, 1]), f([], [2, 0])],
      exactly: [1, -2, 3, 7, 0.5, 4, -0.25, 8],
    },
  ],
  reverse: [[0], [1], [0, 2], [0, 1, 2], []].map((axes) => ({
    attributes: { axes },
    operands: [CUBE],
    tfjs: (x) => (axes.length === 0 ? x : tf.reverse(x, axes)),
  })),
  gather: [
    { attributes: none, operands: [OTHER, n([2, 0, 2, 1])], tfjs: (x, i) => tf.gather(x, i) },
    { attributes: none, operands: [OTHER, n([0, 1, 2, 2], [2, 2])], tfjs: (x, i) => tf.gather(x, i) },
    { attributes: none, operands: [f([5, 6, 7]), n([-3, 9, 1, 3, -1])], exactly: [5, 7, 6, 7, 5] },
    { attributes: none, operands: [f([5, 6, 7]), n([2], [])], exactly: [7] },
  ],
  scatterAdd: [
    {
      attributes: { rows: 4 },
      operands: [n([1, 3, 1]), f([1, 2, 3, 4, 5, 6], [3, 2])],
      tfjs: (i, x) => tf.scatterND(tf.reshape(i, [3, 1]), x, [4, 2]),
    },
    { attributes: { rows: 2 }, operands: [n([-1, 5, 1, 2]), f([1, 2, 4, 8])], exactly: [1, 14] },
    { attributes: { rows: 3 }, operands: [n([2, 2], [2]), n([MAX, 1], [2])], exactly: [0, 0, MIN] },
    { attributes: { rows: 2 }, operands: [n([1], []), f([3, 4], [2])], exactly: [0, 0, 3, 4] },
  ],
};

function graphOf<P extends OpName>(op: P, { attributes, operands }: Case<OpAttributes[P]>): Graph {
  const builder = new GraphBuilder(op);
  const inputs = operands.map(({ shape, dtype }, i) => builder.input(`x${i}`, { shape, dtype }));
  return builder.finish([builder.emit(op, inputs, attributes)]);
}

function feedOf({ dtype, values }: Operand): Value {
  return dtype === 'float32'
    ? Float64Array.from(values)
    : dtype === 'int32'
      ? Int32Array.from(values)
      : Uint8Array.from(values);
}

function run<P extends OpName>(op: P, item: Case<OpAttributes[P]>): number[] {
  const feeds = op === 'input' ? [new Float64Array(2)] : item.operands.map(feedOf);
  return Array.from(interpret(graphOf(op, item), feeds, CONTEXT)[0]);
}

beforeAll(() => tf.setBackend('cpu'));

test('there are cases, and a rule, for every op', () => {
  expect(Object.keys(CASES).sort()).toEqual([...OP_NAMES].sort());
  expect(Object.keys(INTERPRETER_RULES).sort()).toEqual([...OP_NAMES].sort());
});

describe.each(OP_NAMES.map((op) => ({ op })))('$op', ({ op }) => {
  const cases = CASES[op] as readonly Case<OpAttributes[OpName]>[];

  const compared = cases.filter((item) => item.tfjs !== undefined);
  // Leaves and markers have no kernel of tfjs.
  if (compared.length > 0) {
    test.each(compared.map((item, i) => ({ item, i })))('tfjs agrees, case $i', ({ item }) => {
      const actual = run(op, item);
      const { shape } = graphOf(op, item).nodes.at(-1)!.type;
      const expected = tf.tidy(() => {
        const tensors = item.operands.map((x) => tf.tensor([...x.values], [...x.shape], x.dtype));
        const result = item.tfjs!(...tensors);
        expect(result.shape).toEqual(shape);
        return Array.from(result.dataSync());
      });
      expect(actual).toHaveLength(sizeOf(shape));
      const tolerance = item.tolerance ?? 2 ** -24;
      actual.forEach((x, i) => {
        expect(Math.abs(x - expected[i])).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(x)));
      });
    });
  }

  test('by hand', () => {
    for (const item of cases) {
      const actual = run(op, item);
      if (item.exactly !== undefined) expect(actual).toEqual([...item.exactly]);
      item.nearly?.forEach((expected, i) => {
        expect(Math.abs(actual[i] - expected)).toBeLessThanOrEqual(4 * 2 ** -52 * Math.abs(expected));
      });
    }
  });
});

describe('compiled interpreter', () => {
  test('keeps results of earlier runs, and may be fed its own', () => {
    // (a, b) → (b, a + b): Fibonacci.
    const builder = new GraphBuilder('fibonacci');
    const a = builder.input('a', { shape: [], dtype: 'int32' });
    const b = builder.input('b', { shape: [], dtype: 'int32' });
    const program = compileInterpreter(builder.finish([b, builder.op('add', a, b)]));
    const seen: Value[][] = [[Int32Array.of(0), Int32Array.of(1)]];
    for (let i = 0; i < 10; i++) seen.push(program.run(seen[i], CONTEXT));
    expect(seen.map(([x]) => x[0])).toEqual([0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55]);
  });

  test('leaves feeds as they are', () => {
    const builder = new GraphBuilder('g');
    const x = builder.input('x', { shape: [2], dtype: 'float32' });
    const feed = Float64Array.of(1.5, -2);
    const [out] = interpret(builder.finish([builder.op('identity', x)]), [feed], CONTEXT);
    out[0] = 99;
    expect(Array.from(feed)).toEqual([1.5, -2]);
  });

  test('float32 storage rounds once an op, float64 never', () => {
    const builder = new GraphBuilder('g');
    const x = builder.input('x', { shape: [], dtype: 'float32' });
    const graph = builder.finish([builder.op('sub', builder.op('add', x, builder.fill(1, [])), x)]);
    const feed = Float64Array.of(2 ** 24);
    expect(interpret(graph, [feed], CONTEXT)[0]).toEqual(Float64Array.of(1));
    // 2²⁴ + 1 is no float32: it rounds to 2²⁴.
    expect(interpret(graph, [feed], CONTEXT, { floats: 'float32' })[0]).toEqual(Float32Array.of(0));
  });

  test('constants are float32 data widened', () => {
    const builder = new GraphBuilder('g');
    const graph = builder.finish([builder.constant(Float32Array.of(0.1), [], 'float32')]);
    expect(interpret(graph, [], CONTEXT)[0][0]).toBe(13421773 / 2 ** 27);
  });

  test('tables are read in place', () => {
    const values = Uint8Array.of(1, 2, 3);
    const builder = new GraphBuilder('g');
    const row = builder.input('row', { shape: [], dtype: 'int32' });
    const source = builder.table({ name: 't', values, dtype: 'uint8', rows: 3, rowShape: [] });
    const program = compileInterpreter(builder.finish([builder.cast(builder.op('gather', source, row), 'int32')]));
    expect(program.run([Int32Array.of(1)], CONTEXT)[0][0]).toBe(2);
    values[1] = 200;
    expect(program.run([Int32Array.of(1)], CONTEXT)[0][0]).toBe(200);
  });

  test('draws depend on t only where they are keyed by it', () => {
    const builder = new GraphBuilder('g');
    const draw = (perStep: boolean): number =>
      builder.emit('random', [], {
        stream: 'user',
        perStep,
        path: [5],
        distribution: { name: 'normal' },
        shape: [4],
      });
    const program = compileInterpreter(builder.finish([draw(true), draw(false)]));
    const at = (worker: number, episode: number, t: number): Value[] =>
      program.run([], stepContext(3, worker, episode, t));
    expect(at(0, 0, 1)[0]).not.toEqual(at(0, 0, 2)[0]);
    expect(at(0, 0, 1)[1]).toEqual(at(0, 0, 2)[1]);
    expect(at(0, 0, 1)[1]).not.toEqual(at(0, 1, 1)[1]);
    expect(at(0, 0, 1)[1]).not.toEqual(at(1, 0, 1)[1]);
    expect(at(1, 2, 3)).toEqual(at(1, 2, 3));
  });

  test('refuses feeds that do not fit', () => {
    const builder = new GraphBuilder('g');
    const program = compileInterpreter(builder.finish([builder.input('x', { shape: [2], dtype: 'float32' })]));
    expect(() => program.run([], CONTEXT)).toThrow(new ShapeError('g: expected 1 feeds, got 0.'));
    expect(() => program.run([new Float64Array(3)], CONTEXT)).toThrow(
      new ShapeError('g: feed 0 is float32[2], expected 2 numbers, got 3.'),
    );
  });
});
