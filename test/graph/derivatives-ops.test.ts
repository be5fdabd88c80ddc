/**
 * One row (or several) for every op: reverse = forward = central differences in float64, for the op and again for its
 * own reverse and forward mode, which makes second derivatives in all four orders.
 */
import type { GraphBuilder } from '../../src/graph/builder';
import type { Value } from '../../src/graph/interpreter';
import { OP_NAMES } from '../../src/graph/infer';
import type { Graph, OpName, ValueId, ValueType } from '../../src/graph/ir';
import { jvpGraph } from '../../src/graph/jvp';
import { JVP_RULES } from '../../src/graph/jvp-rules';
import { vjpGraph } from '../../src/graph/vjp';
import { NON_SMOOTH_OPS, VJP_RULES } from '../../src/graph/vjp-rules';
import {
  bool,
  expectDerivatives,
  float,
  forwardJacobian,
  int,
  isFloat,
  makeGraph,
  reverseJacobian,
  withOutputs,
} from '../support/jacobian';

interface Row {
  readonly name?: string;
  readonly types: readonly ValueType[];
  readonly feeds: readonly Value[];
  readonly build: (b: GraphBuilder, ...inputs: ValueId[]) => ValueId | readonly ValueId[];
  /** The value differs from what its derivative says, by definition: stopGradient. */
  readonly expected?: readonly (readonly number[])[];
}

function floats(...values: number[]): Float64Array {
  return Float64Array.from(values);
}
function ints(...values: number[]): Int32Array {
  return Int32Array.from(values);
}
/** `count` numbers without pattern in (−1, 1), no two alike. */
function spread(count: number, from = 0): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => Math.sin(1.3 + 2.17 * (i + from)));
}

type UnaryOp = 'neg' | 'abs' | 'sign' | 'floor' | 'ceil' | 'round' | 'exp' | 'expm1' | 'log' | 'log1p' | 'sqrt';
type OtherUnaryOp = 'rsqrt' | 'sin' | 'cos' | 'atan' | 'tanh' | 'sigmoid' | 'erf' | 'identity';
type BinaryOp = 'add' | 'sub' | 'mul' | 'div' | 'mod' | 'pow' | 'atan2' | 'max' | 'min';

function unary(op: UnaryOp | OtherUnaryOp, ...points: number[]): readonly Row[] {
  return [{ types: [float(points.length)], feeds: [floats(...points)], build: (b, x) => b.op(op, x) }];
}
function binary(op: BinaryOp, x: readonly number[], y: readonly number[]): Row {
  const type = float(x.length);
  return { types: [type, type], feeds: [floats(...x), floats(...y)], build: (b, p, q) => b.op(op, p, q) };
}
/** x times a bool made of two numbers. */
function comparison(op: 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge'): readonly Row[] {
  const row: Row = {
    types: [float(3), float(3)],
    feeds: [floats(1, -2, 0.5), floats(2, -3, 0.25)],
    build: (b, x, y) => b.op('mul', x, b.cast(b.op(op, x, y), 'float32')),
  };
  return [row];
}
function logic(build: (b: GraphBuilder, p: ValueId, q: ValueId) => ValueId): readonly Row[] {
  const row: Row = {
    types: [float(4), bool(4), bool(4)],
    feeds: [floats(1, -2, 0.5, 3), Uint8Array.of(0, 0, 1, 1), Uint8Array.of(0, 1, 0, 1)],
    build: (b, x, p, q) => b.op('mul', x, b.cast(build(b, p, q), 'float32')),
  };
  return [row];
}
function matmul(batch: readonly number[]): readonly Row[] {
  const [m, k, n] = [2, 3, 4];
  return [false, true].flatMap((transposeA) =>
    [false, true].map((transposeB): Row => {
      const a = [...batch, ...(transposeA ? [k, m] : [m, k])];
      const c = [...batch, ...(transposeB ? [n, k] : [k, n])];
      const count = batch.reduce((product, extent) => product * extent, 1);
      return {
        name: `[${a.join(',')}]${transposeA ? 'ᵀ' : ''} [${c.join(',')}]${transposeB ? 'ᵀ' : ''}`,
        types: [float(...a), float(...c)],
        feeds: [spread(count * m * k), spread(count * k * n, 50)],
        build: (b, x, y) => b.emit('matmul', [x, y], { transposeA, transposeB }),
      };
    }),
  );
}
function matrix(build: (b: GraphBuilder, x: ValueId) => ValueId, name?: string): Row {
  return { name, types: [float(3, 4)], feeds: [spread(12)], build };
}
function extremum(op: 'reduceMax' | 'reduceMin'): readonly Row[] {
  return [[0], [1], [0, 1], []].map((axes) => matrix((b, x) => b.emit(op, [x], { axes }), `axes [${axes.join(',')}]`));
}
function indexed(op: 'argMax' | 'argMin'): readonly Row[] {
  return [0, 1].map((axis) =>
    matrix((b, x) => {
      const index = b.cast(b.emit(op, [x], { axis }), 'float32');
      return b.op('mul', index, b.reduceSum(x, [axis]));
    }, `axis ${axis}`),
  );
}

