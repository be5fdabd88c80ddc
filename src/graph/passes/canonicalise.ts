/**
 * Local rewrites to one form. Each gives the same bits as what it replaces, for NaN, infinities and −0 too (of a NaN
 * only that it is one), and the same derivative: no x·0 → 0 (NaN), no x + 0 → x unless x cannot be −0, no
 * x − x → 0, no cast chain through a type that cannot hold every value.
 */
import type { GraphBuilder } from '../builder';
import { broadcastsTo } from '../infer';
import { sameShape, sizeOf, type Node, type NodeOf, type OpName, type Shape, type ValueId } from '../ir';
import { rewriteGraph, type Pass } from './pass';
import { neverNegativeZero, splatOf } from './splat';
import { apartFold, apartWindows } from './windows';

type Rewrite<P extends OpName> = (builder: GraphBuilder, node: NodeOf<P>) => ValueId | undefined;

/** The node behind an id if it is of the given op. */
function as<P extends OpName>(builder: GraphBuilder, id: ValueId, op: P): NodeOf<P> | undefined {
  const node: Node = builder.node(id);
  return node.op === op ? (node as unknown as NodeOf<P>) : undefined;
}

const isIdentity = (perm: readonly number[]): boolean => perm.every((axis, i) => axis === i);
const allZero = (numbers: readonly number[]): boolean => numbers.every((n) => n === 0);
const allOne = (numbers: readonly number[]): boolean => numbers.every((n) => n === 1);

/** x ∘ x → nothing: the operand's operand. */
function involution(op: 'neg' | 'not'): Rewrite<typeof op> {
  return (builder, { inputs }) => as(builder, inputs[0], op)?.inputs[0];
}

/** A second application changes nothing. */
function idempotent(op: 'abs' | 'sign' | 'floor' | 'ceil' | 'round', others: readonly OpName[]): Rewrite<typeof op> {
  return (builder, { inputs }) => (others.includes(builder.node(inputs[0]).op) ? inputs[0] : undefined);
}

const INTEGRAL: readonly OpName[] = ['floor', 'ceil', 'round', 'sign'];

function isInt(builder: GraphBuilder, id: ValueId): boolean {
  return builder.type(id).dtype === 'int32';
}

/** x + zero → x where that is exact. */
function plusZero(builder: GraphBuilder, x: ValueId, zero: ValueId): ValueId | undefined {
  const value = splatOf(builder, zero);
  if (value !== 0) return undefined;
  return Object.is(value, -0) || isInt(builder, x) || neverNegativeZero(builder, x) ? x : undefined;
}

function timesSplat(builder: GraphBuilder, x: ValueId, factor: ValueId): ValueId | undefined {
  const value = splatOf(builder, factor);
  if (value === 1) return x;
  if (value === -1) return builder.op('neg', x);
  // An integer has no NaN to keep.
  return value === 0 && isInt(builder, x) ? factor : undefined;
}

/** min and max of a value with itself. */
const ofEquals: Rewrite<'max' | 'min'> = (_, { inputs: [a, b] }) => (a === b ? a : undefined);

/** bool ∘ constant and bool ∘ itself; `absorbing` is the constant that decides, the other one changes nothing. */
function logical(absorbing: 0 | 1): Rewrite<'and' | 'or'> {
  return (builder, { inputs: [a, b] }) => {
    if (a === b) return a;
    for (const [x, constant] of [
      [a, b],
      [b, a],
    ]) {
      const value = splatOf(builder, constant);
      if (value !== undefined) return value === absorbing ? constant : x;
    }
    return undefined;
  };
}

function reduce(
  builder: GraphBuilder,
  { inputs: [x], attributes, type }: NodeOf<'reduceSum' | 'reduceMax' | 'reduceMin'>,
): ValueId | undefined {
  // Of one element each: that element, by definition.
  const { shape } = builder.type(x);
  return allOne(attributes.axes.map((axis) => shape[axis])) ? builder.reshape(x, type.shape) : undefined;
}

function argReduce(
  builder: GraphBuilder,
  { inputs: [x], attributes, type }: NodeOf<'argMax' | 'argMin'>,
): ValueId | undefined {
  return builder.shape(x)[attributes.axis] === 1 ? builder.fill(0, type.shape, 'int32') : undefined;
}

/** The perm that swaps the last two axes and leaves the rest. */
function swapsLastTwo(perm: readonly number[]): boolean {
  const rank = perm.length;
  return rank >= 2 && perm.every((axis, i) => axis === (i === rank - 2 ? rank - 1 : i === rank - 1 ? rank - 2 : i));
}

/** Moves axes of extent 1 only, so that the elements stay in order. */
function movesOnlyOnes(perm: readonly number[], shape: Shape): boolean {
  const moved = perm.filter((axis) => shape[axis] !== 1);
  return moved.every((axis, i) => i === 0 || axis > moved[i - 1]);
}

