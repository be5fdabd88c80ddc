import type * as tf from '@tensorflow/tfjs';
import { ShapeError, type KeyedRandom } from '../../contracts';
import { drawWord, floatBelow } from '../../random';
import type { Distribution, ValueId } from '../ir';
import type { TraceBackend } from './backend';
import { traceError } from './lines';
import type { DrawScope, TraceSession } from './session';

/** KeyedRandom that records its draws: the same keys as EagerRandom's, with the episode and t left open. */
export class TracedRandom implements KeyedRandom {
  private draws = 0;

  constructor(
    private readonly backend: TraceBackend,
    private readonly session: TraceSession,
    private readonly scope: DrawScope,
    private readonly path: readonly number[] = [],
  ) {}

  foldIn(data: number): KeyedRandom {
    if (!Number.isInteger(data) || data < 0 || data >= 2 ** 31) {
      throw traceError(`random.foldIn: expected an integer in [0, 2³¹), got ${data}.`);
    }
    return new TracedRandom(this.backend, this.session, this.scope, [...this.path, data]);
  }

  split(count: number): KeyedRandom[] {
    return Array.from({ length: count }, (_, i) => this.foldIn(i));
  }

  normal(shape: readonly number[], options: { readonly mean?: number; readonly std?: number } = {}): tf.Tensor {
    const { mean = 0, std = 1 } = options;
    return this.backend.tensor(this.affine(this.draw(shape, { name: 'normal' }), std, mean));
  }

  uniform(shape: readonly number[], options: { readonly low?: number; readonly high?: number } = {}): tf.Tensor {
    const { low = 0, high = 1 } = options;
    const value = this.affine(this.draw(shape, { name: 'uniform' }), high - low, low);
    if (low === 0) return this.backend.tensor(value);
    // The sum may round up to `high`, which is not in the interval.
    const { builder } = this.session;
    return this.backend.tensor(builder.binary('min', value, builder.fill(floatBelow(high), [])));
  }

  integer(shape: readonly number[], low: number, high: number): tf.Tensor {
    if (!Number.isInteger(low) || !Number.isInteger(high) || high <= low || high - low >= 2 ** 31) {
      throw traceError(`random.integer: expected integers low < high, got low ${low} and high ${high}.`);
    }
    return this.backend.tensor(this.draw(shape, { name: 'integer', low, high }));
  }

  private draw(shape: readonly number[], distribution: Distribution): ValueId {
    if (this.backend.session !== this.session) throw new ShapeError('random was used after its trace ended.');
    const path = [...this.path, drawWord(this.draws++)];
    return this.session.builder.emit('random', [], { ...this.scope, path, distribution, shape: [...shape] });
  }

  private affine(value: ValueId, scale: number, offset: number): ValueId {
    const { builder } = this.session;
    const scaled = scale === 1 ? value : builder.binary('mul', value, builder.fill(scale, []));
    return offset === 0 ? scaled : builder.binary('add', scaled, builder.fill(offset, []));
  }
}