const TABLE = {
  name: 'derivatives-ops',
  values: Float32Array.of(1, 2, 3, 4, 5, 6),
  dtype: 'float32',
  rows: 3,
  rowShape: [2],
} as const;

const ROWS: { readonly [P in OpName]: readonly Row[] } = {
  input: [{ types: [float(2)], feeds: [floats(1, -2)], build: (_b, x) => x }],
  constant: [
    {
      types: [float(2)],
      feeds: [floats(1, -2)],
      build: (b, x) => b.op('mul', x, b.constant(Float32Array.of(3, 4), [2], 'float32')),
    },
  ],
  table: [
    {
      types: [float(2, 2), int(2)],
      feeds: [spread(4), ints(2, 0)],
      build: (b, x, index) => b.op('mul', x, b.op('gather', b.table(TABLE), index)),
    },
  ],
  random: [
    {
      types: [float(3)],
      feeds: [spread(3)],
      build: (b, x) => {
        const attributes = { stream: 'user', perStep: true, path: [1], distribution: { name: 'normal' } } as const;
        return b.op('mul', x, b.emit('random', [], { ...attributes, shape: [3] }));
      },
    },
  ],
  iota: [matrix((b, x) => b.op('mul', x, b.cast(b.emit('iota', [], { shape: [3, 4], axis: 1 }), 'float32')))],

  neg: unary('neg', -2, 0, 3),
  abs: unary('abs', -2, -1e-3, 0.5, 3),
  sign: unary('sign', -2, -1e-3, 0.5, 3),
  floor: unary('floor', -2.5, -0.1, 0.5, 3.7),
  ceil: unary('ceil', -2.5, -0.1, 0.5, 3.7),
  round: unary('round', -2.4, -0.1, 0.6, 3.7),
  exp: unary('exp', -3, 0, 0.5, 2),
  expm1: unary('expm1', -30, -3, 0, 1e-4, 2),
  log: unary('log', 0.3, 1, 2, 40),
  log1p: unary('log1p', -0.7, 0, 1e-4, 2, 40),
  sqrt: unary('sqrt', 0.3, 1, 2, 40),
  rsqrt: unary('rsqrt', 0.3, 1, 2, 40),
  sin: unary('sin', -2, 0, 0.5, 3),
  cos: unary('cos', -2, 0, 0.5, 3),
  atan: unary('atan', -20, -1, 0, 0.5, 3),
  tanh: unary('tanh', -6, -1, 0, 0.5, 3),
  sigmoid: unary('sigmoid', -6, -1, 0, 0.5, 3),
  erf: unary('erf', -2.5, -1, 0, 0.5, 1.7),
  isNan: [matrix((b, x) => b.op('mul', x, b.cast(b.op('isNan', x), 'float32')))],
  isFinite: [matrix((b, x) => b.op('mul', x, b.cast(b.op('isFinite', x), 'float32')))],
  not: logic((b, p) => b.op('not', p)),
  identity: unary('identity', -2, 0, 3),
  stopGradient: [
    {
      name: 'x·stopGradient(x) has derivative x',
      types: [float(2)],
      feeds: [floats(3, -2)],
      build: (b, x) => b.op('mul', x, b.op('stopGradient', x)),
      expected: [
        [3, 0],
        [0, -2],
      ],
    },
  ],
  cast: [
    {
      name: 'float32 to float32',
      types: [float(2)],
      feeds: [floats(1, -2)],
      build: (b, x) => b.emit('cast', [x], { dtype: 'float32' }),
    },
    {
      name: 'by way of int32',
      types: [float(3)],
      feeds: [floats(1.5, -2.5, 0.3)],
      build: (b, x) => b.op('mul', x, b.cast(b.cast(x, 'int32'), 'float32')),
    },
    {
      name: 'from bool',
      types: [float(2), bool(2)],
      feeds: [floats(1.5, -2.5), Uint8Array.of(1, 0)],
      build: (b, x, p) => b.op('mul', x, b.cast(p, 'float32')),
    },
  ],

  add: [binary('add', [1, -2, 0], [3, 0.5, 0])],
  sub: [binary('sub', [1, -2, 0], [3, 0.5, 0])],
  mul: [
    binary('mul', [1, -2, 0], [3, 0.5, 0]),
    { name: 'x·x', types: [float(2)], feeds: [floats(3, -2)], build: (b, x) => b.op('mul', x, x) },
  ],
  div: [
    binary('div', [1, -2, 0, 3], [3, 0.5, 2, -0.7]),
    {
      name: 'by a constant',
      types: [float(2)],
      feeds: [floats(3, -2)],
      build: (b, x) => b.op('div', x, b.fill(4, [2])),
    },
    {
      name: 'of a constant',
      types: [float(2)],
      feeds: [floats(3, -2)],
      build: (b, x) => b.op('div', b.fill(4, [2]), x),
    },
  ],
  mod: [binary('mod', [7.3, -7.3, 7.3, -7.3, 0.5], [2, 2, -2, -2, 3])],
  pow: [
    binary('pow', [0.3, 1, 2, 3, 1.5], [2.5, -1, 0, 1, -2.5]),
    ...[3, 2, 1, 0, -1].map((exponent): Row => {
      const build: Row['build'] = (b, x) => b.op('pow', x, b.fill(exponent, [3]));
      return { name: `constant exponent ${exponent}`, types: [float(3)], feeds: [floats(-1.5, 0.7, 2)], build };
    }),
  ],
  atan2: [binary('atan2', [1, -2, 0.5, -0.3, 0, 2], [3, 0.5, -2, -0.7, 1, 0])],
  max: [binary('max', [1, -2, 0], [3, -2.5, 0.1])],
  min: [binary('min', [1, -2, 0], [3, -2.5, 0.1])],
  eq: comparison('eq'),
  ne: comparison('ne'),
  lt: comparison('lt'),
  le: comparison('le'),
  gt: comparison('gt'),
  ge: comparison('ge'),
  and: logic((b, p, q) => b.op('and', p, q)),
  or: logic((b, p, q) => b.op('or', p, q)),
  select: [
    {
      types: [bool(4), float(4), float(4)],
      feeds: [Uint8Array.of(0, 1, 1, 0), spread(4), spread(4, 9)],
      build: (b, p, x, y) => b.op('mul', x, b.op('select', p, x, y)),
    },
  ],

  matmul: [...matmul([]), ...matmul([2]), ...matmul([2, 1])],

  reduceSum: [[0], [1], [0, 1], []].map((axes) =>
    matrix((b, x) => b.emit('reduceSum', [x], { axes }), `axes [${axes.join(',')}]`),
  ),
  reduceMax: extremum('reduceMax'),
  reduceMin: extremum('reduceMin'),
  argMax: indexed('argMax'),
  argMin: indexed('argMin'),

  broadcast: [
    { name: 'new axes', types: [float(2)], feeds: [spread(2)], build: (b, x) => b.broadcast(x, [3, 1, 2]) },
    { name: 'a scalar', types: [float()], feeds: [spread(1)], build: (b, x) => b.broadcast(x, [2, 2]) },
    { name: 'size 1', types: [float(2, 1, 2)], feeds: [spread(4)], build: (b, x) => b.broadcast(x, [2, 2, 3, 2]) },
  ],
  reshape: [matrix((b, x) => b.reshape(x, [2, 6]))],
  transpose: [
    { types: [float(2, 3, 2)], feeds: [spread(12)], build: (b, x) => b.transpose(x, [2, 0, 1]) },
    { name: 'its inverse', types: [float(2, 3, 2)], feeds: [spread(12)], build: (b, x) => b.transpose(x, [1, 2, 0]) },
  ],
  slice: [
    matrix((b, x) => b.emit('slice', [x], { begin: [1, 0], size: [2, 2], strides: [1, 3] }), 'strides'),
    matrix((b, x) => b.emit('slice', [x], { begin: [0, 1], size: [2, 1], strides: [2, 2] }), 'an inner part'),
    matrix((b, x) => {
      const empty = b.emit('slice', [x], { begin: [5, 0], size: [0, 4], strides: [3, 1] });
      return b.op('add', b.reduceSum(empty, [0]), b.reduceSum(x, [0]));
    }, 'nothing'),
  ],
  pad: [
    matrix((b, x) => b.emit('pad', [x], { low: [1, 0], high: [0, 2], interior: [0, 1] }), 'interior'),
    matrix((b, x) => b.emit('pad', [x], { low: [0, 3], high: [1, 0], interior: [2, 0] }), 'low and high'),
  ],
  windows: [
    matrix(
      (b, x) => b.emit('windows', [x], { axes: [0, 1], sizes: [2, 3], strides: [1, 1], dilations: [1, 1] }),
      'overlapping',
    ),
    matrix(
      (b, x) => b.emit('windows', [x], { axes: [1], sizes: [2], strides: [1], dilations: [2] }),
      'dilated, along one axis',
    ),
    matrix(
      (b, x) => b.emit('windows', [x], { axes: [0, 1], sizes: [1, 2], strides: [2, 3], dilations: [1, 1] }),
      'with elements that none sees',
    ),
  ],
  foldWindows: [
    {
      name: 'overlapping',
      types: [float(2, 3, 2, 2)],
      feeds: [spread(24)],
      build: (b, x) =>
        b.emit('foldWindows', [x], { axes: [0, 1], extents: [3, 4], strides: [1, 1], dilations: [1, 1] }),
    },
    {
      name: 'strides and dilations',
      types: [float(2, 2, 3)],
      feeds: [spread(12)],
      build: (b, x) => b.emit('foldWindows', [x], { axes: [0], extents: [6], strides: [3], dilations: [2] }),
    },
  ],
  concat: [
    {
      types: [float(2, 1), float(2, 3), float(2, 2)],
      feeds: [spread(2), spread(6, 5), spread(4, 20)],
      build: (b, ...parts) => b.emit('concat', parts, { axis: 1 }),
    },
    {
      name: 'with a constant, and an operand twice',
      types: [float(2)],
      feeds: [spread(2)],
      build: (b, x) => b.emit('concat', [x, b.fill(1, [3]), x], { axis: 0 }),
    },
  ],
  reverse: [
    matrix((b, x) => b.emit('reverse', [x], { axes: [1] }), 'one axis'),
    matrix((b, x) => b.emit('reverse', [x], { axes: [0, 1] }), 'both axes'),
  ],
  gather: [
    {
      name: 'repeats, and indices outside that are clamped',
      types: [float(3, 2), int(2, 3)],
      feeds: [spread(6), ints(2, 0, 2, -1, 7, 1)],
      build: (b, x, index) => b.op('gather', x, index),
    },
  ],
  scatterAdd: [
    {
      name: 'repeats, and indices outside that are clamped',
      types: [int(2, 2), float(2, 2, 2)],
      feeds: [ints(1, 1, -4, 9), spread(8)],
      build: (b, index, x) => b.emit('scatterAdd', [index, x], { rows: 3 }),
    },
  ],
};

