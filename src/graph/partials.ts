/**
 * Partial derivatives of the elementwise ops. An elementwise op has a diagonal Jacobian, which is its own transpose, so
 * one rule serves both modes: it returns d·∂f/∂xᵢ, where d is a cotangent of the result (vjp) or a tangent of operand i
 * (jvp).
 *
 * Conventions where the derivative does not exist:
 * - Ties take the mean of the one-sided derivatives, which is also what a central difference gives: max and min halve,
 *   abs is 0 at 0 (JAX's convention; TensorFlow.js gives a tie of `maximum` to the first operand).
 * - At a pole (log, log1p, sqrt, rsqrt, pow, div, mod) the slope is infinite, but d = 0 stays 0: a branch that `select`
 *   did not take sends no NaN, in reverse mode, forward mode, and either of them over reverse mode. (Over forward mode
 *   it may: there the infinite tangents of the branch exist.) Overflow (exp of 1000) is not guarded.
 * - pow: ∂/∂y is 0 where x ≤ 0 (as in TensorFlow.js), and ∂/∂x of x⁰ is 0 at x = 0. atan2 has derivative 0 at the origin.
 */
import type { GraphBuilder } from './builder';
import type { ConstantData, NodeOf, OpName, ValueId } from './ir';

/** d·∂(result)/∂(operand), for the node with id `id`; called only for float32 operands. */
export type PartialRule<P extends OpName> = (
  b: GraphBuilder,
  node: NodeOf<P>,
  id: ValueId,
  operand: number,
  d: ValueId,
) => ValueId;

function scale(b: GraphBuilder, factor: number, id: ValueId): ValueId {
  return b.op('mul', id, b.fill(factor, b.shape(id)));
}

function addConstant(b: GraphBuilder, term: number, id: ValueId): ValueId {
  return b.op('add', id, b.fill(term, b.shape(id)));
}

function isZero(b: GraphBuilder, id: ValueId): ValueId {
  return b.op('eq', id, b.fill(0, b.shape(id)));
}

/** 0 where the condition holds, else `id`. */
function drop(b: GraphBuilder, condition: ValueId, id: ValueId): ValueId {
  return b.select(condition, b.fill(0, b.shape(id)), id);
}

/** `id` where the condition holds, else 0. */
function keep(b: GraphBuilder, condition: ValueId, id: ValueId): ValueId {
  return b.select(condition, id, b.fill(0, b.shape(id)));
}

/** The numbers that a value consists of, if it is a constant that was only moved about. */
function constantData(b: GraphBuilder, id: ValueId): ConstantData | undefined {
  const node = b.node(id);
  switch (node.op) {
    case 'constant':
      return node.attributes.data;
    case 'broadcast':
    case 'reshape':
    case 'transpose':
    case 'identity':
    case 'stopGradient':
      return constantData(b, node.inputs[0]);
    default:
      return undefined;
  }
}

function isConstant(b: GraphBuilder, id: ValueId, predicate: (x: number) => boolean): boolean {
  return constantData(b, id)?.every(predicate) ?? false;
}

/**
 * `divisor`, but ∞ where it is 0 and d is 0 too. Dividing by ∞ gives 0 for the value and for every derivative of it,
 * where 0/0 would be NaN in all of them.
 */
function safeDivisor(b: GraphBuilder, d: ValueId, divisor: ValueId): ValueId {
  if (isConstant(b, divisor, (x) => x !== 0)) return divisor;
  const both = b.op('and', isZero(b, d), isZero(b, divisor));
  return b.select(both, b.fill(Infinity, b.shape(divisor)), divisor);
}

function overPole(b: GraphBuilder, d: ValueId, divisor: ValueId): ValueId {
  return b.op('div', d, safeDivisor(b, d, divisor));
}

/** A rule of one operand: (builder, x, result, d) → d·f′(x). */
function unary<P extends OpName>(
  rule: (b: GraphBuilder, x: ValueId, y: ValueId, d: ValueId) => ValueId,
): PartialRule<P> {
  return (b, node, id, _operand, d) => rule(b, node.inputs[0], id, d);
}

