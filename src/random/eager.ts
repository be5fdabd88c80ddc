import * as tf from '@tensorflow/tfjs';
import type { KeyedRandom } from '../contracts';
import { integers, normals, uniforms } from './draws';
import { drawWord, foldIn } from './keys';
import type { Key } from './threefry';

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** KeyedRandom that draws at once, on the host: for `initTheta` and tests. The caller disposes the tensors. */
export class EagerRandom implements KeyedRandom {
  private draws = 0;

  constructor(readonly key: Key) {}

  foldIn(data: number): KeyedRandom {
    return new EagerRandom(foldIn(this.key, data));
  }

  split(count: number): KeyedRandom[] {
    return Array.from({ length: count }, (_, i) => this.foldIn(i));
  }

  normal(shape: readonly number[], options: { readonly mean?: number; readonly std?: number } = {}): tf.Tensor {
    const { mean = 0, std = 1 } = options;
    const values = normals(this.nextKey(), sizeOf(shape)).map((z) => mean + std * z);
    return tf.tensor(values, [...shape], 'float32');
  }

  uniform(shape: readonly number[], options: { readonly low?: number; readonly high?: number } = {}): tf.Tensor {
    const { low = 0, high = 1 } = options;
    const values = uniforms(this.nextKey(), sizeOf(shape)).map((u) => low + (high - low) * u);
    return tf.tensor(values, [...shape], 'float32');
  }

  integer(shape: readonly number[], low: number, high: number): tf.Tensor {
    return tf.tensor(integers(this.nextKey(), sizeOf(shape), low, high), [...shape], 'int32');
  }

  private nextKey(): Key {
    return foldIn(this.key, drawWord(this.draws++));
  }
}
