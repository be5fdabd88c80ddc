/** Windows that do not overlap are slices of their operand under another shape, and folding them is that, backward. */
import type { GraphBuilder } from '../builder';
import { sizeOf, type NodeOf, type Shape, type ValueId, type Windowing } from '../ir';
import { windowed, windowSizes } from '../windows';

/** One axis that windows move along: which elements are seen by any of them, in order. */
interface Line {
  readonly count: number;
  readonly size: number;
  /** Between two elements that are seen, `count`·`size` of them. */
  readonly step: number;
}

/** @returns undefined if an element is seen by two windows, or if there is none. */
function linesOf(
  { strides, dilations }: Windowing,
  counts: readonly number[],
  sizes: readonly number[],
): Line[] | undefined {
  const lines: Line[] = [];
  for (const [i, size] of sizes.entries()) {
    const count = counts[i];
    if (count === 0) return undefined;
    if (size === 1) lines.push({ count, size, step: strides[i] });
    else if (count === 1) lines.push({ count, size, step: dilations[i] });
    else if (strides[i] === size && dilations[i] === 1) lines.push({ count, size, step: 1 });
    else return undefined;
  }
  return lines;
}

/** The shape with [count, size] in the place of each window axis, and where each axis starts there. */
function interleaved(
  shape: Shape,
  axes: readonly number[],
  lines: readonly Line[],
): { shape: number[]; starts: number[] } {
  const split: number[] = [];
  const starts = shape.map((extent, axis) => {
    const line = axes.includes(axis) ? lines[axes.indexOf(axis)] : undefined;
    return split.push(...(line === undefined ? [extent] : [line.count, line.size])) - (line === undefined ? 1 : 2);
  });
  return { shape: split, starts };
}

const places = (starts: readonly number[], axes: readonly number[]): number[] =>
  windowed(
    starts,
    axes,
    (_, start) => start,
    (_, start) => start + 1,
  );

/** By axis of the value that windows look at: `own` for the axes that they move along. */
function byAxis<T>(shape: Shape, axes: readonly number[], own: (line: number) => T, other: (extent: number) => T): T[] {
  return shape.map((extent, axis) => (axes.includes(axis) ? own(axes.indexOf(axis)) : other(extent)));
}

export function apartWindows(
  builder: GraphBuilder,
  { inputs: [x], attributes, type }: NodeOf<'windows'>,
): ValueId | undefined {
  const { axes, sizes } = attributes;
  const lines = linesOf(
    attributes,
    axes.map((axis) => type.shape[axis]),
    sizes,
  );
  if (lines === undefined || sizeOf(type.shape) === 0) return undefined;
  const shape = builder.shape(x);
  const seen = builder.emit('slice', [x], {
    begin: shape.map(() => 0),
    size: byAxis(
      shape,
      axes,
      (i) => lines[i].count * lines[i].size,
      (extent) => extent,
    ),
    strides: byAxis(
      shape,
      axes,
      (i) => lines[i].step,
      () => 1,
    ),
  });
  const split = interleaved(shape, axes, lines);
  return builder.transpose(builder.reshape(seen, split.shape), places(split.starts, axes));
}

export function apartFold(
  builder: GraphBuilder,
  { inputs: [x], attributes, type }: NodeOf<'foldWindows'>,
): ValueId | undefined {
  const { axes } = attributes;
  const from = builder.shape(x);
  const lines = linesOf(
    attributes,
    axes.map((axis) => from[axis]),
    windowSizes(from, axes),
  );
  if (lines === undefined || sizeOf(from) === 0) return undefined;
  const { shape } = type;
  const split = interleaved(shape, axes, lines);
  const perm = places(split.starts, axes);
  const backward = perm.map((_, axis) => perm.indexOf(axis));
  const seen = builder.reshape(
    builder.transpose(x, backward),
    byAxis(
      shape,
      axes,
      (i) => lines[i].count * lines[i].size,
      (extent) => extent,
    ),
  );
  return builder.emit('pad', [seen], {
    low: shape.map(() => 0),
    high: shape.map((extent, axis) => {
      const line = axes.includes(axis) ? lines[axes.indexOf(axis)] : undefined;
      return line === undefined ? 0 : extent - ((line.count * line.size - 1) * line.step + 1);
    }),
    interior: byAxis(
      shape,
      axes,
      (i) => lines[i].step - 1,
      () => 0,
    ),
  });
}
