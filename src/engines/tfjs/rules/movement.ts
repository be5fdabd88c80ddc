/** Rules of the ops that only move numbers. */
import { sameShape, sizeOf, type Shape } from '../../../graph/ir';
import { copyStrided, rowMajorStrides } from '../host/strided';
import { anyBatched, type Lowering, type Value } from '../lowering';
import type { Rule } from './rule';

/** A stored shape under a new logical shape, if only axes of extent 1 come or go. */
function reshapeLazily(stored: Shape, from: Shape, to: Shape): Shape | undefined {
  const kept = from.flatMap((extent, axis) => (extent === 1 ? [] : [{ extent, stored: stored[axis] }]));
  const target = to.filter((extent) => extent !== 1);
  if (kept.length !== target.length || !kept.every(({ extent }, i) => extent === target[i])) return undefined;
  let next = 0;
  return to.map((extent) => (extent === 1 ? 1 : kept[next++].stored));
}

const reshape: Rule<'reshape'> = (l, node, [x]) => {
  const from = l.logicalShape(node.inputs[0]);
  const to = node.attributes.shape;
  const lazy = reshapeLazily(x.shape, from, to);
  if (lazy !== undefined) return l.view(x, lazy);
  // All of it repeats: one number stays one number.
  if (sizeOf(x.shape) === 1 && sizeOf(from) > 0)
    return l.view(
      x,
      to.map(() => 1),
    );
  return l.view(l.full(x, from), to);
};

const broadcast: Rule<'broadcast'> = (l, node, [x]) => {
  const lead = node.attributes.shape.length - x.shape.length;
  return l.view(x, [...new Array<number>(lead).fill(1), ...x.shape]);
};

/** Axes of the result in terms of the operand's; a lazy axis stays lazy. */
export function transpose(l: Lowering, x: Value, perm: readonly number[]): Value {
  const shape = perm.map((axis) => x.shape[axis]);
  const order = perm.filter((axis) => x.shape[axis] !== 1);
  if (order.every((axis, i) => i === 0 || axis > order[i - 1])) return l.view(x, shape);
  return l.once(`transpose ${x.buffer} ${x.shape.join()} ${perm.join()}`, () => {
    const result = { shape, dtype: x.dtype, batched: x.batched };
    // wasm's own moves 1 ns an element in blocks; a host loop that strides takes several.
    if (l.device.memory === undefined || l.device.backendName === 'wasm') {
      const full = x.batched ? [0, ...perm.map((axis) => axis + 1)] : [...perm];
      return l.kernel('Transpose', { x }, { perm: full }, result);
    }
    const from = rowMajorStrides(l.deviceShape(x));
    const strides = x.batched ? [from[0], ...perm.map((axis) => from[axis + 1])] : perm.map((axis) => from[axis]);
    return copyFrom(l, 'transpose', x, result.shape, strides, 0);
  });
}

/** Reads `shape` (without the particle axis) out of x; strides and offset in elements, the particle's stride first. */
export function copyFrom(
  l: Lowering,
  label: string,
  x: Value,
  shape: Shape,
  strides: readonly number[],
  offset: number,
): Value {
  const result = { shape, dtype: x.dtype, batched: x.batched };
  const dims = l.deviceShape(result);
  const outStrides = rowMajorStrides(dims);
  return l.host(label, [x], result, (out, [values]) => {
    copyStrided(dims, out, 0, outStrides, values, offset, strides);
  });
}

/** Strides of the value's own axes, after the particle's if it has one. */
export function ownStrides(l: Lowering, x: Value): { readonly lead: number[]; readonly own: number[] } {
  const strides = rowMajorStrides(l.deviceShape(x));
  return x.batched ? { lead: [strides[0]], own: strides.slice(1) } : { lead: [], own: strides };
}

const slice: Rule<'slice'> = (l, node, [x]) => {
  const { begin, size, strides } = node.attributes;
  const logical = l.logicalShape(node.inputs[0]);
  const lazy = (axis: number): boolean => x.shape[axis] === 1 && logical[axis] !== 1;
  const shape = size.map((extent, axis) => (lazy(axis) && extent > 0 ? 1 : extent));
  const from = begin.map((start, axis) => (lazy(axis) ? 0 : start));
  if (sameShape(shape, x.shape)) return x;
  if (l.device.memory !== undefined) {
    const { lead, own } = ownStrides(l, x);
    const offset = from.reduce((sum, start, axis) => sum + start * own[axis], 0);
    return copyFrom(l, 'slice', x, shape, [...lead, ...own.map((step, axis) => step * strides[axis])], offset);
  }
  return sliceByKernels(
    l,
    x,
    from,
    shape,
    strides.map((stride, axis) => (lazy(axis) ? 1 : stride)),
  );
};

