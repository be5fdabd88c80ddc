/**
 * Rewrites of single lane operations on what unrolling lays bare. They keep every bit, as the graph's own passes do, but for
 * `regroupProduct`.
 */
import { floorMod, intDiv, intMod, toInt32 } from '../../../../graph/interpreter/scalar';
import type { BinaryOp, RegisterType, UnaryOp } from '../../nest/ir';
import type { Ref } from './dag';

/** What the rewrites need of the graph that nodes are added to. */
export interface Simplifier {
  literal(type: RegisterType, value: number): Ref;
  literalOf(ref: Ref): number | undefined;
  typeOf(ref: Ref): RegisterType;
  unary(op: UnaryOp, a: Ref): Ref;
  binary(op: BinaryOp, a: Ref, b: Ref): Ref;
  /** x, if the node is −x. */
  negated(ref: Ref): Ref | undefined;
  /** The factors of a float product. */
  factors(ref: Ref): readonly [Ref, Ref] | undefined;
  /** Number of the innermost body that the node is computed in. */
  scopeOf(ref: Ref): number;
}

export function simplifyUnary(dag: Simplifier, op: UnaryOp, a: Ref): Ref | undefined {
  const value = dag.literalOf(a);
  const type = dag.typeOf(a);
  if (op === 'neg') {
    if (value !== undefined) return dag.literal(type, type === 'i32' ? -value | 0 : -value);
    return dag.negated(a);
  }
  if (value === undefined) return undefined;
  switch (op) {
    case 'not':
      return dag.literal('mask', 1 - value);
    case 'isNan':
      return dag.literal('mask', Number.isNaN(value) ? 1 : 0);
    case 'isFinite':
      return dag.literal('mask', Number.isFinite(value) ? 1 : 0);
    case 'abs':
      return dag.literal(type, type === 'i32' ? Math.abs(value) | 0 : Math.abs(value));
    case 'floor':
    case 'ceil':
    case 'sqrt':
      return exactly(dag, Math[op](value));
    default:
      return undefined;
  }
}

/** As the graph's `fold`: only what float32 holds exactly is computed here, so that no digit of a constant is lost. */
function exactly(dag: Simplifier, value: number): Ref | undefined {
  return Object.is(Math.fround(value), value) ? dag.literal('f32', value) : undefined;
}

type Fold = (x: number, y: number) => number;

const FLOAT_FOLDS: Partial<Record<BinaryOp, Fold>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  mod: floorMod,
  max: Math.max,
  min: Math.min,
};
const INT_FOLDS: Partial<Record<BinaryOp, Fold>> = {
  add: (x, y) => (x + y) | 0,
  sub: (x, y) => (x - y) | 0,
  mul: Math.imul,
  div: (x, y) => intDiv(x, y) | 0,
  mod: intMod,
  max: Math.max,
  min: Math.min,
};
const COMPARISONS: Partial<Record<BinaryOp, (x: number, y: number) => boolean>> = {
  eq: (x, y) => x === y,
  ne: (x, y) => x !== y,
  lt: (x, y) => x < y,
  le: (x, y) => x <= y,
  gt: (x, y) => x > y,
  ge: (x, y) => x >= y,
};

export function simplifyBinary(dag: Simplifier, op: BinaryOp, a: Ref, b: Ref): Ref | undefined {
  const [x, y] = [dag.literalOf(a), dag.literalOf(b)];
  const type = dag.typeOf(a);
  if (x !== undefined && y !== undefined) {
    const comparison = COMPARISONS[op];
    if (comparison !== undefined) return dag.literal('mask', comparison(x, y) ? 1 : 0);
    const [float, int] = [FLOAT_FOLDS[op], INT_FOLDS[op]];
    if (type === 'i32' && int !== undefined) return dag.literal(type, int(x, y));
    const value = type === 'f32' && float !== undefined ? exactly(dag, float(x, y)) : undefined;
    if (value !== undefined) return value;
  }
  if (type === 'mask') return simplifyMask(dag, op, a, b);
  if (type === 'f32') return simplifyFloat(dag, op, a, b);
  if (type === 'i32') {
    if (y === 0 && (op === 'add' || op === 'sub')) return a;
    if (x === 0 && op === 'add') return b;
    if (y === 1 && op === 'mul') return a;
    if (x === 1 && op === 'mul') return b;
  }
  return undefined;
}

