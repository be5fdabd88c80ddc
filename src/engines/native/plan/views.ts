/** Views: what broadcast, transpose, slice and (where strides allow it) reshape make of a layout. */
import { sizeOf, type Node, type Shape, type ValueType } from '../../../graph/ir';
import { windowed } from '../../../graph/windows';
import type { MemoryType } from '../nest/ir';
import type { Layout, Level } from './program';

export interface View {
  readonly layout: Layout;
  /** Elements from the viewed value's place. */
  readonly offset: number;
}

export function memoryOf(type: ValueType): MemoryType {
  return type.dtype === 'float32' ? 'f32' : type.dtype === 'int32' ? 'i32' : 'u8';
}

export function bytesOf(memory: MemoryType): number {
  return memory === 'u8' ? 1 : 4;
}

export function denseStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

export function denseLayout(type: ValueType): Layout {
  return { shape: type.shape, strides: denseStrides(type.shape), memory: memoryOf(type) };
}

/** Elements from the first to the last, both included. */
export function spanOf({ shape, strides, levels }: Layout): number {
  if (sizeOf(shape) === 0) return 0;
  if (levels !== undefined) {
    return 1 + levels.flat().reduce((sum, { extent, stride }) => sum + (extent - 1) * Math.abs(stride), 0);
  }
  return 1 + shape.reduce((sum, extent, axis) => sum + (extent - 1) * Math.abs(strides[axis]), 0);
}

/** Strides of `shape` over the elements of a layout, or undefined if they do not lie regularly. */
function reshapeStrides({ shape: from, strides }: Layout, to: Shape): number[] | undefined {
  if (sizeOf(to) === 0) return denseStrides(to);
  // Axes of extent 1 say nothing; neighbours that lie densely count as one.
  const runs: { extent: number; stride: number }[] = [];
  from.forEach((extent, axis) => {
    if (extent === 1) return;
    const last = runs.at(-1);
    if (last?.stride === strides[axis] * extent) {
      last.extent *= extent;
      last.stride = strides[axis];
    } else runs.push({ extent, stride: strides[axis] });
  });
  const result = new Array<number>(to.length).fill(0);
  let run = runs.length - 1;
  let used = 1;
  for (let axis = to.length - 1; axis >= 0; axis--) {
    if (to[axis] === 1) continue;
    if (run >= 0 && used === runs[run].extent) {
      run -= 1;
      used = 1;
    }
    if (run < 0 || runs[run].extent % (used * to[axis]) !== 0) return undefined;
    result[axis] = runs[run].stride * used;
    used *= to[axis];
  }
  return result;
}

/** Neighbouring axes of a layout joined to those of `to`, each as loops; undefined if an axis would have to be cut. */
function joinedLevels({ shape: from, strides }: Layout, to: Shape): Level[][] | undefined {
  let axis = 0;
  const joined = to.map((extent) => {
    const levels: Level[] = [];
    let size = 1;
    while (size < extent && axis < from.length) {
      const stride = strides[axis];
      const own = from[axis++];
      size *= own;
      if (own === 1) continue;
      const last = levels.at(-1);
      if (last?.stride === stride * own) levels[levels.length - 1] = { extent: last.extent * own, stride };
      else levels.push({ extent: own, stride });
    }
    return size === extent ? levels : undefined;
  });
  return joined.every((levels) => levels !== undefined) ? joined : undefined;
}

/**
 * A matrix that is a view under loops only, for a product to go through as they are. undefined if it is none, or if it lies
 * regularly anyway.
 */
export function matrixOfLoops(node: Node, layout: Layout): Layout | undefined {
  const { shape } = node.type;
  if (node.op !== 'reshape' || shape.length !== 2 || layout.memory !== 'f32' || sizeOf(shape) === 0) return undefined;
  const levels = joinedLevels(layout, shape);
  if (levels === undefined) return undefined;
  return { shape, strides: levels.map((loops) => loops.at(-1)?.stride ?? 0), memory: layout.memory, levels };
}

/** What a view op makes of its operand's layout; undefined if the result does not lie regularly. */
export function viewOf(node: Node, layout: Layout): View | undefined {
  const { shape } = node.type;
  const { strides, memory } = layout;
  switch (node.op) {
    case 'identity':
    case 'stopGradient':
      return { layout, offset: 0 };
    case 'broadcast': {
      const lead = shape.length - layout.shape.length;
      const spread = shape.map((extent, axis) =>
        axis < lead || (layout.shape[axis - lead] === 1 && extent !== 1) ? 0 : strides[axis - lead],
      );
      return { layout: { shape, strides: spread, memory }, offset: 0 };
    }
    case 'transpose':
      return { layout: { shape, strides: node.attributes.perm.map((axis) => strides[axis]), memory }, offset: 0 };
    case 'slice': {
      const { begin, strides: steps } = node.attributes;
      const offset = sizeOf(shape) === 0 ? 0 : begin.reduce((sum, first, axis) => sum + first * strides[axis], 0);
      return { layout: { shape, strides: strides.map((stride, axis) => stride * steps[axis]), memory }, offset };
    }
    case 'windows': {
      const { axes, strides: steps, dilations } = node.attributes;
      const seen = windowed(
        strides,
        axes,
        (i, stride) => stride * steps[i],
        (i, stride) => stride * dilations[i],
      );
      return { layout: { shape, strides: seen, memory }, offset: 0 };
    }
    case 'reshape': {
      const reshaped = reshapeStrides(layout, shape);
      return reshaped === undefined ? undefined : { layout: { shape, strides: reshaped, memory }, offset: 0 };
    }
    default:
      return undefined;
  }
}