/** A rule of two operands: one function for each, (builder, x, y, result, d) → d·∂f/∂(operand). */
type BinaryPartial = (b: GraphBuilder, x: ValueId, y: ValueId, z: ValueId, d: ValueId) => ValueId;
function binary<P extends OpName>(first: BinaryPartial, second: BinaryPartial): PartialRule<P> {
  return (b, node, id, operand, d) => (operand === 0 ? first : second)(b, node.inputs[0], node.inputs[1], id, d);
}

const same: BinaryPartial = (_b, _x, _y, _z, d) => d;

/** All of d where x wins, half of it at a tie. */
function winner(wins: 'gt' | 'lt'): BinaryPartial {
  return (b, x, y, _z, d) => {
    const tie = keep(b, b.op('eq', x, y), scale(b, 0.5, d));
    return b.select(b.op(wins, x, y), d, tie);
  };
}
function swapped(partial: BinaryPartial): BinaryPartial {
  return (b, x, y, z, d) => partial(b, y, x, z, d);
}

/** y − 1; again a constant if y is one number and the difference is exact, so that polynomials stay lean. */
function predecessor(b: GraphBuilder, y: ValueId): ValueId {
  const exponents = constantData(b, y);
  const lower = exponents?.length === 1 ? exponents[0] - 1 : NaN;
  return lower === Math.fround(lower) ? b.fill(lower, b.shape(y)) : addConstant(b, -1, y);
}

const powBase: BinaryPartial = (b, x, y, _z, d) => {
  const exponents = constantData(b, y);
  if (exponents?.length === 1 && exponents[0] === 1) return d;
  if (exponents?.length === 1 && exponents[0] === 2) return b.op('mul', d, scale(b, 2, x));
  const lower = predecessor(b, y);
  if (isConstant(b, y, (exponent) => exponent >= 1)) return b.op('mul', d, b.op('mul', y, b.op('pow', x, lower)));
  // y·x^(y−1) is 0·∞ for x = y = 0, and ∞ for x = 0, y < 1.
  const pole = b.op('and', isZero(b, x), b.op('lt', y, b.fill(1, b.shape(y))));
  const dead = b.op('and', pole, b.op('or', isZero(b, y), isZero(b, d)));
  const exponent = b.select(dead, b.fill(1, b.shape(y)), lower);
  return b.op('mul', d, b.op('mul', drop(b, dead, y), b.op('pow', x, exponent)));
};

const powExponent: BinaryPartial = (b, x, _y, z, d) => {
  const positive = b.op('gt', x, b.fill(0, b.shape(x)));
  const log = b.op('log', b.select(positive, x, b.fill(1, b.shape(x))));
  return keep(b, positive, b.op('mul', d, b.op('mul', z, log)));
};

/**
 * ±d·p/(x² + y²), scaled by the larger of the two so that squares neither overflow nor vanish. The value does not
 * depend on the scale, so the scale has no derivative.
 */
function overSquaredRadius(b: GraphBuilder, p: ValueId, q: ValueId, d: ValueId): ValueId {
  const radius = b.op('stopGradient', b.op('max', b.op('abs', p), b.op('abs', q)));
  const origin = isZero(b, radius);
  const divisor = b.select(origin, b.fill(Infinity, b.shape(p)), radius);
  const u = b.op('div', p, divisor);
  const v = b.op('div', q, divisor);
  const squares = b.op('add', b.op('mul', u, u), b.op('mul', v, v));
  const norm = b.select(origin, b.fill(1, b.shape(p)), squares);
  return b.op('div', b.op('mul', d, b.op('div', u, norm)), divisor);
}

/** A number as the sum of two float32 constants: exact in float32, 48 bits of it in float64. */
function preciseConstant(b: GraphBuilder, value: number): ValueId {
  const high = Math.fround(value);
  return b.op('add', b.fill(high, []), b.fill(value - high, []));
}

