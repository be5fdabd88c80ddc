/**
 * From a graph of one particle to a list of device calls for n particles.
 *
 * A value is *shared* (equal for all particles: it follows from constants, tables and iota alone) or *batched* (a
 * leading axis of n). Broadcasts are lazy: a value is stored with extent 1 on the axes along which it only repeats, and
 * elementwise calls broadcast it where it is used.
 *
 * Every value has a stage: what depends on constants only is computed once, what depends on θ and the episode once a
 * window, the rest each step.
 */
import type * as tf from '@tensorflow/tfjs';
import type { DataTable } from '../../contracts';
import { sameShape, sizeOf, type Graph, type Shape, type ValueId } from '../../graph/ir';
import type { Drawer } from '../shared/draws';
import {
  kernelOf,
  ownResult,
  type Attributes,
  type DataId,
  type Device,
  type DeviceType,
  type HostArray,
  hostArray,
} from './device';
import { copyStrided, rowMajorStrides } from './host/strided';

export const STAGES = { fixed: 0, window: 1, step: 2 } as const;
export type Stage = (typeof STAGES)[keyof typeof STAGES];

/** A device array seen with a shape. `shape` leaves out the particle axis and has extent 1 where the value repeats. */
export interface Value {
  readonly buffer: number;
  readonly batched: boolean;
  readonly shape: Shape;
  readonly dtype: DeviceType;
}

export interface BufferInfo {
  readonly stage: Stage;
  readonly bytes: number;
  /** As the device made it; opaque memory knows arrays by this shape only. */
  readonly made: Shape;
  /** Given from outside: never freed by the plan. */
  readonly external: boolean;
}

/** What the instructions of one call read besides buffers. */
export interface Frame {
  /** By buffer. */
  readonly data: (DataId | undefined)[];
  readonly drawer?: Drawer;
}

export interface Instruction {
  readonly stage: Stage;
  readonly inputs: readonly number[];
  readonly output: number;
  readonly label: string;
  run(frame: Frame): DataId;
}

export interface Result {
  readonly shape: Shape;
  readonly dtype: DeviceType;
  readonly batched: boolean;
}

export function anyBatched(values: readonly Value[]): boolean {
  return values.some((value) => value.batched);
}

/** Builds the instructions of one graph for `particles` particles (0: shared values only). */
export class Lowering {
  readonly buffers: BufferInfo[] = [];
  readonly instructions: Instruction[] = [];
  /** Constants by buffer, uploaded before the first run. */
  readonly constants = new Map<number, { data: HostArray | DataTable; shape: Shape; dtype: DeviceType }>();
  private readonly memo = new Map<string, Value>();

  constructor(
    readonly device: Device,
    readonly particles: number,
    private readonly graph: Graph,
  ) {}

  /** The shape that the graph gives a value. */
  logicalShape(id: ValueId): Shape {
    return this.graph.nodes[id].type.shape;
  }

  /** Whether every element of an int32 value is known to lie in [0, high): drawn from it, or counted up to it. */
  isBelow(id: ValueId, high: number): boolean {
    const node = this.graph.nodes[id];
    if (node.op === 'iota') return node.type.shape[node.attributes.axis] <= high;
    if (node.op !== 'random') return false;
    const { distribution } = node.attributes;
    return distribution.name === 'integer' && distribution.low >= 0 && distribution.high <= high;
  }

  /** The shape on the device. */
  deviceShape(value: { readonly shape: Shape; readonly batched: boolean }): number[] {
    return value.batched ? [this.particles, ...value.shape] : [...value.shape];
  }

  /** Elements on the device. */
  size(value: { readonly shape: Shape; readonly batched: boolean }): number {
    return sizeOf(value.shape) * (value.batched ? this.particles : 1);
  }

  external(stage: Stage, result: Result, made?: Shape): Value {
    return this.valueOf(this.addBuffer(stage, result, true, made), result);
  }

  constant(data: HostArray | DataTable, shape: Shape, dtype: DeviceType): Value {
    const result = { shape, dtype, batched: false };
    const buffer = this.addBuffer(STAGES.fixed, result, false);
    this.constants.set(buffer, { data, shape, dtype });
    return this.valueOf(buffer, result);
  }

