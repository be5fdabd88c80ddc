/** Matrix products and einsum. Integers are multiplied as float32 and are exact up to 2²⁴. */
import type { _FusedMatMulAttrs, BatchMatMulAttrs, EinsumAttrs } from '@tensorflow/tfjs';
import { commonShape } from '../builder';
import { sizeOf, type ValueId } from '../ir';
import type { KernelCall, KernelRule } from './kernel';
import { elu, leakyRelu, relu, relu6 } from './rules-elementwise';

function matMul(k: KernelCall, a: ValueId, b: ValueId, transposeA: boolean, transposeB: boolean): ValueId {
  const { g } = k;
  const integer = k.dtype(a) === 'int32' && k.dtype(b) === 'int32';
  const [x, y] = [k.float(a), k.float(b)];
  const product = floatMatMul(k, x, y, transposeA, transposeB);
  return integer ? g.cast(product, 'int32') : product;
}

function floatMatMul(k: KernelCall, a: ValueId, b: ValueId, transposeA: boolean, transposeB: boolean): ValueId {
  const { g } = k;
  const [shapeA, shapeB] = [k.shape(a), k.shape(b)];
  const [batchA, batchB] = [shapeA.slice(0, -2), shapeB.slice(0, -2)];
  const [lastA, lastB] = [shapeA.slice(-2), shapeB.slice(-2)];
  if (batchA.length + batchB.length > 0 && sizeOf(batchB) === 1 && !transposeA && batchB.length <= batchA.length) {
    // One matrix for the whole batch: the batch's rows are rows of one taller product.
    const rows = g.reshape(a, [sizeOf(batchA) * lastA[0], lastA[1]]);
    const product = g.emit('matmul', [rows, g.reshape(b, lastB)], { transposeA: false, transposeB });
    return g.reshape(product, [...batchA, lastA[0], k.shape(product)[1]]);
  }
  const batch = commonShape(batchA, batchB);
  return g.emit('matmul', [g.broadcast(a, [...batch, ...lastA]), g.broadcast(b, [...batch, ...lastB])], {
    transposeA,
    transposeB,
  });
}

export function activate(
  k: KernelCall,
  x: ValueId,
  attributes: Pick<_FusedMatMulAttrs, 'activation' | 'leakyreluAlpha'>,
): ValueId {
  switch (attributes.activation) {
    case 'linear':
      return x;
    case 'relu':
      return relu(k, x);
    case 'relu6':
      return relu6(k, x);
    case 'elu':
      return elu(k, x);
    case 'sigmoid':
      return k.g.op('sigmoid', x);
    case 'leakyrelu':
      return leakyRelu(k, x, k.scalar(attributes.leakyreluAlpha ?? 0.2));
    case 'prelu':
      return leakyRelu(k, x, k.input('preluActivationWeights'));
    default:
      return k.refuse('a known activation', String(attributes.activation));
  }
}

/** A value whose axes have names. */
interface Term {
  readonly id: ValueId;
  readonly axes: readonly string[];
}

function permuted(k: KernelCall, term: Term, axes: readonly string[]): ValueId {
  return k.g.transpose(
    term.id,
    axes.map((axis) => term.axes.indexOf(axis)),
  );
}

/** Sums over the axes of a term that nothing else needs. */
function summed(k: KernelCall, term: Term, needed: ReadonlySet<string>): Term {
  const gone = term.axes.flatMap((axis, i) => (needed.has(axis) ? [] : [i]));
  return { id: k.g.reduceSum(term.id, gone), axes: term.axes.filter((axis) => needed.has(axis)) };
}

/** The product of two terms, summed over the axes that are not in `kept`, as one (batched) matrix product. */
function contract(k: KernelCall, a: Term, b: Term, kept: ReadonlySet<string>): Term {
  const { g } = k;
  const left = summed(k, a, new Set([...kept, ...b.axes]));
  const right = summed(k, b, new Set([...kept, ...a.axes]));
  const shared = left.axes.filter((axis) => right.axes.includes(axis));
  const batch = shared.filter((axis) => kept.has(axis));
  const inner = shared.filter((axis) => !kept.has(axis));
  const rows = left.axes.filter((axis) => !shared.includes(axis));
  const columns = right.axes.filter((axis) => !shared.includes(axis));
  const extent = (axis: string): number => {
    const at = left.axes.indexOf(axis);
    return at >= 0 ? k.shape(left.id)[at] : k.shape(right.id)[right.axes.indexOf(axis)];
  };
  const size = (axes: readonly string[]): number => sizeOf(axes.map(extent));
  const axes = [...batch, ...rows, ...columns];
  const x = permuted(k, left, [...batch, ...rows, ...inner]);
  if (inner.length === 0) {
    const y = permuted(k, right, [...batch, ...columns]);
    const spread = (id: ValueId, own: readonly string[]): ValueId =>
      g.reshape(
        id,
        axes.map((axis) => (batch.includes(axis) || own.includes(axis) ? extent(axis) : 1)),
      );
    return { id: g.binary('mul', spread(x, rows), spread(y, columns)), axes };
  }
  const y = permuted(k, right, [...batch, ...inner, ...columns]);
  const batches = batch.length === 0 ? [] : [size(batch)];
  const product = g.emit(
    'matmul',
    [g.reshape(x, [...batches, size(rows), size(inner)]), g.reshape(y, [...batches, size(inner), size(columns)])],
    { transposeA: false, transposeB: false },
  );
  return { id: g.reshape(product, axes.map(extent)), axes };
}

function einsum(k: KernelCall, { equation }: EinsumAttrs): ValueId {
  const [inputs, output] = equation.replaceAll(' ', '').split('->') as [string, string | undefined];
  if (output === undefined || equation.includes('.')) k.refuse('an explicit equation such as ij,jk->ik', equation);
  const terms = k.all().map((id, i): Term => {
    const axes = inputs.split(',')[i].split('');
    if (new Set(axes).size !== axes.length) k.refuse('an axis at most once in each operand', equation);
    return { id: k.float(id), axes };
  });
  const letters = output.split('');
  const [first, ...rest] = terms;
  const result = rest.reduce((product, term, i) => {
    const later = rest.slice(i + 1).flatMap((other) => other.axes);
    return contract(k, product, term, new Set([...letters, ...later]));
  }, first);
  return permuted(k, summed(k, result, new Set(letters)), letters);
}

export const CONTRACTION_RULES = {
  BatchMatMul: (k, { transposeA, transposeB }: BatchMatMulAttrs) =>
    matMul(k, k.input('a'), k.input('b'), transposeA, transposeB),
  _FusedMatMul: (k, attributes: _FusedMatMulAttrs) => {
    const product = matMul(k, k.input('a'), k.input('b'), attributes.transposeA, attributes.transposeB);
    const bias = k.optional('bias');
    return activate(k, bias === undefined ? product : k.g.binary('add', product, bias), attributes);
  },
  Einsum: einsum,
} satisfies Record<string, KernelRule>;
