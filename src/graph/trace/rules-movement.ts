/** Kernels that move, repeat or select elements. */
import { backend_util, slice_util, util } from '@tensorflow/tfjs';
import type {
  ConcatAttrs,
  ExpandDimsAttrs,
  LinSpaceAttrs,
  PackAttrs,
  PadV2Attrs,
  RangeAttrs,
  ReshapeAttrs,
  ReverseAttrs,
  SliceAttrs,
  SplitVAttrs,
  StridedSliceAttrs,
  TileAttrs,
  TransposeAttrs,
  UnpackAttrs,
} from '@tensorflow/tfjs';
import { sizeOf, type Shape, type ValueId } from '../ir';
import type { KernelCall, KernelRule } from './kernel';

/** A non-negative axis of something of this rank. */
const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

const strideOne = (shape: Shape): number[] => shape.map(() => 1);

function slice(k: KernelCall, x: ValueId, begin: readonly number[], size: readonly number[]): ValueId {
  const shape = k.shape(x);
  const whole = size.every((extent, i) => extent === shape[i]);
  return whole ? x : k.g.emit('slice', [x], { begin, size, strides: strideOne(shape) });
}

/** Consecutive pieces of the given sizes along an axis. */
function pieces(k: KernelCall, x: ValueId, axis: number, sizes: readonly number[]): ValueId[] {
  let at = 0;
  return sizes.map((extent) => {
    const begin = k.shape(x).map((_, i) => (i === axis ? at : 0));
    at += extent;
    return slice(
      k,
      x,
      begin,
      k.shape(x).map((whole, i) => (i === axis ? extent : whole)),
    );
  });
}

/** Repeats every axis `reps` times, by broadcasting an axis put in front of it. */
function tile(k: KernelCall, x: ValueId, reps: readonly number[]): ValueId {
  const shape = k.shape(x);
  const repeated = shape.map((extent, i) => extent * reps[i]);
  if (shape.every((extent, i) => extent === 1 || reps[i] === 1)) return k.g.broadcast(x, repeated);
  const spread = k.g.reshape(
    x,
    shape.flatMap((extent) => [1, extent]),
  );
  const wide = k.g.broadcast(
    spread,
    shape.flatMap((extent, i) => [reps[i], extent]),
  );
  return k.g.reshape(wide, repeated);
}

function reverse(k: KernelCall, x: ValueId, axes: readonly number[]): ValueId {
  return axes.length === 0 ? x : k.g.emit('reverse', [x], { axes: [...axes].sort((a, b) => a - b) });
}

/** Negative strides reverse their axis first, so that the slice itself goes forward. */
function stridedSlice(k: KernelCall, attributes: StridedSliceAttrs): ValueId {
  const x = k.input('x');
  const shape = k.shape(x);
  const info = slice_util.sliceInfo(
    [...shape],
    attributes.begin,
    attributes.end,
    attributes.strides,
    attributes.beginMask,
    attributes.endMask,
    attributes.ellipsisMask,
    attributes.newAxisMask,
    attributes.shrinkAxisMask,
  );
  const size = slice_util.computeOutShape(info.begin, info.end, info.strides).map((extent) => Math.max(0, extent));
  const backward = info.strides.flatMap((stride, i) => (stride < 0 ? [i] : []));
  const sliced = k.g.emit('slice', [reverse(k, x, backward)], {
    begin: info.begin.map((begin, i) => (info.strides[i] < 0 ? shape[i] - 1 - begin : begin)),
    size,
    strides: info.strides.map(Math.abs),
  });
  return k.g.reshape(sliced, info.finalShape);
}

/** Numbers start + i·step, computed in float64. */
function progression(count: number, start: number, step: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => start + i * step);
}

export const MOVEMENT_RULES = {
  Reshape: (k, { shape }: ReshapeAttrs) => {
    const x = k.input('x');
    return k.g.reshape(x, util.inferFromImplicitShape(shape, sizeOf(k.shape(x))));
  },
  ExpandDims: (k, { dim }: ExpandDimsAttrs) => {
    const x = k.input('input');
    const shape = [...k.shape(x)];
    shape.splice(axisOf(dim, shape.length + 1), 0, 1);
    return k.g.reshape(x, shape);
  },
  Transpose: (k, { perm }: TransposeAttrs) => k.g.transpose(k.input('x'), perm),
  Tile: (k, { reps }: TileAttrs) => tile(k, k.input('x'), reps),
  Slice: (k, { begin, size }: SliceAttrs) => {
    const x = k.input('x');
    const shape = [...k.shape(x)];
    const [from, extents] = slice_util.parseSliceParams({ shape } as never, begin, size);
    return slice(k, x, from, extents);
  },
  StridedSlice: stridedSlice,
  PadV2: (k, { paddings, constantValue }: PadV2Attrs) => {
    const x = k.input('x');
    const interior = k.shape(x).map(() => 0);
    const attributes = { low: paddings.map(([low]) => low), high: paddings.map(([, high]) => high), interior };
    const padded = k.g.emit('pad', [x], attributes);
    if (constantValue === 0) return padded;
    const inside = k.g.emit('pad', [k.g.fill(1, k.shape(x), 'bool')], attributes);
    return k.g.select(inside, padded, k.constantLike(constantValue, padded));
  },
  Concat: (k, { axis }: ConcatAttrs) => {
    const parts = k.all();
    const along = axisOf(axis, k.shape(parts[0]).length);
    return parts.length === 1 ? parts[0] : k.g.emit('concat', parts, { axis: along });
  },
  Pack: (k, { axis }: PackAttrs) => {
    const parts = k.all();
    const along = axisOf(axis, k.shape(parts[0]).length + 1);
    const thick = parts.map((part) => {
      const shape = [...k.shape(part)];
      shape.splice(along, 0, 1);
      return k.g.reshape(part, shape);
    });
    return thick.length === 1 ? thick[0] : k.g.emit('concat', thick, { axis: along });
  },
  Unpack: (k, { axis }: UnpackAttrs) => {
    const x = k.input('value');
    const shape = k.shape(x);
    const along = axisOf(axis, shape.length);
    const thin = shape.filter((_, i) => i !== along);
    const sizes = new Array<number>(shape[along]).fill(1);
    return pieces(k, x, along, sizes).map((piece) => k.g.reshape(piece, thin));
  },
  SplitV: (k, { numOrSizeSplits, axis }: SplitVAttrs) => {
    const x = k.input('x');
    const shape = [...k.shape(x)];
    const along = axisOf(axis, shape.length);
    return pieces(k, x, along, backend_util.prepareSplitSize({ shape } as never, numOrSizeSplits, along));
  },
  Reverse: (k, { dims }: ReverseAttrs) => {
    const x = k.input('x');
    return reverse(k, x, util.parseAxisParam(dims, [...k.shape(x)]));
  },
  Range: (k, { start, stop, step, dtype }: RangeAttrs) => {
    const by = stop < start && step === 1 ? -1 : step;
    const count = start === stop || stop > start !== by > 0 ? 0 : Math.ceil((stop - start) / by);
    if (dtype === 'int32' && start === 0 && by === 1) return k.g.emit('iota', [], { shape: [count], axis: 0 });
    const numbers = progression(count, start, by);
    return k.g.constant(dtype === 'int32' ? Int32Array.from(numbers) : Float32Array.from(numbers), [count], dtype);
  },
  LinSpace: (k, { start, stop, num }: LinSpaceAttrs) =>
    k.g.constant(Float32Array.from(progression(num, start, (stop - start) / Math.max(1, num - 1))), [num], 'float32'),
} satisfies Record<string, KernelRule>;
