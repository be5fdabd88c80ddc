/**
 * Elementwise kernels. Composites are chosen so that values and derivatives of every order are right where the textbook
 * form overflows, cancels or has a kink; a select never lets an infinity of the branch not taken into a derivative.
 */
import { backend_util, util, type CastAttrs, type ClipByValueAttrs, type FillAttrs } from '@tensorflow/tfjs';
import type { LeakyReluAttrs, StepAttrs } from '@tensorflow/tfjs';
import type { NoAttributes, OpAttributes, OpName, ValueId } from '../ir';
import type { KernelCall, KernelRule } from './kernel';
import { constantDType } from './session';

type PlainOp = { [P in OpName]: NoAttributes extends OpAttributes[P] ? P : never }[OpName];

/**
 * A function of float32 `x`. An int32 operand gives an int32 result, truncated, as tfjs's own kernels do.
 */
function floatUnary(body: (k: KernelCall, x: ValueId) => ValueId): KernelRule {
  return (k) => {
    const x = k.numeric(k.input('x'));
    return k.g.cast(body(k, k.float(x)), k.dtype(x) as 'float32' | 'int32');
  };
}

const floatOp = (op: PlainOp): KernelRule => floatUnary((k, x) => k.g.op(op, x));

/** An op with an int32 form of its own. */
const numericOp =
  (op: PlainOp): KernelRule =>
  (k) =>
    k.g.op(op, k.numeric(k.input('x')));

/** Both operands broadcast and upcast; bool is refused, since TensorFlow.js's results for it differ by backend. */
function binary(body: (k: KernelCall, a: ValueId, b: ValueId) => ValueId): KernelRule {
  return (k) => {
    const [a, b] = k.upcast(k.input('a'), k.input('b'));
    if (k.dtype(a) === 'bool') k.refuse('numbers', 'two bool tensors; cast them to int32 or float32');
    return body(k, a, b);
  };
}

const binaryOp = (op: PlainOp): KernelRule => binary((k, a, b) => k.g.binary(op, a, b));

const comparison =
  (op: PlainOp): KernelRule =>
  (k) => {
    const [a, b] = k.upcast(k.input('a'), k.input('b'));
    return k.g.binary(op, k.numeric(a), k.numeric(b));
  };

const logical =
  (op: PlainOp): KernelRule =>
  (k) =>
    k.g.binary(op, k.g.cast(k.input('a'), 'bool'), k.g.cast(k.input('b'), 'bool'));

/** A float32 → bool test; integers are tested as floats. */
const test =
  (body: (k: KernelCall, x: ValueId) => ValueId): KernelRule =>
  (k) =>
    body(k, k.float(k.input('x')));

const not0 = (k: KernelCall, x: ValueId): ValueId => k.g.binary('gt', x, k.scalar(0));

/** x ≤ 0 → 0, derivative 0 there; NaN stays NaN, which max(x, 0) with a tie-breaking derivative would not give. */
export function relu(k: KernelCall, x: ValueId): ValueId {
  const zero = k.constantLike(0, x);
  return k.g.select(k.g.op('le', x, zero), zero, x);
}

export function relu6(k: KernelCall, x: ValueId): ValueId {
  const six = k.constantLike(6, x);
  return k.g.select(k.g.op('gt', x, six), six, relu(k, x));
}

/** x for x > 0, else slope·x; `slope` broadcasts. */
export function leakyRelu(k: KernelCall, x: ValueId, slope: ValueId): ValueId {
  return k.g.select(not0(k, x), x, k.g.binary('mul', x, slope));
}

/** scale·x for x ≥ 0, else scale·α·(eˣ − 1). */
function scaledElu(k: KernelCall, x: ValueId, scale: number, scaleAlpha: number): ValueId {
  const { g } = k;
  const zero = k.constantLike(0, x);
  const curve = g.op('expm1', g.op('min', x, zero));
  const times = (value: ValueId, factor: number): ValueId =>
    factor === 1 ? value : g.binary('mul', value, k.scalar(factor));
  return g.select(g.op('ge', x, zero), times(x, scale), times(curve, scaleAlpha));
}

export const elu = (k: KernelCall, x: ValueId): ValueId => scaledElu(k, x, 1, 1);

/** max(x, 0) + log1p(e^−|x|), with selects for max and | | so that the derivative at 0 is 1/2. */
function softplus(k: KernelCall, x: ValueId): ValueId {
  const { g } = k;
  const positive = not0(k, x);
  const tail = g.op('log1p', g.op('exp', g.select(positive, g.op('neg', x), x)));
  return g.op('add', g.select(positive, x, k.constantLike(0, x)), tail);
}