/** Elementwise ops with a derivative. */
export const PARTIALS = {
  neg: unary<'neg'>((b, _x, _y, d) => b.op('neg', d)),
  abs: unary<'abs'>((b, x, _y, d) => b.op('mul', d, b.op('sign', x))),
  exp: unary<'exp'>((b, _x, y, d) => b.op('mul', d, y)),
  // Not y + 1, which has lost everything where y is near −1.
  expm1: unary<'expm1'>((b, x, _y, d) => b.op('mul', d, b.op('exp', x))),
  log: unary<'log'>((b, x, _y, d) => overPole(b, d, x)),
  log1p: unary<'log1p'>((b, x, _y, d) => overPole(b, d, addConstant(b, 1, x))),
  sqrt: unary<'sqrt'>((b, _x, y, d) => overPole(b, scale(b, 0.5, d), y)),
  rsqrt: unary<'rsqrt'>((b, x, y, d) => {
    const pole = b.op('and', isZero(b, x), isZero(b, d));
    const root = drop(b, pole, y);
    return b.op('mul', scale(b, -0.5, d), b.op('mul', root, b.op('mul', root, root)));
  }),
  sin: unary<'sin'>((b, x, _y, d) => b.op('mul', d, b.op('cos', x))),
  cos: unary<'cos'>((b, x, _y, d) => b.op('neg', b.op('mul', d, b.op('sin', x)))),
  atan: unary<'atan'>((b, x, _y, d) => b.op('div', d, addConstant(b, 1, b.op('mul', x, x)))),
  // (1 − y)(1 + y) keeps the digits of 1 − y² where |y| is near 1.
  tanh: unary<'tanh'>((b, _x, y, d) => {
    const one = b.fill(1, b.shape(y));
    return b.op('mul', d, b.op('mul', b.op('sub', one, y), b.op('add', one, y)));
  }),
  sigmoid: unary<'sigmoid'>((b, _x, y, d) => b.op('mul', d, b.op('mul', y, b.op('sub', b.fill(1, b.shape(y)), y)))),
  // 2/√π·exp(−x²)
  erf: unary<'erf'>((b, x, _y, d) => {
    const bell = b.op('exp', b.op('neg', b.op('mul', x, x)));
    const factor = b.broadcast(preciseConstant(b, 2 / Math.sqrt(Math.PI)), b.shape(x));
    return b.op('mul', d, b.op('mul', factor, bell));
  }),
  identity: unary<'identity'>((_b, _x, _y, d) => d),
  // Reached only from float32 to float32: no other dtype carries a derivative.
  cast: unary<'cast'>((_b, _x, _y, d) => d),

  add: binary<'add'>(same, same),
  sub: binary<'sub'>(same, (b, _x, _y, _z, d) => b.op('neg', d)),
  mul: binary<'mul'>(
    (b, _x, y, _z, d) => b.op('mul', d, y),
    (b, x, _y, _z, d) => b.op('mul', d, x),
  ),
  div: binary<'div'>(
    (b, _x, y, _z, d) => overPole(b, d, y),
    (b, x, y, _z, d) => {
      const divisor = safeDivisor(b, d, y);
      return b.op('neg', b.op('mul', b.op('div', d, divisor), b.op('div', x, divisor)));
    },
  ),
  mod: binary<'mod'>(same, (b, x, y, _z, d) =>
    b.op('neg', b.op('mul', d, b.op('floor', b.op('div', x, safeDivisor(b, d, y))))),
  ),
  pow: binary<'pow'>(powBase, powExponent),
  // atan2(y, x): x/(x² + y²), −y/(x² + y²).
  atan2: binary<'atan2'>(
    (b, y, x, _z, d) => overSquaredRadius(b, x, y, d),
    (b, y, x, _z, d) => b.op('neg', overSquaredRadius(b, y, x, d)),
  ),
  max: binary<'max'>(winner('gt'), swapped(winner('gt'))),
  min: binary<'min'>(winner('lt'), swapped(winner('lt'))),
} satisfies { readonly [P in OpName]?: PartialRule<P> };

/**
 * Where reduceMax or reduceMin attains its value, and 1/(how many places): equal shares at ties, as in JAX.
 * `share` has the reduced shape.
 */
export function attained(
  b: GraphBuilder,
  node: NodeOf<'reduceMax' | 'reduceMin'>,
  id: ValueId,
): { readonly mask: ValueId; readonly share: ValueId } {
  const [x] = node.inputs;
  const mask = b.op('eq', x, expand(b, id, b.shape(x), node.attributes.axes));
  const count = b.reduceSum(b.cast(mask, 'float32'), node.attributes.axes);
  return { mask, share: b.op('div', b.fill(1, b.shape(id)), count) };
}

/** Puts reduced axes back and repeats along them: the transpose of reduceSum. */
export function expand(b: GraphBuilder, id: ValueId, shape: readonly number[], axes: readonly number[]): ValueId {
  const kept = shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  return b.broadcast(b.reshape(id, kept), shape);
}
