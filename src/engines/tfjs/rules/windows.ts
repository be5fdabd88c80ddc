/** Rules of sliding windows: strided copies and sums where the host reaches memory, else slices and pads of every tap. */
import { tapsOf, windowed, windowSizes, withinAxis } from '../../../graph/windows';
import type { Shape, Windowing } from '../../../graph/ir';
import { addStrided, rowMajorStrides } from '../host/strided';
import type { Lowering, Result, Value } from '../lowering';
import { binaryKernel } from './elementwise';
import { copyFrom, ownStrides, padByKernels, sliceByKernels } from './movement';
import type { Rule } from './rule';

/** By axis of the windowed value: `own` for the axes that windows move along, else `other`. */
const byAxis = (shape: Shape, axes: readonly number[], own: (i: number) => number, other: (extent: number) => number) =>
  shape.map((extent, axis) => (axes.includes(axis) ? own(axes.indexOf(axis)) : other(extent)));

/** Full along the axes that windows move along; others may stay lazy. */
function fullAlong(l: Lowering, lazy: Value, logical: Shape, axes: readonly number[]): Value {
  return l.full(
    lazy,
    lazy.shape.map((extent, axis) => (axes.includes(axis) ? logical[axis] : extent)),
  );
}

const windows: Rule<'windows'> = (l, node, [lazy]) => {
  const { axes, sizes, strides, dilations } = node.attributes;
  const x = fullAlong(l, lazy, l.logicalShape(node.inputs[0]), axes);
  const counts = axes.map((axis) => node.type.shape[axis]);
  const shape = windowed(
    x.shape,
    axes,
    (i) => counts[i],
    (i) => sizes[i],
  );
  if (shape.includes(0)) return l.filled({ shape, dtype: x.dtype, batched: x.batched }, 0);
  if (l.device.memory !== undefined) {
    const { lead, own } = ownStrides(l, x);
    const steps = windowed(
      own,
      axes,
      (i, step) => step * strides[i],
      (i, step) => step * dilations[i],
    );
    return copyFrom(l, 'windows', x, shape, [...lead, ...steps], 0);
  }
  const within = withinAxis(axes, 0);
  const seen = byAxis(
    x.shape,
    axes,
    (i) => counts[i],
    (extent) => extent,
  );
  const taps = tapsOf(sizes).map((tap) => {
    const from = byAxis(
      x.shape,
      axes,
      (i) => tap[i] * dilations[i],
      () => 0,
    );
    const steps = byAxis(
      x.shape,
      axes,
      (i) => strides[i],
      () => 1,
    );
    return l.view(sliceByKernels(l, x, from, seen, steps), [...seen.slice(0, within), 1, ...seen.slice(within)]);
  });
  if (taps.length === 1) return l.view(taps[0], shape);
  const joined = [...seen.slice(0, within), taps.length, ...seen.slice(within)];
  const result: Result = { shape: joined, dtype: x.dtype, batched: x.batched };
  return l.view(l.kernelOfList('Concat', taps, { axis: within + (x.batched ? 1 : 0) }, result), shape);
};

const foldWindows: Rule<'foldWindows'> = (l, node, [lazy]) => {
  const { axes, extents } = node.attributes;
  const logical = l.logicalShape(node.inputs[0]);
  const within = withinAxis(axes, 0);
  const along = [...axes, ...axes.map((_, i) => within + i)];
  const x = fullAlong(l, lazy, logical, along);
  const sizes = windowSizes(logical, axes);
  const seen = [...x.shape.slice(0, within), ...x.shape.slice(within + axes.length)];
  const shape = byAxis(
    seen,
    axes,
    (i) => extents[i],
    (extent) => extent,
  );
  const result: Result = { shape, dtype: x.dtype, batched: x.batched };
  if (x.shape.includes(0)) return l.filled(result, 0);
  return l.device.memory === undefined
    ? foldByKernels(l, x, node.attributes, sizes, seen, result)
    : foldByLoops(l, x, node.attributes, result);
};

function foldByLoops(l: Lowering, x: Value, { axes, strides, dilations }: Windowing, result: Result): Value {
  const dims = l.deviceShape(x);
  const { lead, own } = ownStrides(l, { buffer: x.buffer, ...result });
  const steps = windowed(
    own,
    axes,
    (i, step) => step * strides[i],
    (i, step) => step * dilations[i],
  );
  return l.host('foldWindows', [x], result, (out, [values]) => {
    out.fill(0);
    addStrided(dims, out, 0, [...lead, ...steps], values, 0, rowMajorStrides(dims));
  });
}

/** The windows' elements of each tap, spread out to where they were seen, one after the other. */
function foldByKernels(
  l: Lowering,
  x: Value,
  { axes, strides, dilations }: Windowing,
  sizes: readonly number[],
  seen: Shape,
  result: Result,
): Value {
  const within = withinAxis(axes, 0);
  const taps = tapsOf(sizes);
  const flat = l.view(x, [...seen.slice(0, within), taps.length, ...seen.slice(within)]);
  const one = flat.shape.map((extent, axis) => (axis === within ? 1 : extent));
  const spread = taps.map((tap, n) => {
    const from = flat.shape.map((_, axis) => (axis === within ? n : 0));
    const steps = flat.shape.map(() => 1);
    const part = l.view(taps.length === 1 ? flat : sliceByKernels(l, flat, from, one, steps), seen);
    const low = byAxis(
      seen,
      axes,
      (i) => tap[i] * dilations[i],
      () => 0,
    );
    const reached = byAxis(
      seen,
      axes,
      (i) => (seen[axes[i]] - 1) * strides[i] + 1,
      (extent) => extent,
    );
    const high = result.shape.map((extent, axis) => extent - low[axis] - reached[axis]);
    const interior = byAxis(
      seen,
      axes,
      (i) => strides[i] - 1,
      () => 0,
    );
    return padByKernels(l, part, low, high, interior);
  });
  return spread.reduce((sum, value) => binaryKernel(l, 'Add', sum, value, result.dtype));
}

export const WINDOW_RULES = { windows, foldWindows } as const;