function simplifyFloat(dag: Simplifier, op: BinaryOp, a: Ref, b: Ref): Ref | undefined {
  const [x, y] = [dag.literalOf(a), dag.literalOf(b)];
  switch (op) {
    case 'mul':
      if (y === 1) return a;
      if (x === 1) return b;
      if (y === -1) return dag.unary('neg', a);
      if (x === -1) return dag.unary('neg', b);
      return undefined;
    case 'add':
      // x + 0 is not x for −0; x + (−0) is.
      if (Object.is(y, -0)) return a;
      if (Object.is(x, -0)) return b;
      return undefined;
    case 'sub':
      return Object.is(y, 0) ? a : undefined;
    case 'div': {
      if (y === undefined) return undefined;
      // The reciprocal of a power of two is exact; that of a subnormal would overflow.
      const exponent = Math.log2(Math.abs(y));
      const exact = Number.isInteger(exponent) && Math.abs(exponent) <= 100;
      return exact ? dag.binary('mul', a, dag.literal('f32', 1 / y)) : undefined;
    }
    default:
      return undefined;
  }
}

function simplifyMask(dag: Simplifier, op: BinaryOp, a: Ref, b: Ref): Ref | undefined {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ]) {
    const value = dag.literalOf(one);
    if (value === undefined) continue;
    if (op === 'and') return value === 1 ? other : dag.literal('mask', 0);
    if (op === 'or') return value === 1 ? dag.literal('mask', 1) : other;
    if (op === 'xor' || op === 'ne') return value === 1 ? dag.unary('not', other) : other;
    if (op === 'eq') return value === 1 ? other : dag.unary('not', other);
  }
  return undefined;
}

export function simplifySelect(dag: Simplifier, condition: Ref, a: Ref, b: Ref): Ref | undefined {
  const value = dag.literalOf(condition);
  if (value !== undefined) return value === 1 ? a : b;
  return a === b ? a : undefined;
}

export function simplifyConvert(dag: Simplifier, to: RegisterType, a: Ref): Ref | undefined {
  const from = dag.typeOf(a);
  if (from === to) return a;
  const value = dag.literalOf(a);
  if (value === undefined) return undefined;
  switch (to) {
    case 'mask':
      return dag.literal('mask', value !== 0 ? 1 : 0);
    case 'f32':
      return exactly(dag, value);
    case 'i32':
      return dag.literal('i32', from === 'f32' ? toInt32(value) : value | 0);
    case 'u32':
      return from === 'f32' ? undefined : dag.literal('u32', value >>> 0);
  }
}

/**
 * c·(d·x) as (c·d)·x, for a literal c and a d that is a literal or changes less often than x: one product less in the
 * innermost body, and as many roundings. |c| ≤ 1 where d is no literal, so that c·d cannot overflow.
 */
export function regroupProduct(dag: Simplifier, a: Ref, b: Ref): Ref | undefined {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ]) {
    const c = dag.literalOf(one);
    const inner = dag.factors(other);
    if (
      c === undefined ||
      inner === undefined ||
      !(Math.abs(c) > SMALLEST_FACTOR && Math.abs(c) < 1 / SMALLEST_FACTOR)
    ) {
      continue;
    }
    for (const [d, x] of [inner, [inner[1], inner[0]] as const]) {
      const value = dag.literalOf(d);
      if (value !== undefined) {
        const product = Math.fround(c * value);
        const moderate = Math.abs(product) > SMALLEST_FACTOR && Math.abs(product) < 1 / SMALLEST_FACTOR;
        // Computed by the code, once, unless it is exact: in whatever precision that has.
        if (moderate) return dag.binary('mul', x, dag.binary('mul', one, d));
      } else if (Math.abs(c) <= 1 && dag.scopeOf(d) < dag.scopeOf(x)) {
        return dag.binary('mul', dag.binary('mul', one, d), x);
      }
    }
  }
  return undefined;
}

const SMALLEST_FACTOR = 2 ** -40;