const half = (k: KernelCall, x: ValueId): ValueId => k.g.binary('mul', x, k.scalar(0.5));
const plusOne = (k: KernelCall, x: ValueId): ValueId => k.g.binary('add', x, k.scalar(1));
/** √((1 − x)(1 + x)): 1 − x² cancels near ±1. */
const cosineOf = (k: KernelCall, x: ValueId): ValueId =>
  k.g.op('sqrt', k.g.op('mul', k.g.binary('sub', k.scalar(1), x), plusOne(k, x)));

/** Where asinh and acosh are log 2x to all digits of float64, and their squares still far from overflow. */
const LARGE = 1e9;

/** `body` of u up to LARGE, log u + log 2 above. */
function logarithmic(k: KernelCall, u: ValueId, body: (u: ValueId) => ValueId): ValueId {
  const { g } = k;
  const large = g.binary('gt', u, k.scalar(LARGE));
  const log = g.binary('add', g.op('log', g.select(large, u, k.scalar(1))), k.scalar(Math.LN2));
  return g.select(large, log, body(g.select(large, k.scalar(2), u)));
}

/** 2·sinh(h)·cosh(h), h = x/2: eˣ would overflow where sinh x, its half, does not. (The slope still does there.) */
function sinh(k: KernelCall, x: ValueId): ValueId {
  const { g } = k;
  const h = half(k, x);
  const minus = g.op('neg', h);
  const twice = g.op('sub', g.op('expm1', h), g.op('expm1', minus));
  return g.op('mul', twice, half(k, g.op('add', g.op('exp', h), g.op('exp', minus))));
}

/** (e^h)²/2 + (e^−h)²/2, h = x/2; see sinh. */
function cosh(k: KernelCall, x: ValueId): ValueId {
  const { g } = k;
  const h = half(k, x);
  const halfSquare = (e: ValueId): ValueId => g.op('mul', half(k, e), e);
  return g.op('add', halfSquare(g.op('exp', h)), halfSquare(g.op('exp', g.op('neg', h))));
}

/** Odd: computed for |x| as log1p(u + u·u/(1 + √(1 + u²))), which does not cancel. */
function asinh(k: KernelCall, x: ValueId): ValueId {
  const { g } = k;
  const negative = g.binary('lt', x, k.scalar(0));
  const y = logarithmic(k, g.select(negative, g.op('neg', x), x), (u) => {
    const root = g.op('sqrt', plusOne(k, g.op('mul', u, u)));
    return g.op('log1p', g.op('add', u, g.op('mul', u, g.op('div', u, plusOne(k, root)))));
  });
  return g.select(negative, g.op('neg', y), y);
}

/** log1p(t + √(t(t + 2))), t = x − 1; NaN below 1, also where t² overflows. */
function acosh(k: KernelCall, x: ValueId): ValueId {
  const { g } = k;
  return logarithmic(k, g.select(g.binary('lt', x, k.scalar(-1)), k.scalar(-1), x), (u) => {
    const t = g.binary('sub', u, k.scalar(1));
    const root = g.op('sqrt', g.op('mul', t, g.binary('add', t, k.scalar(2))));
    return g.op('log1p', g.op('add', t, root));
  });
}

/** 1 for x > 0, `alpha` for x ≤ 0, NaN for NaN. */
function step(k: KernelCall, x: ValueId, alpha: number): ValueId {
  const { g } = k;
  if (alpha === 0) return g.op('max', g.op('sign', x), k.constantLike(0, x));
  const stepped = g.select(not0(k, x), k.scalar(1), k.scalar(alpha));
  return g.select(g.op('isNan', x), x, stepped);
}

