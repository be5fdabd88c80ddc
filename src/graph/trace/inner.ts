/** What a traced `step` sees as `inner`. */
import * as tf from '@tensorflow/tfjs';
import {
  SPLITS,
  treeLeaves,
  treeMap,
  treeUnflatten,
  type Batch,
  type DataColumn,
  type DataSplit,
  type Dataset,
  type Inner,
  type KeyedRandom,
  type Split,
  type TensorTree,
  type ValueAndGradient,
} from '../../contracts';
import { drawWord } from '../../random';
import { formatType, type ValueId } from '../ir';
import { vjp } from '../vjp';
import type { TraceBackend } from './backend';
import { traceError } from './lines';
import { TracedRandom } from './random';
import type { TraceSession } from './session';

/** The data that `batch` draws from. */
export interface InnerData {
  readonly dataset?: Dataset;
  readonly batchSize?: number;
}

export class TracedInner implements Inner {
  readonly random: KeyedRandom;
  private readonly batches = new Map<string, number>();

  constructor(
    private readonly backend: TraceBackend,
    private readonly session: TraceSession,
    readonly t: tf.Scalar,
    private readonly data: InnerData,
  ) {
    this.random = new TracedRandom(backend, session, session.draws);
  }

  batch(split: Split): Batch {
    // The n-th call for a split draws its own rows, whatever is drawn from the other splits.
    const path = [SPLITS.indexOf(split), drawWord(this.next(split))];
    return this.drawn(split, path, this.session.draws.perStep);
  }

  episodeBatch(split: Split): Batch {
    // Keyed without t; the first word is no step's number, so that no step's generator is met.
    const path = [drawWord(SPLITS.indexOf(split)), drawWord(this.next(`episode ${split}`))];
    return this.drawn(split, path, false);
  }

  wholeSplit(split: Split): Batch {
    const { xs, ys } = this.split(split);
    const whole = (column: DataColumn): tf.Tensor => this.decoded(this.session.table(column.table), column);
    return { xs: whole(xs), ys: whole(ys) };
  }

  grad<P extends TensorTree>(f: (params: P) => tf.Tensor): (params: P) => P {
    const valueAndGradient = this.valueAndGrad<P>(f);
    return (params) => valueAndGradient(params).gradient;
  }

  valueAndGrad<P extends TensorTree, A = undefined>(
    f: (params: P) => tf.Tensor | { readonly value: tf.Tensor; readonly aux: A },
  ): (params: P) => ValueAndGradient<P, A> {
    return (params) => {
      const { backend, session } = this;
      const { builder } = session;
      if (tf.engine().state.gradientDepth > 0) {
        throw traceError(
          'inner.grad inside tf.grad (or tf.grads, tf.valueAndGrad, tf.variableGrads): its result would count as a ' +
            'constant there. Use inner.grad for both.',
        );
      }
      // New nodes stand for the parameters inside f, so that what f takes from outside is a constant to it.
      const ids = treeLeaves<tf.Tensor>(params).map(({ path, value }) => {
        const id = backend.idOf(value);
        const type = builder.type(id);
        if (type.dtype !== 'float32') {
          throw traceError(`inner.grad: expected float32 parameters, got ${formatType(type)} at "${path}".`);
        }
        return builder.op('identity', id);
      });
      session.gradients++;
      try {
        const returned = f(this.tree(params, ids));
        const { value, aux } = isValueAndAux(returned) ? returned : { value: returned, aux: undefined as A };
        const loss = this.loss(value);
        const cotangents = vjp(builder, [{ value: loss, cotangent: builder.fill(1, []) }], ids);
        return { value: backend.tensor(loss) as tf.Scalar, gradient: this.tree(params, cotangents), aux };
      } finally {
        session.gradients--;
      }
    };
  }

  stopGradient<P extends TensorTree>(tree: P): P {
    const { builder } = this.session;
    const stop = (tensor: tf.Tensor): tf.Tensor =>
      this.backend.tensor(builder.op('stopGradient', this.backend.idOf(tensor)));
    return treeMap<tf.Tensor, tf.Tensor>(tree, stop) as P;
  }

  private tree<P extends TensorTree>(like: P, ids: readonly ValueId[]): P {
    return treeUnflatten(
      like,
      ids.map((id) => this.backend.tensor(id)),
    ) as P;
  }

  private loss(value: unknown): ValueId {
    if (!(value instanceof tf.Tensor)) {
      throw traceError(`inner.grad: expected the function to return a scalar tensor, got ${typeof value}.`);
    }
    const id = this.backend.idOf(value);
    const type = this.session.builder.type(id);
    if (type.dtype !== 'float32' || type.shape.length !== 0) {
      throw traceError(
        `inner.grad: expected the function to return a float32 scalar, got ${formatType(type)}. Use tf.mean or tf.sum.`,
      );
    }
    return id;
  }

  private next(counter: string): number {
    const n = this.batches.get(counter) ?? 0;
    this.batches.set(counter, n + 1);
    return n;
  }

  private split(split: Split): DataSplit {
    const { dataset } = this.data;
    if (dataset === undefined) throw traceError('inner.batch: this problem has no data set; give it a `dataset`.');
    const found = (dataset.splits as Partial<Record<Split, DataSplit>>)[split];
    if (found === undefined) {
      throw traceError(`inner.batch: expected one of ${SPLITS.join(', ')}, got "${split}".`);
    }
    for (const { table } of [found.xs, found.ys]) {
      if (table.rows !== found.rows) {
        throw traceError(`data set "${dataset.name}", ${split}: ${found.rows} rows, but its table has ${table.rows}.`);
      }
    }
    return found;
  }

  private drawn(split: Split, path: readonly number[], perStep: boolean): Batch {
    const { xs, ys, rows } = this.split(split);
    const { batchSize } = this.data;
    if (batchSize === undefined || !Number.isInteger(batchSize) || batchSize < 1) {
      throw traceError(
        `inner.batch: expected a positive integer as the problem's batchSize, got ${String(batchSize)}.`,
      );
    }
    const { builder } = this.session;
    const indices = builder.emit('random', [], {
      stream: 'batch',
      perStep,
      path,
      distribution: { name: 'integer', low: 0, high: rows },
      shape: [batchSize],
    });
    const gathered = (column: DataColumn): tf.Tensor =>
      this.decoded(builder.op('gather', this.session.table(column.table), indices), column);
    return { xs: gathered(xs), ys: gathered(ys) };
  }

  /** raw·scale + offset in float32; without a decoding the raw numbers, bytes as int32. */
  private decoded(raw: ValueId, { decode }: DataColumn): tf.Tensor {
    const { builder } = this.session;
    if (decode === undefined) {
      const id = builder.type(raw).dtype === 'uint8' ? builder.cast(raw, 'int32') : raw;
      return this.backend.tensor(id);
    }
    const { scale, offset } = decode;
    const number = builder.cast(raw, 'float32');
    const scaled = scale === 1 ? number : builder.binary('mul', number, builder.fill(scale, []));
    return this.backend.tensor(offset === 0 ? scaled : builder.binary('add', scaled, builder.fill(offset, [])));
  }
}

function isValueAndAux<A>(
  returned: tf.Tensor | { readonly value: tf.Tensor; readonly aux: A },
): returned is { readonly value: tf.Tensor; readonly aux: A } {
  return !(returned instanceof tf.Tensor) && typeof returned === 'object' && 'value' in returned;
}
