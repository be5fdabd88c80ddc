/** Rows of device arrays whose leading axis is particles. */
import { sizeOf } from '../../graph/ir';
import { hostArray, kernelOf, ownResult, type DataId, type Device } from './device';
import type { OutputType } from './plan';

function asInfo(dataId: DataId, rows: number, { shape, dtype }: OutputType) {
  return { dataId, shape: [rows, ...shape], dtype };
}

function gatherByKernel(device: Device, dataId: DataId, rows: number, type: OutputType, index: Int32Array): DataId {
  const { backend } = device;
  const indices = { dataId: backend.write(index, [index.length], 'int32'), shape: [index.length], dtype: 'int32' };
  const out = kernelOf(
    device,
    'GatherV2',
  )({
    inputs: { x: asInfo(dataId, rows, type), indices: indices as { dataId: DataId; shape: number[]; dtype: 'int32' } },
    attrs: { axis: 0, batchDims: 0 },
    backend,
  });
  backend.disposeData(indices.dataId);
  return ownResult(device, out);
}

/** A new array of the given rows of one that has `rows`. */
export function takeRows(device: Device, dataId: DataId, rows: number, type: OutputType, index: Int32Array): DataId {
  const { memory } = device;
  if (memory === undefined) return gatherByKernel(device, dataId, rows, type, index);
  const width = sizeOf(type.shape);
  const taken = memory.allocate([index.length, width], type.dtype);
  const from = memory.view(dataId, type.dtype, rows * width);
  const to = memory.view(taken, type.dtype, index.length * width);
  index.forEach((row, i) => to.set(from.subarray(row * width, (row + 1) * width), i * width));
  return taken;
}

/** A new array: `old`, with row index[i] replaced by row i of `fresh`. */
export function mergeRows(
  device: Device,
  old: DataId,
  rows: number,
  type: OutputType,
  fresh: DataId,
  index: Int32Array,
): DataId {
  const { memory, backend } = device;
  const width = sizeOf(type.shape);
  if (memory !== undefined) {
    const merged = memory.allocate([rows, width], type.dtype);
    const to = memory.view(merged, type.dtype, rows * width);
    to.set(memory.view(old, type.dtype, rows * width));
    const from = memory.view(fresh, type.dtype, index.length * width);
    index.forEach((row, i) => to.set(from.subarray(i * width, (i + 1) * width), row * width));
    return merged;
  }
  const both = kernelOf(
    device,
    'Concat',
  )({
    inputs: [asInfo(old, rows, type), asInfo(fresh, index.length, type)] as never,
    attrs: { axis: 0 },
    backend,
  });
  const dataId = ownResult(device, both);
  const source = Int32Array.from({ length: rows }, (_, row) => row);
  index.forEach((row, i) => (source[row] = rows + i));
  const merged = gatherByKernel(device, dataId, rows + index.length, type, source);
  backend.disposeData(dataId);
  return merged;
}

/** Zeros for particles that have not been reset. */
export function zeroRows(device: Device, rows: number, { shape, dtype }: OutputType): DataId {
  return device.backend.write(hostArray(dtype, rows * sizeOf(shape)), [rows, ...shape], dtype);
}