export const ELEMENTWISE_RULES = {
  // One operand.
  Abs: numericOp('abs'),
  Neg: numericOp('neg'),
  Sign: numericOp('sign'),
  Floor: floatOp('floor'),
  Ceil: floatOp('ceil'),
  Round: floatOp('round'),
  /** float32 also of int32, unlike its neighbours: so it is in tfjs. */
  Exp: (k) => k.g.op('exp', k.float(k.input('x'))),
  Expm1: floatOp('expm1'),
  Log: floatOp('log'),
  Log1p: floatOp('log1p'),
  Sqrt: floatOp('sqrt'),
  Rsqrt: floatOp('rsqrt'),
  Sin: floatOp('sin'),
  Cos: floatOp('cos'),
  Atan: floatOp('atan'),
  Tanh: floatOp('tanh'),
  Sigmoid: floatOp('sigmoid'),
  Erf: floatOp('erf'),
  Tan: floatUnary((k, x) => k.g.op('div', k.g.op('sin', x), k.g.op('cos', x))),
  Asin: floatUnary((k, x) => k.g.op('atan2', x, cosineOf(k, x))),
  Acos: floatUnary((k, x) => k.g.op('atan2', cosineOf(k, x), x)),
  Sinh: floatUnary(sinh),
  Cosh: floatUnary(cosh),
  Asinh: floatUnary(asinh),
  Acosh: floatUnary(acosh),
  Atanh: floatUnary((k, x) => half(k, k.g.op('sub', k.g.op('log1p', x), k.g.op('log1p', k.g.op('neg', x))))),
  Reciprocal: floatUnary((k, x) => k.g.binary('div', k.scalar(1), x)),
  Square: (k) => {
    const x = k.numeric(k.input('x'));
    return k.g.op('mul', x, x);
  },
  Relu: (k) => relu(k, k.numeric(k.input('x'))),
  Relu6: (k) => relu6(k, k.numeric(k.input('x'))),
  LeakyRelu: (k, { alpha }: LeakyReluAttrs) => leakyRelu(k, k.float(k.input('x')), k.scalar(alpha)),
  Prelu: (k) => leakyRelu(k, k.float(k.input('x')), k.float(k.input('alpha'))),
  Elu: floatUnary(elu),
  Selu: floatUnary((k, x) => scaledElu(k, x, backend_util.SELU_SCALE, backend_util.SELU_SCALEALPHA)),
  Softplus: floatUnary(softplus),
  Step: (k, { alpha }: Partial<StepAttrs>) => {
    const x = k.numeric(k.input('x'));
    return k.g.cast(step(k, k.float(x), alpha ?? 0), k.dtype(x) as 'float32' | 'int32');
  },
  ClipByValue: (k, { clipValueMin, clipValueMax }: ClipByValueAttrs) => {
    const x = k.numeric(k.input('x'));
    const [low, high] = [k.constantLike(clipValueMin, x), k.constantLike(clipValueMax, x)];
    return k.g.select(k.g.op('gt', x, high), high, k.g.select(k.g.op('lt', x, low), low, x));
  },
  IsNan: test((k, x) => k.g.op('isNan', x)),
  IsFinite: test((k, x) => k.g.op('isFinite', x)),
  IsInf: test((k, x) => k.g.op('not', k.g.op('or', k.g.op('isFinite', x), k.g.op('isNan', x)))),
  LogicalNot: (k) => k.g.op('not', k.g.cast(k.input('x'), 'bool')),
  Cast: (k, { dtype }: CastAttrs) => k.g.cast(k.input('x'), constantDType(dtype)),
  Identity: (k) => k.input('x'),
  ZerosLike: (k) => k.constantLike(0, k.input('x')),
  OnesLike: (k) => k.constantLike(1, k.input('x')),
  Fill: (k, { shape, value, dtype }: Omit<FillAttrs, 'dtype'> & Partial<FillAttrs>) =>
    k.g.fill(Number(value), shape, constantDType(dtype ?? util.inferDtype(value))),

  // Two operands.
  Add: binaryOp('add'),
  Sub: binaryOp('sub'),
  Multiply: binaryOp('mul'),
  RealDiv: binary((k, a, b) => k.g.binary('div', k.float(a), k.float(b))),
  FloorDiv: binary((k, a, b) => {
    const quotient = k.g.binary('div', a, b);
    return k.dtype(a) === 'int32' ? quotient : k.g.cast(k.g.op('floor', quotient), 'int32');
  }),
  Mod: binaryOp('mod'),
  Pow: binary((k, a, b) => {
    const power = k.g.binary('pow', k.float(a), k.float(b));
    // Rounded, since a float power of integers may come out just below the integer that it is.
    return k.dtype(a) === 'int32' ? k.g.cast(k.g.op('round', power), 'int32') : power;
  }),
  Atan2: binaryOp('atan2'),
  Maximum: binaryOp('max'),
  Minimum: binaryOp('min'),
  SquaredDifference: binary((k, a, b) => {
    const difference = k.g.binary('sub', a, b);
    return k.g.op('mul', difference, difference);
  }),
  AddN: (k) => k.all().reduce((sum, x) => k.g.op('add', sum, x)),
  EluGrad: (k) => {
    const [dy, y] = [k.input('dy'), k.input('y')];
    return k.g.select(k.g.binary('ge', y, k.scalar(0)), dy, k.g.op('mul', dy, plusOne(k, y)));
  },
  Equal: comparison('eq'),
  NotEqual: comparison('ne'),
  Less: comparison('lt'),
  LessEqual: comparison('le'),
  Greater: comparison('gt'),
  GreaterEqual: comparison('ge'),
  LogicalAnd: logical('and'),
  LogicalOr: logical('or'),
  Select: (k) => k.g.select(k.input('condition'), ...k.upcast(k.input('t'), k.input('e'))),
} satisfies Record<string, KernelRule>;
