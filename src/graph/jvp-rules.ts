/** Forward-mode rules, one an op. Every result consists of graph ops again, so derivatives of derivatives work. */
import type { GraphBuilder } from './builder';
import type { NodeOf, OpName, ValueId } from './ir';
import { attained, PARTIALS, type PartialRule } from './partials';

/**
 * Tangent of the result of node `id`, given the tangents of its operands (undefined is zero; at least one is not).
 */
export type JvpRule<P extends OpName> = (
  b: GraphBuilder,
  node: NodeOf<P>,
  id: ValueId,
  tangents: readonly (ValueId | undefined)[],
) => ValueId | undefined;

const ZERO = undefined;

function sum(b: GraphBuilder, terms: readonly (ValueId | undefined)[]): ValueId | undefined {
  return terms.reduce(
    (total, term) => (total === undefined ? term : term === undefined ? total : b.op('add', total, term)),
    undefined,
  );
}

/** Σᵢ tangentᵢ·∂f/∂xᵢ. */
function elementwise<P extends OpName>(partial: PartialRule<P>): JvpRule<P> {
  return (b, node, id, tangents) =>
    sum(
      b,
      tangents.map((tangent, i) => (tangent === undefined ? undefined : partial(b, node, id, i, tangent))),
    );
}

/** An op that is linear in all its float32 operands: the op itself, on tangents; zero tangents are written out. */
function linear<P extends OpName>(
  b: GraphBuilder,
  node: NodeOf<P>,
  _id: ValueId,
  tangents: readonly (ValueId | undefined)[],
): ValueId {
  const operands = node.inputs.map((input, i) => {
    const type = b.type(input);
    return type.dtype === 'float32' ? (tangents[i] ?? b.zeros(type)) : input;
  });
  return b.emit(node.op, operands, node.attributes);
}

const reduceExtremum: JvpRule<'reduceMax' | 'reduceMin'> = (b, node, id, [tangent]) => {
  if (tangent === undefined) return ZERO;
  const { mask, share } = attained(b, node, id);
  const chosen = b.select(mask, tangent, b.fill(0, b.shape(tangent)));
  return b.op('mul', b.reduceSum(chosen, node.attributes.axes), share);
};

export const JVP_RULES: { readonly [P in OpName]: JvpRule<P> | typeof ZERO } = {
  input: ZERO,
  constant: ZERO,
  table: ZERO,
  random: ZERO,
  iota: ZERO,

  neg: elementwise(PARTIALS.neg),
  abs: elementwise(PARTIALS.abs),
  sign: ZERO,
  floor: ZERO,
  ceil: ZERO,
  round: ZERO,
  exp: elementwise(PARTIALS.exp),
  expm1: elementwise(PARTIALS.expm1),
  log: elementwise(PARTIALS.log),
  log1p: elementwise(PARTIALS.log1p),
  sqrt: elementwise(PARTIALS.sqrt),
  rsqrt: elementwise(PARTIALS.rsqrt),
  sin: elementwise(PARTIALS.sin),
  cos: elementwise(PARTIALS.cos),
  atan: elementwise(PARTIALS.atan),
  tanh: elementwise(PARTIALS.tanh),
  sigmoid: elementwise(PARTIALS.sigmoid),
  erf: elementwise(PARTIALS.erf),
  isNan: ZERO,
  isFinite: ZERO,
  not: ZERO,
  identity: elementwise(PARTIALS.identity),
  stopGradient: ZERO,
  cast: elementwise(PARTIALS.cast),

  add: elementwise(PARTIALS.add),
  sub: elementwise(PARTIALS.sub),
  mul: elementwise(PARTIALS.mul),
  div: elementwise(PARTIALS.div),
  mod: elementwise(PARTIALS.mod),
  pow: elementwise(PARTIALS.pow),
  atan2: elementwise(PARTIALS.atan2),
  max: elementwise(PARTIALS.max),
  min: elementwise(PARTIALS.min),
  eq: ZERO,
  ne: ZERO,
  lt: ZERO,
  le: ZERO,
  gt: ZERO,
  ge: ZERO,
  and: ZERO,
  or: ZERO,
  select: linear,

  matmul: (b, node, _id, [left, right]) => {
    const [x, y] = node.inputs;
    return sum(b, [
      left === undefined ? undefined : b.emit('matmul', [left, y], node.attributes),
      right === undefined ? undefined : b.emit('matmul', [x, right], node.attributes),
    ]);
  },

  reduceSum: linear,
  reduceMax: reduceExtremum,
  reduceMin: reduceExtremum,
  argMax: ZERO,
  argMin: ZERO,

  broadcast: linear,
  reshape: linear,
  transpose: linear,
  slice: linear,
  pad: linear,
  windows: linear,
  foldWindows: linear,
  concat: linear,
  reverse: linear,
  gather: linear,
  scatterAdd: linear,
};