/** One rule an op; an op without one is kept as it is. */
const RULES: { readonly [P in OpName]?: Rewrite<P> } = {
  identity: (_, { inputs }) => inputs[0],
  neg: involution('neg'),
  not: involution('not'),
  abs: (builder, node) => {
    const negated = as(builder, node.inputs[0], 'neg');
    if (negated !== undefined) return builder.op('abs', negated.inputs[0]);
    return idempotent('abs', ['abs'])(builder, node);
  },
  sign: idempotent('sign', ['sign']),
  floor: idempotent('floor', INTEGRAL),
  ceil: idempotent('ceil', INTEGRAL),
  round: idempotent('round', INTEGRAL),
  cast: (builder, { inputs: [x], attributes: { dtype } }) => {
    const { dtype: from } = builder.type(x);
    if (from === dtype) return x;
    const inner = as(builder, x, 'cast');
    if (inner === undefined) return undefined;
    const origin = inner.inputs[0];
    const first = builder.type(origin).dtype;
    // 0/1 and 0…255 pass through every number type; an int32 does not pass through float32 (24 bits), but its being
    // zero does.
    const exact =
      (first === 'bool' && from !== 'bool') ||
      (first === 'uint8' && from !== 'bool') ||
      (first === 'int32' && from === 'float32' && dtype === 'bool');
    return exact ? (first === dtype ? origin : builder.cast(origin, dtype)) : undefined;
  },

  add: (builder, { inputs: [a, b] }) => {
    const sum = plusZero(builder, a, b) ?? plusZero(builder, b, a);
    if (sum !== undefined) return sum;
    const negatedB = as(builder, b, 'neg');
    if (negatedB !== undefined) return builder.op('sub', a, negatedB.inputs[0]);
    const negatedA = as(builder, a, 'neg');
    return negatedA === undefined ? undefined : builder.op('sub', b, negatedA.inputs[0]);
  },
  sub: (builder, { inputs: [a, b] }) => {
    // x − (+0) is x for every x; (−0) − x is −x, (+0) − x is not.
    const right = splatOf(builder, b);
    if (right === 0 && (isInt(builder, a) || !Object.is(right, -0))) return a;
    const left = splatOf(builder, a);
    if (left === 0 && (isInt(builder, b) || Object.is(left, -0))) return builder.op('neg', b);
    const negated = as(builder, b, 'neg');
    return negated === undefined ? undefined : builder.op('add', a, negated.inputs[0]);
  },
  mul: (builder, { inputs: [a, b] }) => {
    const product = timesSplat(builder, a, b) ?? timesSplat(builder, b, a);
    if (product !== undefined) return product;
    const negatedA = as(builder, a, 'neg');
    const negatedB = as(builder, b, 'neg');
    return negatedA === undefined || negatedB === undefined
      ? undefined
      : builder.op('mul', negatedA.inputs[0], negatedB.inputs[0]);
  },
  div: (builder, { inputs: [a, b] }) => {
    const divisor = splatOf(builder, b);
    if (divisor === 1) return a;
    if (divisor === -1) return builder.op('neg', a);
    const negatedA = as(builder, a, 'neg');
    const negatedB = as(builder, b, 'neg');
    // Floor division of int32 is another matter at −2³¹.
    return negatedA === undefined || negatedB === undefined || isInt(builder, a)
      ? undefined
      : builder.op('div', negatedA.inputs[0], negatedB.inputs[0]);
  },
  pow: (builder, { inputs: [a, b] }) => (splatOf(builder, b) === 1 ? a : undefined),
  max: ofEquals,
  min: ofEquals,
  and: logical(0),
  or: logical(1),
  select: (builder, { inputs: [condition, a, b] }) => {
    if (a === b) return a;
    const decided = splatOf(builder, condition);
    if (decided !== undefined) return decided === 1 ? a : b;
    const negated = as(builder, condition, 'not');
    return negated === undefined ? undefined : builder.op('select', negated.inputs[0], b, a);
  },

  matmul: (builder, { inputs: [a, b], attributes: { transposeA, transposeB } }) => {
    const left = as(builder, a, 'transpose');
    const right = as(builder, b, 'transpose');
    const flipA = left !== undefined && swapsLastTwo(left.attributes.perm);
    const flipB = right !== undefined && swapsLastTwo(right.attributes.perm);
    if (!flipA && !flipB) return undefined;
    return builder.emit('matmul', [flipA ? left.inputs[0] : a, flipB ? right.inputs[0] : b], {
      transposeA: transposeA !== flipA,
      transposeB: transposeB !== flipB,
    });
  },
  reduceSum: reduce,
  reduceMax: reduce,
  reduceMin: reduce,
  argMax: argReduce,
  argMin: argReduce,

  broadcast: (builder, { inputs: [x], attributes: { shape } }) => {
    if (sameShape(builder.shape(x), shape)) return x;
    if (sizeOf(builder.shape(x)) === sizeOf(shape)) return builder.reshape(x, shape);
    const inner = as(builder, x, 'broadcast');
    if (inner !== undefined) return builder.broadcast(inner.inputs[0], shape);
    // One number broadcasts from any shape: from [] by convention.
    return sizeOf(builder.shape(x)) === 1 && builder.shape(x).length > 0
      ? builder.broadcast(builder.reshape(x, []), shape)
      : undefined;
  },
  reshape: (builder, { inputs: [x], attributes: { shape } }) => {
    if (sameShape(builder.shape(x), shape)) return x;
    const inner = as(builder, x, 'reshape');
    if (inner !== undefined) return builder.reshape(inner.inputs[0], shape);
    const repeated = as(builder, x, 'broadcast');
    return repeated !== undefined && builder.shape(repeated.inputs[0]).length === 0
      ? builder.broadcast(repeated.inputs[0], shape)
      : undefined;
  },
  transpose: (builder, { inputs: [x], attributes: { perm }, type }) => {
    if (isIdentity(perm)) return x;
    if (movesOnlyOnes(perm, builder.shape(x))) return builder.reshape(x, type.shape);
    const inner = as(builder, x, 'transpose');
    if (inner === undefined) return undefined;
    return builder.transpose(
      inner.inputs[0],
      perm.map((axis) => inner.attributes.perm[axis]),
    );
  },
  slice: (builder, { inputs: [x], attributes: { begin, size, strides } }) => {
    if (sameShape(builder.shape(x), size) && allZero(begin)) return x;
    const inner = as(builder, x, 'slice');
    if (inner === undefined || sizeOf(size) === 0) return undefined;
    const from = inner.attributes;
    return builder.emit('slice', [inner.inputs[0]], {
      begin: begin.map((start, i) => from.begin[i] + start * from.strides[i]),
      size,
      strides: strides.map((stride, i) => stride * from.strides[i]),
    });
  },
  windows: apartWindows,
  foldWindows: apartFold,
  pad: (builder, { inputs: [x], type }) => (sameShape(builder.shape(x), type.shape) ? x : undefined),
  concat: (builder, { inputs, attributes: { axis } }) => {
    if (inputs.length === 1) return inputs[0];
    const filled = inputs.filter((id) => builder.shape(id)[axis] > 0);
    return filled.length === inputs.length || filled.length === 0
      ? undefined
      : builder.emit('concat', filled, { axis });
  },
  reverse: (builder, { inputs: [x], attributes: { axes } }) => {
    if (axes.every((axis) => builder.shape(x)[axis] <= 1)) return x;
    const inner = as(builder, x, 'reverse');
    return inner !== undefined && sameShape(inner.attributes.axes, axes) ? inner.inputs[0] : undefined;
  },
};

