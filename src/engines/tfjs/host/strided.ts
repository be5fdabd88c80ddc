/** Copies between strided arrays: what every movement op is in memory that the host can reach. */
import type { Shape } from '../../../graph/ir';
import type { HostArray } from '../device';

export function rowMajorStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

export interface Collapsed {
  readonly dims: readonly number[];
  /** For each array, strides of the merged axes. */
  readonly strides: readonly (readonly number[])[];
}

/** Merges neighbouring axes that all arrays walk through with one stride, and drops axes of extent 1. */
export function collapse(dims: Shape, strides: readonly (readonly number[])[]): Collapsed {
  const kept: number[] = [];
  const merged: number[][] = strides.map(() => []);
  dims.forEach((extent, axis) => {
    if (extent === 1) return;
    const last = kept.length - 1;
    const joins = last >= 0 && strides.every((steps, i) => merged[i][last] === steps[axis] * extent);
    if (joins) {
      kept[last] *= extent;
      strides.forEach((steps, i) => (merged[i][last] = steps[axis]));
    } else {
      kept.push(extent);
      strides.forEach((steps, i) => merged[i].push(steps[axis]));
    }
  });
  return { dims: kept, strides: merged };
}

/** Calls `visit` with the offset of each array for every index of the axes but the innermost `inner`. */
export function forEachRow(
  dims: readonly number[],
  inner: number,
  strides: readonly (readonly number[])[],
  visit: (offsets: readonly number[]) => void,
): void {
  const rank = dims.length - inner;
  const offsets = strides.map(() => 0);
  if (dims.includes(0)) return;
  const index = new Array<number>(Math.max(rank, 0)).fill(0);
  for (;;) {
    visit(offsets);
    let axis = rank - 1;
    for (; axis >= 0; axis--) {
      index[axis] += 1;
      for (let i = 0; i < offsets.length; i++) offsets[i] += strides[i][axis];
      if (index[axis] < dims[axis]) break;
      for (let i = 0; i < offsets.length; i++) offsets[i] -= strides[i][axis] * dims[axis];
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

function copyRow(out: HostArray, o: number, os: number, x: HostArray, i: number, is: number, count: number): void {
  if (os === 1 && is === 0) {
    out.fill(x[i], o, o + count);
  } else if (os === 1 && is === 1 && count >= 32) {
    out.set(x.subarray(i, i + count), o);
  } else {
    for (let k = 0; k < count; k++) {
      out[o] = x[i];
      o += os;
      i += is;
    }
  }
}

/** out[outOffset + Σ indexₐ·outStridesₐ] += x[offset + Σ indexₐ·stridesₐ] for every index of `dims`, in row-major order. */
export function addStrided(
  dims: Shape,
  out: HostArray,
  outOffset: number,
  outStrides: readonly number[],
  x: HostArray,
  offset: number,
  strides: readonly number[],
): void {
  const merged = collapse(dims, [outStrides, strides]);
  const rank = merged.dims.length;
  if (rank === 0) {
    out[outOffset] += x[offset];
    return;
  }
  const count = merged.dims[rank - 1];
  const [os, is] = merged.strides.map((steps) => steps[rank - 1]);
  forEachRow(merged.dims, 1, merged.strides, ([first, from]) => {
    let o = outOffset + first;
    let i = offset + from;
    for (let k = 0; k < count; k++) {
      out[o] += x[i];
      o += os;
      i += is;
    }
  });
}

/** out[outOffset + Σ indexₐ·outStridesₐ] = x[offset + Σ indexₐ·stridesₐ] for every index of `dims`. */
export function copyStrided(
  dims: Shape,
  out: HostArray,
  outOffset: number,
  outStrides: readonly number[],
  x: HostArray,
  offset: number,
  strides: readonly number[],
): void {
  const merged = collapse(dims, [outStrides, strides]);
  const rank = merged.dims.length;
  if (rank === 0) {
    out[outOffset] = x[offset];
    return;
  }
  const count = merged.dims[rank - 1];
  const [os, is] = merged.strides.map((steps) => steps[rank - 1]);
  forEachRow(merged.dims, 1, merged.strides, ([o, i]) => {
    copyRow(out, outOffset + o, os, x, offset + i, is, count);
  });
}
