import { ShapeError, type DataTable } from '../contracts';
import { broadcastsTo, inferType } from './infer';
import {
  sameShape,
  sizeOf,
  type ConstantData,
  type Graph,
  type NoAttributes,
  type Node,
  type NodeOf,
  type OpAttributes,
  type OpName,
  type Shape,
  type ValueId,
  type ValueType,
} from './ir';

/** Ops that need nothing but operands. */
type PlainOp = { [P in OpName]: NoAttributes extends OpAttributes[P] ? P : never }[OpName];

/** Appends nodes to a graph under construction, inferring every type. Used by the tracer, the passes and the tests. */
export class GraphBuilder {
  private readonly nodes: Node[] = [];
  private readonly inputIds: ValueId[] = [];

  constructor(readonly name: string) {}

  /** @throws ShapeError if the operands do not fit the op. */
  emit<P extends OpName>(op: P, inputs: readonly ValueId[], attributes: OpAttributes[P]): ValueId {
    const type = inferType(
      op,
      inputs.map((id) => this.type(id)),
      attributes,
    );
    const node: NodeOf<P> = { op, inputs, attributes, type };
    // A NodeOf<P> for a P that is not fixed is not seen to be a member of the union over P.
    this.nodes.push(node as unknown as Node);
    const id = this.nodes.length - 1;
    if (op === 'input') this.inputIds.push(id);
    return id;
  }

  type(id: ValueId): ValueType {
    return this.node(id).type;
  }

  shape(id: ValueId): Shape {
    return this.node(id).type.shape;
  }

  node(id: ValueId): Node {
    const node = this.nodes[id] as Node | undefined;
    if (node === undefined) throw new ShapeError(`graph "${this.name}" has no value ${String(id)}.`);
    return node;
  }

  get size(): number {
    return this.nodes.length;
  }

  input(name: string, type: ValueType): ValueId {
    return this.emit('input', [], { name, type });
  }

  constant(data: ConstantData, shape: Shape, dtype: 'float32' | 'int32' | 'bool'): ValueId {
    return this.emit('constant', [], { data, shape, dtype });
  }

  /** A constant of the given shape, every element `value`. */
  fill(value: number, shape: Shape, dtype: 'float32' | 'int32' | 'bool' = 'float32'): ValueId {
    const data =
      dtype === 'float32' ? Float32Array.of(value) : dtype === 'int32' ? Int32Array.of(value) : Uint8Array.of(value);
    return this.broadcast(this.constant(data, [], dtype), shape);
  }

  zeros(type: ValueType): ValueId {
    if (type.dtype === 'uint8') throw new ShapeError('a uint8 value has no zeros; cast it first.');
    return this.fill(0, type.shape, type.dtype);
  }

  table(table: DataTable): ValueId {
    return this.emit('table', [], { table });
  }

  /** An op without attributes. */
  op(op: PlainOp, ...inputs: ValueId[]): ValueId {
    return this.emit(op, inputs, {});
  }

  /** A two-operand op after broadcasting both to their common shape. */
  binary(op: PlainOp, a: ValueId, b: ValueId): ValueId {
    const shape = commonShape(this.shape(a), this.shape(b));
    return this.op(op, this.broadcast(a, shape), this.broadcast(b, shape));
  }

  select(condition: ValueId, a: ValueId, b: ValueId): ValueId {
    const shape = commonShape(this.shape(condition), commonShape(this.shape(a), this.shape(b)));
    return this.op('select', this.broadcast(condition, shape), this.broadcast(a, shape), this.broadcast(b, shape));
  }

  /** No node if the shape is already right. */
  broadcast(id: ValueId, shape: Shape): ValueId {
    return sameShape(this.shape(id), shape) ? id : this.emit('broadcast', [id], { shape });
  }

  reshape(id: ValueId, shape: Shape): ValueId {
    return sameShape(this.shape(id), shape) ? id : this.emit('reshape', [id], { shape });
  }

  transpose(id: ValueId, perm: readonly number[]): ValueId {
    return perm.every((axis, i) => axis === i) ? id : this.emit('transpose', [id], { perm });
  }

  cast(id: ValueId, dtype: 'float32' | 'int32' | 'bool'): ValueId {
    return this.type(id).dtype === dtype ? id : this.emit('cast', [id], { dtype });
  }

  /** Sum over `axes` (any order, repeats not allowed); no node for no axes. */
  reduceSum(id: ValueId, axes: readonly number[]): ValueId {
    return axes.length === 0 ? id : this.emit('reduceSum', [id], { axes: [...axes].sort((a, b) => a - b) });
  }

  /** Sums a value of a broadcast shape back to `shape`: the transpose of broadcast. */
  sumTo(id: ValueId, shape: Shape): ValueId {
    const from = this.shape(id);
    if (!broadcastsTo(shape, from)) throw new ShapeError(`[${from.join(',')}] does not sum to [${shape.join(',')}].`);
    const lead = from.length - shape.length;
    const axes = from.flatMap((extent, i) => (i < lead || (shape[i - lead] === 1 && extent !== 1) ? [i] : []));
    return this.reshape(this.reduceSum(id, axes), shape);
  }

  /** The finished graph; the builder may go on and be finished again. */
  finish(outputs: readonly ValueId[]): Graph {
    return { name: this.name, nodes: [...this.nodes], inputs: [...this.inputIds], outputs: [...outputs] };
  }
}

/** NumPy's common shape of two shapes. @throws ShapeError */
export function commonShape(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = i < rank - a.length ? 1 : a[i - (rank - a.length)];
    const y = i < rank - b.length ? 1 : b[i - (rank - b.length)];
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(`shapes [${a.join(',')}] and [${b.join(',')}] do not broadcast together.`);
    }
    return x === 1 ? y : x;
  });
}

export { sizeOf };
