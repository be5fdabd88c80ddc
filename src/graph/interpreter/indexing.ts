/** Row-major index arithmetic, done once when a graph is compiled. */
import { sizeOf, type Shape, type Windowing } from '../ir';
import { windowed } from '../windows';

export function rowMajorStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/** offset + Σ index[axis]·strides[axis] for every index of `shape`, in row-major order. */
export function stridedIndices(shape: Shape, strides: readonly number[], offset = 0): Int32Array {
  const out = new Int32Array(sizeOf(shape));
  if (out.length === 0) return out;
  const index = new Array<number>(shape.length).fill(0);
  let at = offset;
  for (let i = 0; i < out.length; i++) {
    out[i] = at;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

/**
 * Indices of the operand grouped by element of the result: those that reduce to result element o stand at
 * o·count … (o+1)·count−1, in row-major order. Undefined if that is the identity.
 */
export function reductionOrder(shape: Shape, axes: readonly number[]): Int32Array | undefined {
  const kept = shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const order = [...kept, ...axes];
  if (order.every((axis, i) => axis === i)) return undefined;
  const strides = rowMajorStrides(shape);
  return stridedIndices(
    order.map((axis) => shape[axis]),
    order.map((axis) => strides[axis]),
  );
}

/** For every element of the windows, `shape`, where it stands in the value that they look at. */
export function windowIndices(shape: Shape, of: Shape, { axes, strides, dilations }: Windowing): Int32Array {
  return stridedIndices(
    shape,
    windowed(
      rowMajorStrides(of),
      axes,
      (i, step) => step * strides[i],
      (i, step) => step * dilations[i],
    ),
  );
}
