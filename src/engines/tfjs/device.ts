/**
 * One TensorFlow.js backend, used below the level of `tf.*`: kernels are called on TensorInfos, so that none of the
 * engine's bookkeeping (scopes, tape, profiling) is paid for each op. Two kinds of memory are told apart: that of `cpu`
 * and `wasm` is the host's own, so that host loops may stand in for a kernel; any other is opaque.
 */
import * as tf from '@tensorflow/tfjs';
import { EngineError, type DataTable } from '../../contracts';
import type { DType, Shape } from '../../graph/ir';

export type DataId = tf.TensorInfo['dataId'];
/** dtypes that a device stores; uint8 rows lie in int32. */
export type DeviceType = 'float32' | 'int32' | 'bool';
export type HostArray = Float32Array | Int32Array | Uint8Array;
export type Attributes = Readonly<Record<string, unknown>>;

export function deviceType(dtype: DType): DeviceType {
  return dtype === 'uint8' ? 'int32' : dtype;
}

export function hostArray(dtype: DeviceType, size: number): HostArray {
  return dtype === 'float32' ? new Float32Array(size) : dtype === 'int32' ? new Int32Array(size) : new Uint8Array(size);
}

/** Memory that the host can read and write in place. */
export interface HostMemory {
  /** Uninitialised or zero. */
  allocate(shape: Shape, dtype: DeviceType): DataId;
  /** Valid until the next allocation, which may move the heap. */
  view(dataId: DataId, dtype: DeviceType, size: number): HostArray;
}

/** Products of matrices that lie within larger tensors, without copies. */
export interface ProductViews {
  /** out[o] (m × n) = a[p] (m × k) · b[q] (k × n), each matrix contiguous at an element offset. */
  multiply(a: View, b: View, out: View, m: number, k: number, n: number): void;
}
export interface View {
  readonly dataId: DataId;
  /** In elements. */
  readonly offset: number;
}

export interface Device {
  /** `cpu`, `wasm`, `tensorflow` … as TensorFlow.js calls it. */
  readonly backendName: string;
  readonly backend: tf.KernelBackend;
  readonly memory?: HostMemory;
  readonly products?: ProductViews;
  /** Where tables lie: once for all graphs and programs that use them, until the last of these frees its own. */
  readonly tables: WeakMap<DataTable, DataId>;
}

/** A table's data, to be freed like any other. Bytes lie as int32: no backend stores them. */
export function tableData({ backend, tables }: Device, table: DataTable, shape: Shape): DataId {
  const known = tables.get(table);
  if (known !== undefined && backend.refCount(known) > 0) {
    backend.incRef(known);
    return known;
  }
  const { values } = table;
  // A copy of floats: the cpu backend would keep, and hand out, the table's own array.
  const data = values instanceof Uint8Array ? Int32Array.from(values) : values.slice();
  const dataId = backend.write(data, [...shape], deviceType(table.dtype));
  tables.set(table, dataId);
  return dataId;
}

/** Fields of TensorFlow.js' cpu backend that its types do not show. */
interface CpuInternals {
  firstUse: boolean;
  readonly data: { get(dataId: DataId): { values: HostArray } };
}

/** Fields of TensorFlow.js' wasm backend that its types do not show. */
interface WasmInternals {
  dataIdNextNumber: number;
  readonly dataIdMap: { get(dataId: DataId): { id: number; memoryOffset: number } };
  readonly wasm: {
    readonly tfjs: {
      registerTensor(id: number, size: number, memoryOffset: number): void;
      disposeData(id: number): void;
    };
    cwrap(name: string, result: null, parameters: readonly string[]): (...parameters: unknown[]) => void;
  };
  makeOutput(shape: readonly number[], dtype: DeviceType): tf.TensorInfo;
  typedArrayFromHeap(info: tf.TensorInfo): HostArray;
}

class CpuMemory implements HostMemory {
  private readonly internals: CpuInternals;

  constructor(private readonly backend: tf.KernelBackend) {
    this.internals = backend as unknown as CpuInternals;
    // Or the first write prints an advertisement for tfjs-node into the progress bar.
    this.internals.firstUse = false;
  }

  allocate(shape: Shape, dtype: DeviceType): DataId {
    return this.backend.write(hostArray(dtype, tf.util.sizeFromShape([...shape])), [...shape], dtype);
  }

  view(dataId: DataId, dtype: DeviceType): HostArray {
    const { values } = this.internals.data.get(dataId);
    // Some kernels label a Float32Array as int32 or bool.
    if (dtype === 'int32' && !(values instanceof Int32Array)) return Int32Array.from(values);
    if (dtype === 'bool' && !(values instanceof Uint8Array)) return Uint8Array.from(values);
    return values;
  }
}

class WasmMemory implements HostMemory, ProductViews {
  private readonly internals: WasmInternals;
  private readonly product: (...parameters: unknown[]) => void;

