/** Where sliding windows lie: shared by everything that gives `windows` and `foldWindows` a meaning. */
import type { Shape } from './ir';

/** Places of a window of `size` elements, `dilation` apart, that moves by `stride` within `extent` elements. */
export function windowCount(extent: number, size: number, stride: number, dilation: number): number {
  const span = (size - 1) * dilation + 1;
  return extent < span ? 0 : Math.floor((extent - span) / stride) + 1;
}

/** The axis of the result that runs within the window along `axes[i]`: those stand together, behind the last of `axes`. */
export function withinAxis(axes: readonly number[], i: number): number {
  return axes[axes.length - 1] + 1 + i;
}

/**
 * A list by axis of the operand as one by axis of the result of `windows`: `place` gives the entry of an axis that windows
 * move along, `within` that of the axis within the window. Both get the number of the window axis and the operand's entry.
 */
export function windowed<T>(
  values: readonly T[],
  axes: readonly number[],
  place: (i: number, value: T) => T,
  within: (i: number, value: T) => T,
): T[] {
  const split = axes[axes.length - 1] + 1;
  const moved = values.map((value, axis) => (axes.includes(axis) ? place(axes.indexOf(axis), value) : value));
  return [...moved.slice(0, split), ...axes.map((axis, i) => within(i, values[axis])), ...moved.slice(split)];
}

/** A list by axis of the result of `windows` as one by axis of the operand; `join` makes one entry of place and within. */
export function unwindowed<T>(
  values: readonly T[],
  axes: readonly number[],
  join: (i: number, place: T, within: T) => T,
): T[] {
  const split = axes[axes.length - 1] + 1;
  const kept = [...values.slice(0, split), ...values.slice(split + axes.length)];
  return kept.map((value, axis) =>
    axes.includes(axis) ? join(axes.indexOf(axis), value, values[split + axes.indexOf(axis)]) : value,
  );
}

/** Extents of the windows of a value that `windows` gave, one an axis of `axes`. */
export function windowSizes(shape: Shape, axes: readonly number[]): readonly number[] {
  return axes.map((_, i) => shape[withinAxis(axes, i)]);
}

/** Every element of a window, row-major. */
export function tapsOf(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (taps, size) => taps.flatMap((tap) => Array.from({ length: size }, (_, at) => [...tap, at])),
    [[]],
  );
}