const ELEMENTWISE: readonly OpName[] = [
  ...(['neg', 'abs', 'sign', 'floor', 'ceil', 'round', 'exp', 'expm1', 'log', 'log1p', 'sqrt', 'rsqrt'] as const),
  ...(['sin', 'cos', 'atan', 'tanh', 'sigmoid', 'erf', 'isNan', 'isFinite', 'not', 'cast'] as const),
  ...(['add', 'sub', 'mul', 'div', 'mod', 'pow', 'atan2', 'max', 'min'] as const),
  ...(['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'and', 'or', 'select'] as const),
];

/** f(broadcast(x), broadcast(y)) → broadcast(f(x, y)) if one of the small shapes holds the others: less to compute. */
function hoistBroadcast(builder: GraphBuilder, node: Node): ValueId | undefined {
  if (!ELEMENTWISE.includes(node.op)) return undefined;
  const sources: ValueId[] = [];
  for (const input of node.inputs) {
    const repeated = as(builder, input, 'broadcast');
    if (repeated === undefined) return undefined;
    sources.push(repeated.inputs[0]);
  }
  const shapes = sources.map((id) => builder.shape(id));
  const small = shapes.reduce((a, b) => (b.length > a.length || sizeOf(b) > sizeOf(a) ? b : a));
  if (!shapes.every((shape) => broadcastsTo(shape, small)) || sizeOf(small) >= sizeOf(node.type.shape))
    return undefined;
  const inner = builder.emit(
    node.op,
    sources.map((id) => builder.broadcast(id, small)),
    node.attributes,
  );
  return builder.broadcast(inner, node.type.shape);
}

function applyRule<P extends OpName>(builder: GraphBuilder, node: NodeOf<P>): ValueId | undefined {
  return RULES[node.op]?.(builder, node);
}

export const canonicalise: Pass = {
  name: 'canonicalise',
  run: (graph) =>
    rewriteGraph(graph, (builder, node) => applyRule<OpName>(builder, node) ?? hoistBroadcast(builder, node)),
};
