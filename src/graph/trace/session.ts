/** One run of a user's function on the tracing backend: the graph under construction and what belongs to it. */
import type * as tf from '@tensorflow/tfjs';
import type { DataTable } from '../../contracts';
import { drawWord, type Stream } from '../../random';
import type { GraphBuilder } from '../builder';
import type { ConstantData, Shape, ValueId } from '../ir';
import { traceError, userLine } from './lines';

/** Values as backends hand them out. */
export type HostValues = ReturnType<tf.KernelBackend['readSync']>;

type ConstantDType = 'float32' | 'int32' | 'bool';

/** Keys that draws of a trace start from. */
export interface DrawScope {
  readonly stream: Stream;
  readonly perStep: boolean;
}

/** A generator that user code cannot name: its word is no draw's and no `foldIn`'s. */
const DROPOUT_WORD = drawWord(0x7fffffff);

export function constantDType(dtype: string): ConstantDType {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw traceError(`a ${dtype} tensor cannot be traced: expected float32, int32 or bool.`);
}

/** The numbers as the graph stores them; a reference to the same array where its type fits. */
function constantData(values: HostValues, dtype: ConstantDType): ConstantData {
  const numbers = values as ConstantData;
  if (dtype === 'float32') return numbers instanceof Float32Array ? numbers : Float32Array.from(numbers);
  if (dtype === 'int32') return numbers instanceof Int32Array ? numbers : Int32Array.from(numbers);
  return numbers instanceof Uint8Array ? numbers : Uint8Array.from(numbers);
}

export class TraceSession {
  /** Depth of open `inner.grad` calls. */
  gradients = 0;
  /** A failure that could not be thrown where it happened. */
  failure: Error | undefined;
  /** The user's line that made constant `watched`. */
  watchedLine: string | undefined;

  private readonly constants = new WeakMap<object, Map<string, ValueId>>();
  private readonly tables = new Map<DataTable, ValueId>();
  private dropouts = 0;

  constructor(
    readonly builder: GraphBuilder,
    readonly draws: DrawScope,
    /** A value id whose line is looked up when it is made as a constant: a lookup is too slow to be done for all. */
    private readonly watched?: ValueId,
  ) {}

  /** The constant that a data id holds, read as `shape` and `dtype`: tensors may share data and differ in both. */
  constant(dataId: object, read: () => HostValues, shape: Shape, dtype: string): ValueId {
    let known = this.constants.get(dataId);
    if (known === undefined) this.constants.set(dataId, (known = new Map<string, ValueId>()));
    const key = `${dtype}[${shape.join(',')}]`;
    let id = known.get(key);
    if (id === undefined) {
      const type = constantDType(dtype);
      id = this.emitConstant(constantData(read(), type), shape, type);
      known.set(key, id);
      if (this.watched !== undefined && id >= this.watched) this.watchedLine ??= userLine();
    }
    return id;
  }

  table(table: DataTable): ValueId {
    let id = this.tables.get(table);
    if (id === undefined) this.tables.set(table, (id = this.builder.table(table)));
    return id;
  }

  /** The uniform draw that stands for a dropout's mask. */
  dropoutUniform(shape: Shape): ValueId {
    const path = [DROPOUT_WORD, drawWord(this.dropouts++)];
    return this.builder.emit('random', [], { ...this.draws, path, distribution: { name: 'uniform' }, shape });
  }

  private emitConstant(data: ConstantData, shape: Shape, dtype: ConstantDType): ValueId {
    const uniform = data.length > 1 && data.every((value) => Object.is(value, data[0]));
    return uniform ? this.builder.fill(data[0], shape, dtype) : this.builder.constant(data, shape, dtype);
  }
}
