/** Kernels that gather and scatter by index. An index out of range is clamped, where tfjs-cpu would throw at run time. */
import type { GatherV2Attrs, OneHotAttrs, ScatterNdAttrs, UnsortedSegmentSumAttrs } from '@tensorflow/tfjs';
import { sizeOf, type Shape, type ValueId } from '../ir';
import type { KernelCall, KernelRule } from './kernel';
import { constantDType } from './session';

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

function gatherAlong(k: KernelCall, x: ValueId, indices: ValueId, axis: number): ValueId {
  const rank = k.shape(x).length;
  if (axis === 0) return k.g.op('gather', x, indices);
  // The axis moves to the front for the gather; the axes of the indices move back to where it was.
  const front = k.g.transpose(x, [axis, ...range(0, axis), ...range(axis + 1, rank)]);
  const gathered = k.g.op('gather', front, indices);
  const width = k.shape(indices).length;
  return k.g.transpose(gathered, [
    ...range(width, width + axis),
    ...range(0, width),
    ...range(width + axis, width + rank - 1),
  ]);
}

/** Row numbers int32 […b] of indices […b, depth] into the first `depth` axes of `shape`. */
function rowNumbers(k: KernelCall, indices: ValueId, shape: Shape): ValueId {
  const extents = k.shape(indices);
  const depth = extents[extents.length - 1];
  const strides = range(0, depth).map((i) => sizeOf(shape.slice(i + 1, depth)));
  const scaled = k.g.binary('mul', indices, k.g.constant(Int32Array.from(strides), [depth], 'int32'));
  return k.g.reduceSum(scaled, [extents.length - 1]);
}

export const INDEXING_RULES = {
  GatherV2: (k, { axis, batchDims }: GatherV2Attrs) => {
    if (batchDims !== 0) k.refuse('batchDims = 0', `batchDims = ${batchDims}`);
    const x = k.input('x');
    const rank = k.shape(x).length;
    return gatherAlong(k, x, k.g.cast(k.input('indices'), 'int32'), axis < 0 ? axis + rank : axis);
  },
  GatherNd: (k) => {
    const params = k.input('params');
    const indices = k.g.cast(k.input('indices'), 'int32');
    const shape = k.shape(params);
    const depth = k.shape(indices).at(-1) ?? 0;
    const rows = k.g.reshape(params, [sizeOf(shape.slice(0, depth)), ...shape.slice(depth)]);
    return k.g.op('gather', rows, rowNumbers(k, indices, shape));
  },
  ScatterNd: (k, { shape }: ScatterNdAttrs) => {
    const indices = k.g.cast(k.input('indices'), 'int32');
    const depth = k.shape(indices).at(-1) ?? 0;
    const rows = sizeOf(shape.slice(0, depth));
    const sums = k.g.emit('scatterAdd', [rowNumbers(k, indices, shape), k.input('updates')], { rows });
    return k.g.reshape(sums, shape);
  },
  UnsortedSegmentSum: (k, { numSegments }: UnsortedSegmentSumAttrs) => {
    const { g } = k;
    const x = k.numeric(k.input('x'));
    const ids = g.cast(k.input('segmentIds'), 'int32');
    // A segment that does not exist is left out of every sum; the graph's scatter would clamp its number.
    const inside = g.op(
      'and',
      g.binary('ge', ids, k.scalar(0, 'int32')),
      g.binary('lt', ids, k.scalar(numSegments, 'int32')),
    );
    const mask = g.reshape(inside, [
      ...k.shape(ids),
      ...k
        .shape(x)
        .slice(k.shape(ids).length)
        .map(() => 1),
    ]);
    const kept = g.select(mask, x, k.constantLike(0, x));
    return g.emit('scatterAdd', [ids, kept], { rows: numSegments });
  },
  OneHot: (k, { depth, onValue, offValue, dtype }: Omit<OneHotAttrs, 'dtype'> & Partial<OneHotAttrs>) => {
    const { g } = k;
    const indices = g.cast(k.input('indices'), 'int32');
    const shape = [...k.shape(indices), depth];
    const classes = g.emit('iota', [], { shape, axis: shape.length - 1 });
    const hit = g.binary('eq', g.reshape(indices, [...k.shape(indices), 1]), classes);
    const type = constantDType(dtype ?? 'int32');
    if (onValue === 1 && offValue === 0) return g.cast(hit, type);
    return g.select(hit, g.fill(onValue, shape, type), g.fill(offValue, shape, type));
  },
} satisfies Record<string, KernelRule>;