  constructor(backend: tf.KernelBackend) {
    this.internals = backend as unknown as WasmInternals;
    const [number, array] = ['number', 'array'];
    this.product = this.internals.wasm.cwrap('BatchMatMul', null, [
      ...[number, array, number, number, array, number, number, number, number],
    ]);
  }

  allocate(shape: Shape, dtype: DeviceType): DataId {
    return this.internals.makeOutput(shape, dtype).dataId;
  }

  view(dataId: DataId, dtype: DeviceType, size: number): HostArray {
    return this.internals.typedArrayFromHeap({ dataId, dtype, shape: [size] });
  }

  multiply(a: View, b: View, out: View, m: number, k: number, n: number): void {
    const ids = [this.register(a, m * k), this.register(b, k * n), this.register(out, m * n)];
    const shape = (rows: number, columns: number): Uint8Array => new Uint8Array(Int32Array.of(1, rows, columns).buffer);
    this.product(ids[0], shape(m, k), 3, ids[1], shape(k, n), 3, 0, 0, ids[2]);
    // Frees the packed copy of b too; the memory is the whole tensor's.
    for (const id of ids) this.internals.wasm.tfjs.disposeData(id);
  }

  private register({ dataId, offset }: View, size: number): number {
    const id = this.internals.dataIdNextNumber++;
    const { memoryOffset } = this.internals.dataIdMap.get(dataId);
    this.internals.wasm.tfjs.registerTensor(id, size, memoryOffset + 4 * offset);
    return id;
  }
}

/**
 * The device of a TensorFlow.js backend, initialising it if need be; the user's active backend stays what it was.
 * `memory: 'opaque'` treats host memory as if it were a GPU's (a test of the paths that GPUs take).
 * @throws EngineError if TensorFlow.js cannot start the backend.
 */
export async function openDevice(backendName: string, options: { readonly memory?: 'opaque' } = {}): Promise<Device> {
  await tf.ready();
  const active = tf.getBackend();
  let started = false;
  try {
    started = await tf.setBackend(backendName);
  } finally {
    if (active !== backendName) await tf.setBackend(active);
  }
  const backend = started ? (tf.findBackend(backendName) as tf.KernelBackend | null) : null;
  if (backend === null) throw new EngineError(`TensorFlow.js could not start its backend "${backendName}".`);
  const device = { backendName, backend, tables: new WeakMap<DataTable, DataId>() };
  if (options.memory === 'opaque') return device;
  if (backendName === 'cpu') return { ...device, memory: new CpuMemory(backend) };
  if (backendName === 'wasm') {
    const memory = new WasmMemory(backend);
    return { ...device, memory, products: memory };
  }
  return device;
}

/** Fields of TensorFlow.js' Node backends that their types do not show. */
interface NodeInternals {
  readonly binding: { readonly TF_ATTR_TYPE: number; readonly TF_FLOAT: number };
  executeSingleOutput(name: string, attributes: readonly object[], inputs: readonly unknown[]): tf.TensorInfo;
}

/** Kernels of the Node backends that only take whole tensors, asked of TensorFlow itself. */
const NODE_KERNELS: Readonly<Record<string, tf.KernelFunc>> = {
  Pow: ({ inputs, backend }) => {
    const internals = backend as unknown as NodeInternals;
    const { TF_ATTR_TYPE, TF_FLOAT } = internals.binding;
    const attributes = [{ name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT }];
    return internals.executeSingleOutput('Pow', attributes, [inputs.a, inputs.b]);
  },
};

/** The kernel of a device. @throws EngineError naming both if the backend has none. */
export function kernelOf(device: Device, name: string): tf.KernelFunc {
  if (device.backendName === 'tensorflow' && name in NODE_KERNELS) return NODE_KERNELS[name];
  const config = tf.getKernel(name, device.backendName) as tf.KernelConfig | undefined;
  if (config === undefined) {
    throw new EngineError(
      `backend "${device.backendName}" has no kernel ${name}, which this problem needs. Use another engine.`,
    );
  }
  return config.kernelFunc;
}

/**
 * The data of a kernel's one result. TensorFlow.js' Node backends return tensors, which its engine counts, and tracks
 * as the active backend's, whichever that is; plans free data by themselves, so tensors are taken off those books.
 */
export function ownResult({ backend }: Device, result: tf.TensorInfo | tf.TensorInfo[]): DataId {
  const info = Array.isArray(result) ? result[0] : result;
  const { dataId } = info;
  if (info instanceof tf.Tensor) {
    const references = backend.refCount(dataId);
    backend.incRef(dataId);
    info.dispose();
    tf.engine().removeDataId(dataId, backend);
    if (backend.refCount(dataId) > references) backend.disposeData(dataId);
  }
  return dataId;
}
