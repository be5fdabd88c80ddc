/** Rules of the reductions. An axis along which the operand only repeats is never walked. */
import { sizeOf, type Shape } from '../../../graph/ir';
import type { DeviceType } from '../device';
import { REDUCTIONS } from '../host/reduce';
import type { Lowering, Value } from '../lowering';
import { binary } from './elementwise';
import { transpose } from './movement';
import type { Rule } from './rule';

type Kind = keyof typeof REDUCTIONS;

const KERNELS = { sum: 'Sum', wrappingSum: 'Sum', max: 'Max', min: 'Min', argMax: 'ArgMax', argMin: 'ArgMin' } as const;

function withoutAxes(shape: Shape, axes: readonly number[]): Shape {
  return shape.filter((_, axis) => !axes.includes(axis));
}

/** Walks `axes` of a value, which become the only ones lost. */
function reduce(l: Lowering, kind: Kind, x: Value, axes: readonly number[], dtype: DeviceType): Value {
  const result = { shape: withoutAxes(x.shape, axes), dtype, batched: x.batched };
  const walked = axes.filter((axis) => x.shape[axis] !== 1);
  if (l.device.memory === undefined) {
    const lead = x.batched ? 1 : 0;
    const attributes =
      kind === 'argMax' || kind === 'argMin'
        ? { axis: axes[0] + lead }
        : kind === 'max'
          ? { reductionIndices: axes.map((axis) => axis + lead), keepDims: false }
          : { axis: axes.map((axis) => axis + lead), keepDims: false };
    return l.kernel(KERNELS[kind], { x }, attributes, result);
  }
  const first = walked[0] ?? 0;
  const contiguous = walked.every((axis, i) => axis === first + i || sizeOf(x.shape.slice(first + i, axis)) === 1);
  if (!contiguous) {
    const kept = x.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
    const moved = transpose(l, x, [...kept, ...axes]);
    const last = axes.map((_, i) => kept.length + i);
    return l.view(reduce(l, kind, moved, last, dtype), result.shape);
  }
  const end = walked.length === 0 ? first : walked[walked.length - 1] + 1;
  const outer = sizeOf(x.shape.slice(0, first)) * (x.batched ? l.particles : 1);
  const count = sizeOf(x.shape.slice(first, end));
  const inner = sizeOf(x.shape.slice(end));
  return l.host(kind, [x], result, (out, [values]) => REDUCTIONS[kind](out, values, outer, count, inner));
}

/** Axes that the node reduces, the operand as stored, and how often a lazy axis repeats what is stored. */
function repeats(logical: Shape, x: Value, axes: readonly number[]): number {
  return axes.reduce((count, axis) => count * (x.shape[axis] === logical[axis] ? 1 : logical[axis]), 1);
}

const reduceSum: Rule<'reduceSum'> = (l, node, [x]) => {
  const { axes } = node.attributes;
  const kind = x.dtype === 'int32' ? 'wrappingSum' : 'sum';
  const logical = l.logicalShape(node.inputs[0]);
  const sum = axes.every((axis) => x.shape[axis] === 1)
    ? l.view(x, withoutAxes(x.shape, axes))
    : reduce(l, kind, x, axes, x.dtype);
  const times = repeats(logical, x, axes);
  if (times === 1) return sum;
  const factor = l.view(
    l.scalar(times, x.dtype),
    sum.shape.map(() => 1),
  );
  return binary(l, 'mul', sum, factor, x.dtype);
};

function extreme<P extends 'reduceMax' | 'reduceMin'>(kind: 'max' | 'min'): Rule<P> {
  return (l, node, [x]) => {
    const { axes } = node.attributes;
    if (axes.every((axis) => x.shape[axis] === 1)) return l.view(x, withoutAxes(x.shape, axes));
    return reduce(l, kind, x, axes, x.dtype);
  };
}

function position<P extends 'argMax' | 'argMin'>(kind: P): Rule<P> {
  return (l, node, [x]) => {
    const { axis } = node.attributes;
    return reduce(l, kind, x, [axis], 'int32');
  };
}

export const REDUCE_RULES = {
  reduceSum,
  reduceMax: extreme<'reduceMax'>('max'),
  reduceMin: extreme<'reduceMin'>('min'),
  argMax: position('argMax'),
  argMin: position('argMin'),
} as const;
