/** What a kernel rule sees: the operands and attributes of one tfjs kernel call, and the graph to append to. */
import { backend_util } from '@tensorflow/tfjs';
import type { GraphBuilder } from '../builder';
import type { DType, Shape, ValueId } from '../ir';
import { traceError } from './lines';

export type NumericDType = 'float32' | 'int32';

export class KernelCall {
  constructor(
    /** The tfjs name of the kernel. */
    readonly name: string,
    readonly g: GraphBuilder,
    private readonly operands: ReadonlyMap<string, ValueId>,
    /** True while a shift that cancels out is computed (the maximum inside log-sum-exp). */
    readonly isShift: boolean,
  ) {}

  /** A named operand. */
  input(name: string): ValueId {
    const id = this.operands.get(name);
    if (id === undefined) throw traceError(`kernel ${this.name} was called without operand "${name}".`);
    return id;
  }

  optional(name: string): ValueId | undefined {
    return this.operands.get(name);
  }

  /** All operands, in order. */
  all(): ValueId[] {
    return [...this.operands.values()];
  }

  shape(id: ValueId): Shape {
    return this.g.shape(id);
  }

  dtype(id: ValueId): DType {
    return this.g.type(id).dtype;
  }

  scalar(value: number, dtype: 'float32' | 'int32' | 'bool' = 'float32'): ValueId {
    return this.g.fill(value, [], dtype);
  }

  /** A constant of the shape and dtype of `like`. */
  constantLike(value: number, like: ValueId): ValueId {
    return this.g.fill(value, this.shape(like), this.dtype(like) as 'float32' | 'int32' | 'bool');
  }

  float(id: ValueId): ValueId {
    return this.g.cast(id, 'float32');
  }

  /** bool as int32; numbers as they are. */
  numeric(id: ValueId): ValueId {
    return this.dtype(id) === 'bool' ? this.g.cast(id, 'int32') : id;
  }

  /** Both operands in the dtype that tfjs upcasts them to. */
  upcast(a: ValueId, b: ValueId): readonly [ValueId, ValueId] {
    const dtype = backend_util.upcastType(
      this.dtype(a) as 'float32' | 'int32' | 'bool',
      this.dtype(b) as 'float32' | 'int32' | 'bool',
    ) as 'float32' | 'int32' | 'bool';
    return [this.g.cast(a, dtype), this.g.cast(b, dtype)];
  }

  /** @throws TraceError for what has no meaning in the graph. */
  refuse(expected: string, got: string): never {
    throw traceError(`kernel ${this.name}: expected ${expected}, got ${got}.`);
  }
}

/**
 * Appends what a kernel computes and returns its result or results. Attributes are the kernel's own of tfjs; each rule
 * names their type.
 */
export type KernelRule<Attributes = never> = (call: KernelCall, attributes: Attributes) => ValueId | ValueId[];