const CASES = OP_NAMES.flatMap((op) =>
  ROWS[op].map((row, i) => [row.name === undefined ? `${op} #${i}` : `${op}, ${row.name}`, op, row] as const),
);

function graphOf(op: OpName, row: Row): Graph {
  const graph = makeGraph(op, row.types, row.build);
  expect(graph.nodes.map((node) => node.op)).toContain(op);
  return graph;
}

/** The derivative outputs of `derivative` (those after the graph's own), and feeds for the inputs that it added. */
function derivativeOnly(graph: Graph, derivative: Graph, feeds: readonly Value[]): readonly [Graph, readonly Value[]] {
  const added = derivative.inputs.slice(graph.inputs.length);
  const values = added.map((id, i) =>
    spread(
      derivative.nodes[id].type.shape.reduce((n, m) => n * m, 1),
      31 * (i + 1),
    ),
  );
  return [withOutputs(derivative, derivative.outputs.slice(graph.outputs.length)), [...feeds, ...values]];
}

describe('every op', () => {
  it('has a row', () => expect(Object.keys(ROWS).sort()).toEqual([...OP_NAMES].sort()));

  it.each(CASES)('%s: reverse = forward = central differences', (_name, op, row) => {
    const graph = graphOf(op, row);
    if (row.expected === undefined) {
      expectDerivatives(graph, row.feeds);
    } else {
      for (const jacobian of [reverseJacobian(graph, row.feeds), forwardJacobian(graph, row.feeds)]) {
        // −0 + 0 is 0.
        expect(jacobian.map((derivatives) => derivatives.map((x) => x + 0))).toEqual(row.expected);
      }
    }
  });

  it.each(CASES.filter(([, , row]) => row.expected === undefined))('%s: second derivatives', (_name, op, row) => {
    const graph = graphOf(op, row);
    for (const derivative of [vjpGraph(graph), jvpGraph(graph)]) {
      expectDerivatives(...derivativeOnly(graph, derivative, row.feeds));
    }
  });
});