  scalar(value: number, dtype: DeviceType = 'float32'): Value {
    return this.once(`scalar ${dtype} ${Object.is(value, -0) ? '-0' : value}`, () => {
      const data = hostArray(dtype, 1);
      data[0] = value;
      return this.constant(data, [], dtype);
    });
  }

  /** A value of which every element is `value`. */
  filled(result: Result, value: number): Value {
    const { shape } = result;
    const one = this.view(
      this.scalar(value, result.dtype),
      shape.map(() => 1),
    );
    return result.batched ? this.owned(one, shape) : this.full(one, shape);
  }

  /** int32 [particles] known at compile time. */
  particleConstant(name: string, value: (particle: number) => number): Value {
    return this.once(`particles ${name}`, () => {
      const data = Int32Array.from({ length: this.particles }, (_, p) => value(p));
      return { ...this.constant(data, [this.particles], 'int32'), shape: [], batched: true };
    });
  }

  /**
   * A kernel of the backend. `inputs` are named as the kernel names them; `shapes` overrides how it sees them, `made` is
   * the shape of what it then returns.
   */
  kernel(
    name: string,
    inputs: Readonly<Record<string, Value>>,
    attributes: Attributes,
    result: Result,
    shapes: Readonly<Record<string, Shape>> = {},
    made: Shape = this.deviceShape(result),
  ): Value {
    const names = Object.keys(inputs);
    const seen = names.map((key) => [...((shapes as Partial<typeof shapes>)[key] ?? this.deviceShape(inputs[key]))]);
    return this.call(
      name,
      names.map((key) => inputs[key]),
      seen,
      attributes,
      result,
      made,
      (infos) => Object.fromEntries(names.map((key, i) => [key, infos[i]])),
    );
  }

  /** A kernel whose operands have no names. */
  kernelOfList(name: string, inputs: readonly Value[], attributes: Attributes, result: Result): Value {
    const seen = inputs.map((value) => this.deviceShape(value));
    const made = this.deviceShape(result);
    return this.call(
      name,
      inputs,
      seen,
      attributes,
      result,
      made,
      (infos) => infos as unknown as tf.NamedTensorInfoMap,
    );
  }

  /** A loop on the host over memory that it shares with the device. `out` may hold anything before. */
  host(
    label: string,
    inputs: readonly Value[],
    result: Result,
    loop: (out: HostArray, inputs: readonly HostArray[], frame: Frame) => void,
  ): Value {
    const memory = this.device.memory!;
    const shape = this.deviceShape(result);
    const size = sizeOf(shape);
    const sizes = inputs.map((value) => this.size(value));
    return this.instruction(`host ${label}`, this.stageOf(inputs), inputs, result, (frame) => {
      const out = memory.allocate(shape, result.dtype);
      // Views after the allocation, which may move the heap.
      const views = inputs.map((value, i) => memory.view(frame.data[value.buffer]!, value.dtype, sizes[i]));
      loop(memory.view(out, result.dtype, size), views, frame);
      return out;
    });
  }

  /** Work on data ids that neither a kernel nor a loop over views can express. */
  instruction(
    label: string,
    stage: Stage,
    inputs: readonly Value[],
    result: Result,
    run: (frame: Frame) => DataId,
    made?: Shape,
  ): Value {
    const buffer = this.addBuffer(stage, result, false, made);
    this.instructions.push({ stage, inputs: inputs.map((value) => value.buffer), output: buffer, label, run });
    return this.valueOf(buffer, result);
  }

  /** Numbers that the host makes anew for every call. */
  feed(label: string, stage: Stage, result: Result, fill: (out: HostArray, frame: Frame) => void): Value {
    const { memory, backend } = this.device;
    const shape = this.deviceShape(result);
    const size = sizeOf(shape);
    return this.instruction(`feed ${label}`, stage, [], result, (frame) => {
      if (memory !== undefined) {
        const out = memory.allocate(shape, result.dtype);
        fill(memory.view(out, result.dtype, size), frame);
        return out;
      }
      const array =
        result.dtype === 'float32'
          ? new Float32Array(size)
          : result.dtype === 'int32'
            ? new Int32Array(size)
            : new Uint8Array(size);
      fill(array, frame);
      return backend.write(array, shape, result.dtype);
    });
  }

  /** The same array under another shape. */
  view(value: Value, shape: Shape): Value {
    return { ...value, shape };
  }

