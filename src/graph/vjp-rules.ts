/** Reverse-mode rules, one an op. Every result consists of graph ops again, so derivatives of derivatives work. */
import type { GraphBuilder } from './builder';
import { OP_NAMES } from './infer';
import type { NodeOf, OpName, ValueId } from './ir';
import { attained, expand, PARTIALS } from './partials';
import { windowSizes } from './windows';

/**
 * Cotangent of one operand, given the cotangent `g` of the result of node `id`. undefined is zero. Called only for
 * float32 operands that depend on what is differentiated by, so that nothing is emitted for the others.
 */
export type VjpRule<P extends OpName> = (
  b: GraphBuilder,
  node: NodeOf<P>,
  id: ValueId,
  operand: number,
  g: ValueId,
) => ValueId | undefined;

/** The derivative is zero wherever it exists, or the op has no operands. */
export const ZERO = undefined;

const reduceExtremum: VjpRule<'reduceMax' | 'reduceMin'> = (b, node, id, _operand, g) => {
  const { mask, share } = attained(b, node, id);
  const shape = b.shape(node.inputs[0]);
  return b.select(mask, expand(b, b.op('mul', g, share), shape, node.attributes.axes), b.fill(0, shape));
};

export const VJP_RULES: { readonly [P in OpName]: VjpRule<P> | typeof ZERO } = {
  ...PARTIALS,

  input: ZERO,
  constant: ZERO,
  table: ZERO,
  random: ZERO,
  iota: ZERO,

  sign: ZERO,
  floor: ZERO,
  ceil: ZERO,
  round: ZERO,
  isNan: ZERO,
  isFinite: ZERO,
  not: ZERO,
  stopGradient: ZERO,
  eq: ZERO,
  ne: ZERO,
  lt: ZERO,
  le: ZERO,
  gt: ZERO,
  ge: ZERO,
  and: ZERO,
  or: ZERO,
  argMax: ZERO,
  argMin: ZERO,

  select: (b, node, _id, operand, g) => {
    const zero = b.fill(0, b.shape(g));
    return operand === 1 ? b.select(node.inputs[0], g, zero) : b.select(node.inputs[0], zero, g);
  },
  // C = AB: dA = G·Bᵀ, dB = Aᵀ·G; an operand that is stored transposed gets its cotangent transposed.
  matmul: (b, node, _id, operand, g) => {
    const [x, y] = node.inputs;
    const { transposeA, transposeB } = node.attributes;
    if (operand === 0) {
      return transposeA
        ? b.emit('matmul', [y, g], { transposeA: transposeB, transposeB: true })
        : b.emit('matmul', [g, y], { transposeA: false, transposeB: !transposeB });
    }
    return transposeB
      ? b.emit('matmul', [g, x], { transposeA: true, transposeB: transposeA })
      : b.emit('matmul', [x, g], { transposeA: !transposeA, transposeB: false });
  },
  reduceSum: (b, node, _id, _operand, g) => expand(b, g, b.shape(node.inputs[0]), node.attributes.axes),
  reduceMax: reduceExtremum,
  reduceMin: reduceExtremum,
  broadcast: (b, node, _id, _operand, g) => b.sumTo(g, b.shape(node.inputs[0])),
  reshape: (b, node, _id, _operand, g) => b.reshape(g, b.shape(node.inputs[0])),
  transpose: (b, node, _id, _operand, g) => {
    const { perm } = node.attributes;
    return b.transpose(
      g,
      perm.map((_, axis) => perm.indexOf(axis)),
    );
  },
  slice: (b, node, _id, _operand, g) => {
    const { begin, size, strides } = node.attributes;
    if (size.includes(0)) return ZERO;
    const shape = b.shape(node.inputs[0]);
    return b.emit('pad', [g], {
      low: begin,
      high: shape.map((extent, i) => extent - (begin[i] + (size[i] - 1) * strides[i] + 1)),
      interior: strides.map((stride) => stride - 1),
    });
  },
  pad: (b, node, _id, _operand, g) =>
    b.emit('slice', [g], {
      begin: node.attributes.low,
      size: b.shape(node.inputs[0]),
      strides: node.attributes.interior.map((interior) => interior + 1),
    }),
  windows: (b, node, _id, _operand, g) => {
    const { axes, strides, dilations } = node.attributes;
    const shape = b.shape(node.inputs[0]);
    return b.emit('foldWindows', [g], { axes, extents: axes.map((axis) => shape[axis]), strides, dilations });
  },
  foldWindows: (b, node, _id, _operand, g) => {
    const { axes, strides, dilations } = node.attributes;
    return b.emit('windows', [g], { axes, sizes: windowSizes(b.shape(node.inputs[0]), axes), strides, dilations });
  },
  concat: (b, node, _id, operand, g) => {
    const { axis } = node.attributes;
    const size = b.shape(node.inputs[operand]);
    const before = node.inputs.slice(0, operand).reduce((sum, input) => sum + b.shape(input)[axis], 0);
    return b.emit('slice', [g], {
      begin: size.map((_, i) => (i === axis ? before : 0)),
      size,
      strides: size.map(() => 1),
    });
  },
  reverse: (b, node, _id, _operand, g) => b.emit('reverse', [g], node.attributes),
  // Both clamp indices in the same way.
  gather: (b, node, _id, _operand, g) =>
    b.emit('scatterAdd', [node.inputs[1], g], { rows: b.shape(node.inputs[0])[0] }),
  scatterAdd: (b, node, _id, _operand, g) => b.op('gather', g, node.inputs[0]),
};

const LEAVES: readonly OpName[] = ['input', 'constant', 'table', 'random', 'iota'];

/** Ops with operands whose derivative is zero by rule: steps, comparisons, bool and index ops, and `stopGradient`. */
export const NON_SMOOTH_OPS: readonly OpName[] = OP_NAMES.filter(
  (op) => VJP_RULES[op] === ZERO && !LEAVES.includes(op),
);