describe('ops without a derivative', () => {
  it('are the same in both modes', () => {
    for (const op of OP_NAMES) expect([op, JVP_RULES[op] === undefined]).toEqual([op, VJP_RULES[op] === undefined]);
  });

  it('are the steps, comparisons, bool and index ops, and stopGradient', () => {
    const steps = ['sign', 'floor', 'ceil', 'round', 'stopGradient'];
    const comparisons = ['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'and', 'or', 'not', 'isNan', 'isFinite'];
    expect([...NON_SMOOTH_OPS].sort()).toEqual([...steps, ...comparisons, 'argMax', 'argMin'].sort());
  });

  it('emit nothing', () => {
    for (const op of NON_SMOOTH_OPS) {
      const graph = makeGraph(op, [float(2, 2)], (b, x) => {
        const mask = b.cast(x, 'bool');
        switch (op) {
          case 'not':
            return b.cast(b.op(op, mask), 'float32');
          case 'and':
          case 'or':
            return b.cast(b.op(op, mask, mask), 'float32');
          case 'argMax':
          case 'argMin':
            return b.cast(b.emit(op, [x], { axis: 0 }), 'float32');
          case 'isNan':
          case 'isFinite':
            return b.cast(b.op(op, x), 'float32');
          case 'eq':
          case 'ne':
          case 'lt':
          case 'le':
          case 'gt':
          case 'ge':
            return b.cast(b.op(op, x, x), 'float32');
          case 'sign':
          case 'floor':
          case 'ceil':
          case 'round':
          case 'stopGradient':
            return b.op(op, x);
          default:
            throw new Error(`no example of ${op}`);
        }
      });
      const added = ['input', 'constant', 'broadcast'];
      const emitted = (derivative: Graph): string[] =>
        derivative.nodes.slice(graph.nodes.length).map((node) => node.op);
      expect(emitted(vjpGraph(graph))).toEqual(added);
      expect(emitted(jvpGraph(graph))).toEqual(added);
      expect(isFloat(graph, graph.outputs[0])).toBe(true);
    }
  });
});
