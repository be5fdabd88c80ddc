/** Sums over a window of float32 outputs, row by row. */
import type * as tf from '@tensorflow/tfjs';
import { sizeOf, type Shape } from '../../graph/ir';
import { kernelOf, ownResult, type DataId, type Device } from './device';

/**
 * A row a particle: the outputs one after another, each row-major. Where the host reaches the device's memory the sums are
 * float64 of the host; elsewhere float32 of the device, read once.
 */
export class RowSums {
  private readonly width: number;
  private readonly rows: Float64Array | undefined;
  private onDevice: DataId[] | undefined;

  /** @param shapes of the outputs, without the particle axis */
  constructor(
    private readonly device: Device,
    private readonly particles: number,
    private readonly shapes: readonly Shape[],
  ) {
    this.width = shapes.reduce((sum, shape) => sum + sizeOf(shape), 0);
    if (device.memory !== undefined) this.rows = new Float64Array(particles * this.width);
  }

  /** Adds outputs of one run of a plan and takes them over. */
  add(outputs: readonly DataId[]): void {
    if (this.rows === undefined) this.addOnDevice(outputs);
    else this.addOnHost(outputs, this.rows);
  }

  /** The sums [particles × width]; frees what the device holds. */
  async take(): Promise<Float64Array> {
    if (this.rows !== undefined) return this.rows;
    const rows = new Float64Array(this.particles * this.width);
    let offset = 0;
    for (const [k, dataId] of (this.onDevice ?? []).entries()) {
      const values = (await this.device.backend.read(dataId)) as Float32Array;
      this.spread(values, sizeOf(this.shapes[k]), rows, offset);
      offset += sizeOf(this.shapes[k]);
    }
    this.dispose();
    return rows;
  }

  dispose(): void {
    for (const dataId of this.onDevice ?? []) this.device.backend.disposeData(dataId);
    this.onDevice = undefined;
  }

  private addOnHost(outputs: readonly DataId[], rows: Float64Array): void {
    const { memory, backend } = this.device;
    let offset = 0;
    outputs.forEach((dataId, k) => {
      const size = sizeOf(this.shapes[k]);
      this.spread(memory!.view(dataId, 'float32', this.particles * size) as Float32Array, size, rows, offset);
      offset += size;
      backend.disposeData(dataId);
    });
  }

  /** Adds [particles × size] to columns of the rows. */
  private spread(values: Float32Array, size: number, rows: Float64Array, offset: number): void {
    for (let i = 0; i < this.particles; i++) {
      const to = i * this.width + offset;
      for (let j = 0; j < size; j++) rows[to + j] += values[i * size + j];
    }
  }

  private addOnDevice(outputs: readonly DataId[]): void {
    const { device, onDevice } = this;
    if (onDevice === undefined) {
      this.onDevice = [...outputs];
      return;
    }
    const { backend } = device;
    const kernel = kernelOf(device, 'Add');
    outputs.forEach((dataId, k) => {
      const info = (of: DataId): tf.TensorInfo => {
        return { dataId: of, shape: [this.particles, ...this.shapes[k]], dtype: 'float32' };
      };
      const inputs = { a: info(onDevice[k]), b: info(dataId) };
      const sum = ownResult(device, kernel({ inputs, backend }));
      backend.disposeData(onDevice[k]);
      backend.disposeData(dataId);
      onDevice[k] = sum;
    });
  }
}
