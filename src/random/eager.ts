import * as tf from '@tensorflow/tfjs';
import { ConfigurationError, type KeyedRandom } from '../contracts';
import { floatBelow, integers, normals, uniforms } from './draws';
import { drawWord, foldIn } from './keys';
import type { Key } from './threefry';

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** KeyedRandom that draws at once, on the host: for `initTheta` and tests. The caller disposes the tensors. */
export class EagerRandom implements KeyedRandom {
  private draws = 0;

  constructor(readonly key: Key) {}

  foldIn(data: number): KeyedRandom {
    if (!Number.isInteger(data) || data < 0 || data >= 2 ** 31) {
      throw new ConfigurationError('random.foldIn', 'an integer from 0 to 2147483647', String(data));
    }
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
    const most = floatBelow(high);
    const values = uniforms(this.nextKey(), sizeOf(shape)).map((u) => Math.min(low + (high - low) * u, most));
    return tf.tensor(values, [...shape], 'float32');
  }

  integer(shape: readonly number[], low: number, high: number): tf.Tensor {
    if (!Number.isInteger(low) || !Number.isInteger(high) || high <= low || high - low >= 2 ** 31) {
      throw new ConfigurationError('random.integer', 'integers low < high', `low ${low} and high ${high}`);
    }
    return tf.tensor(integers(this.nextKey(), sizeOf(shape), low, high), [...shape], 'int32');
  }

  private nextKey(): Key {
    return foldIn(this.key, drawWord(this.draws++));
  }
}