  /** The value with every axis at the extent that `shape` says. */
  full(value: Value, shape: Shape): Value {
    if (sameShape(value.shape, shape)) return value;
    return this.once(`full ${value.buffer} ${value.shape.join()} ${shape.join()}`, () => this.repeat(value, shape));
  }

  /** The value with a particle axis of its own. */
  batch(value: Value): Value {
    if (value.batched) return value;
    return this.once(`batch ${value.buffer} ${value.shape.join()}`, () => {
      const lifted = this.repeat(this.view(value, [1, ...value.shape]), [this.particles, ...value.shape]);
      return { ...lifted, batched: true, shape: value.shape };
    });
  }

  /** Full and with a particle axis: how states and results leave a graph. */
  owned(value: Value, shape: Shape): Value {
    const owned = this.batch(this.full(value, shape));
    return this.device.memory === undefined ? this.remade(owned, this.deviceShape(owned)) : owned;
  }

  /** What `make` gave when it was first asked for under this name. */
  once(name: string, make: () => Value): Value {
    const known = this.memo.get(name);
    if (known !== undefined) return known;
    const made = make();
    this.memo.set(name, made);
    return made;
  }

  stageOf(inputs: readonly Value[]): Stage {
    let stage: Stage = STAGES.fixed;
    for (const { buffer } of inputs) {
      const other = this.buffers[buffer].stage;
      if (other > stage) stage = other;
    }
    return stage;
  }

  private call(
    name: string,
    values: readonly Value[],
    shapes: readonly number[][],
    attributes: Attributes,
    result: Result,
    made: Shape,
    pack: (infos: tf.TensorInfo[]) => tf.NamedTensorInfoMap,
  ): Value {
    const { device } = this;
    const kernel = kernelOf(device, name);
    const attrs = attributes as unknown as tf.NamedAttrMap;
    const inputs = device.memory === undefined ? values.map((value, i) => this.remade(value, shapes[i])) : values;
    return this.instruction(
      name,
      this.stageOf(inputs),
      inputs,
      result,
      ({ data }) => {
        const infos = inputs.map((value, i) => ({ dataId: data[value.buffer]!, shape: shapes[i], dtype: value.dtype }));
        return ownResult(device, kernel({ inputs: pack(infos), attrs, backend: device.backend }));
      },
      made,
    );
  }

  /** The value in an array that was made with that shape: opaque memory does not see arrays under another. */
  private remade(value: Value, shape: Shape): Value {
    const info = this.buffers[value.buffer];
    if (sameShape(info.made, shape)) return value;
    return this.once(`made ${value.buffer} ${shape.join()}`, () => {
      const kernel = kernelOf(this.device, 'Reshape');
      const { device } = this;
      const run = ({ data }: Frame): DataId => {
        const x = { dataId: data[value.buffer]!, shape: [...info.made], dtype: value.dtype };
        return ownResult(device, kernel({ inputs: { x }, attrs: { shape: [...shape] }, backend: device.backend }));
      };
      return this.instruction('Reshape', this.stageOf([value]), [value], value, run, shape);
    });
  }

  /** Repeats along the axes where `value` has extent 1 and `shape` has not. */
  private repeat(value: Value, shape: Shape): Value {
    const result = { shape, dtype: value.dtype, batched: value.batched };
    if (this.device.memory === undefined) {
      const reps = shape.map((extent, axis) => (value.shape[axis] === extent ? 1 : extent));
      return this.kernel('Tile', { x: value }, { reps: value.batched ? [1, ...reps] : reps }, result);
    }
    const dims = this.deviceShape(result);
    const from = this.deviceShape(value);
    const strides = rowMajorStrides(from).map((stride, axis) => (from[axis] === dims[axis] ? stride : 0));
    return this.host('repeat', [value], result, (out, [x]) => {
      copyStrided(dims, out, 0, rowMajorStrides(dims), x, 0, strides);
    });
  }

  private valueOf(buffer: number, { shape, dtype, batched }: Result): Value {
    return { buffer, shape, dtype, batched };
  }

  private addBuffer(stage: Stage, result: Result, external: boolean, made: Shape = this.deviceShape(result)): number {
    const bytes = this.size(result) * (result.dtype === 'bool' ? 1 : 4);
    this.buffers.push({ stage, bytes, external, made });
    return this.buffers.length - 1;
  }
}
