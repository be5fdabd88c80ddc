/** Rules of the product of matrices. */
import { sizeOf, type Shape } from '../../../graph/ir';
import { backendForms } from '../forms';
import { anyBatched, type Lowering, type Result, type Value } from '../lowering';
import { transpose } from './movement';
import type { Rule } from './rule';

/** The value with its last two axes exchanged if the flag says that it is stored transposed. */
function plain(l: Lowering, x: Value, transposed: boolean): Value {
  if (!transposed) return x;
  const rank = x.shape.length;
  return transpose(
    l,
    x,
    [...x.shape.keys()].map((axis) => (axis < rank - 2 ? axis : 2 * rank - 3 - axis)),
  );
}

/** One 2-D product with the rows of all particles; `b` is shared and has no batch axes. */
function collapsed(l: Lowering, a: Value, b: Value, transposeB: boolean, result: Result): Value {
  const k = a.shape[a.shape.length - 1];
  const flags = { transposeA: false, transposeB };
  const rows = l.size(a) / k;
  const shapes = { a: [1, rows, k], b: [1, ...b.shape.slice(-2)] };
  return l.kernel('BatchMatMul', { a, b }, flags, result, shapes, [1, rows, result.shape[result.shape.length - 1]]);
}

/** A plain product for every particle and batch index, each on its part of the operands, without copies. */
function byViews(l: Lowering, a: Value, b: Value, result: Result): Value {
  const memory = l.device.memory!;
  const products = l.device.products!;
  const rank = result.shape.length;
  const [m, n] = [result.shape[rank - 2], result.shape[rank - 1]];
  const k = a.shape[rank - 1];
  const batch = sizeOf(result.shape.slice(0, -2));
  const particles = result.batched ? l.particles : 1;
  const shape = l.deviceShape(result);
  return l.instruction('products of views', l.stageOf([a, b]), [a, b], result, ({ data }) => {
    const out = memory.allocate(shape, 'float32');
    const [dataA, dataB] = [data[a.buffer]!, data[b.buffer]!];
    for (let p = 0; p < particles; p++) {
      for (let i = 0; i < batch; i++) {
        products.multiply(
          { dataId: dataA, offset: ((a.batched ? p * batch : 0) + i) * m * k },
          { dataId: dataB, offset: ((b.batched ? p * batch : 0) + i) * k * n },
          { dataId: out, offset: (p * batch + i) * m * n },
          m,
          k,
          n,
        );
      }
    }
    return out;
  });
}

function lead(shape: Shape): Shape {
  return shape.slice(0, -2);
}

const matmul: Rule<'matmul'> = (l, node, [lazyA, lazyB]) => {
  const { transposeA, transposeB } = node.attributes;
  const a = l.full(lazyA, l.logicalShape(node.inputs[0]));
  const b = l.full(lazyB, l.logicalShape(node.inputs[1]));
  const { shape } = node.type;
  const result: Result = { shape, dtype: 'float32', batched: anyBatched([a, b]) };
  const rank = shape.length;
  const k = a.shape[transposeA ? rank - 2 : rank - 1];
  const flops = 2 * shape[rank - 2] * shape[rank - 1] * k;
  if (flops === 0) return l.filled(result, 0);

  const forms = backendForms(l.device);
  const views = l.device.products !== undefined && flops >= forms.viewsFromFlops;
  if (forms.collapseRows && a.batched && !b.batched && sizeOf(lead(b.shape)) === 1 && !transposeA) {
    // A shared right operand is transposed once for all steps.
    const right = views ? plain(l, b, transposeB) : b;
    return collapsed(l, a, right, views ? false : transposeB, result);
  }
  if (views) return byViews(l, plain(l, a, transposeA), plain(l, b, transposeB), result);
  if (l.device.products !== undefined && result.batched && l.particles === 1 && !transposeA && !transposeB) {
    // Without flags a lone product goes through XNNPACK, which sums in another order than the loop that several take.
    return batchedCall(l, a, plain(l, b, true), false, true, result);
  }
  return batchedCall(l, a, b, transposeA, transposeB, result);
};

/** Kernels broadcast the batch axes; a shared operand lacks the particles' one. */
function batchedCall(l: Lowering, a: Value, b: Value, transposeA: boolean, transposeB: boolean, result: Result): Value {
  const seen = (x: Value): number[] => (x.batched || !result.batched ? l.deviceShape(x) : [1, ...x.shape]);
  return l.kernel('BatchMatMul', { a, b }, { transposeA, transposeB }, result, { a: seen(a), b: seen(b) });
}

export const CONTRACT_RULES = { matmul } as const;