/** Elements from + j·strides, j < shape, of every particle. */
export function sliceByKernels(
  l: Lowering,
  x: Value,
  from: readonly number[],
  shape: Shape,
  strides: readonly number[],
): Value {
  const result = { shape, dtype: x.dtype, batched: x.batched };
  const all = x.batched ? [0] : [];
  if (strides.every((stride) => stride === 1)) {
    return l.kernel('Slice', { x }, { begin: [...all, ...from], size: l.deviceShape(result) }, result);
  }
  const end = from.map((start, axis) => (shape[axis] === 0 ? start : start + (shape[axis] - 1) * strides[axis] + 1));
  const attributes = {
    begin: [...all, ...from],
    end: x.batched ? [l.particles, ...end] : end,
    strides: x.batched ? [1, ...strides] : [...strides],
    ...{ beginMask: 0, endMask: 0, ellipsisMask: 0, newAxisMask: 0, shrinkAxisMask: 0 },
  };
  return l.kernel('StridedSlice', { x }, attributes, result);
}

const pad: Rule<'pad'> = (l, node, [lazy]) => {
  const { low, high, interior } = node.attributes;
  const x = l.full(lazy, l.logicalShape(node.inputs[0]));
  const result = { shape: node.type.shape, dtype: x.dtype, batched: x.batched };
  if (l.device.memory === undefined) return padByKernels(l, x, low, high, interior);
  const dims = l.deviceShape(x);
  const from = rowMajorStrides(dims);
  const { lead, own } = ownStrides(l, { ...x, ...result });
  const offset = low.reduce((sum, before, axis) => sum + before * own[axis], 0);
  const strides = [...lead, ...own.map((step, axis) => step * (1 + interior[axis]))];
  return l.host('pad', [x], result, (out, [values]) => {
    out.fill(0);
    copyStrided(dims, out, offset, strides, values, 0, from);
  });
};

/** Zeros between the elements: each axis is split into [extent, 1], the 1 padded to 1 + interior, and joined again. */
export function padByKernels(
  l: Lowering,
  x: Value,
  low: readonly number[],
  high: readonly number[],
  interior: readonly number[],
): Value {
  const lead = x.batched ? [0] : [];
  const padded = (value: Value, before: readonly number[], after: readonly number[]): Value => {
    const shape = value.shape.map((extent, axis) => extent + before[axis] + after[axis]);
    const paddings = [...lead.map(() => [0, 0]), ...before.map((n, axis) => [n, after[axis]])];
    return l.kernel('PadV2', { x: value }, { paddings, constantValue: 0 }, { ...value, shape });
  };
  let value = x;
  interior.forEach((between, axis) => {
    if (between === 0 || value.shape[axis] < 2) return;
    const split = [...value.shape.slice(0, axis + 1), 1, ...value.shape.slice(axis + 1)];
    const zeros = split.map(() => 0);
    const spread = padded(
      l.view(value, split),
      zeros,
      zeros.map((_, i) => (i === axis + 1 ? between : 0)),
    );
    const joined = value.shape.map((extent, i) => (i === axis ? extent * (1 + between) : extent));
    const shape = joined.map((extent, i) => (i === axis ? extent - between : extent));
    const begin = [...lead, ...shape.map(() => 0)];
    const size = l.deviceShape({ shape, batched: x.batched });
    value = l.kernel('Slice', { x: l.view(spread, joined) }, { begin, size }, { ...value, shape });
  });
  return [...low, ...high].every((n) => n === 0) ? value : padded(value, low, high);
}

const concat: Rule<'concat'> = (l, node, inputs) => {
  const { axis } = node.attributes;
  const batched = anyBatched(inputs);
  const values = inputs.map((value, i) => {
    const full = l.full(value, l.logicalShape(node.inputs[i]));
    return batched ? l.batch(full) : full;
  });
  const result = { shape: node.type.shape, dtype: values[0].dtype, batched };
  if (l.device.memory === undefined) {
    return l.kernelOfList('Concat', values, { axis: axis + (batched ? 1 : 0) }, result);
  }
  const outStrides = rowMajorStrides(l.deviceShape(result));
  const step = outStrides[axis + (batched ? 1 : 0)];
  const parts = values.map((value) => ({ dims: l.deviceShape(value), strides: rowMajorStrides(l.deviceShape(value)) }));
  return l.host('concat', values, result, (out, arrays) => {
    let start = 0;
    parts.forEach(({ dims, strides }, i) => {
      copyStrided(dims, out, start * step, outStrides, arrays[i], 0, strides);
      start += values[i].shape[axis];
    });
  });
};

const reverse: Rule<'reverse'> = (l, node, [x]) => {
  const axes = node.attributes.axes.filter((axis) => x.shape[axis] > 1);
  if (axes.length === 0) return x;
  if (l.device.memory === undefined) {
    const dims = axes.map((axis) => axis + (x.batched ? 1 : 0));
    return l.kernel('Reverse', { x }, { dims }, { ...x });
  }
  const { lead, own } = ownStrides(l, x);
  const offset = axes.reduce((sum, axis) => sum + (x.shape[axis] - 1) * own[axis], 0);
  const strides = own.map((step, axis) => (axes.includes(axis) ? -step : step));
  return copyFrom(l, 'reverse', x, x.shape, [...lead, ...strides], offset);
};

export const MOVEMENT_RULES = {
  broadcast,
  reshape,
  transpose: ((l, node, [x]) => transpose(l, x, node.attributes.perm)) satisfies Rule<'transpose'>,
  slice,
  pad,
  concat,
  reverse,
} as const;
