import { episodeKey, type Key, type Stream } from '../../random';
import type { DType, NodeOf, OpName, ValueId, ValueType } from '../ir';

/** float32 values are held in float64 (or float32, see InterpreterOptions), bool and uint8 as bytes. */
export type Value = Float64Array | Float32Array | Int32Array | Uint8Array;

/** What a run depends on besides its feeds. */
export interface InterpreterContext {
  /** episodeKey(seed, stream, worker, episode). */
  readonly key: (stream: Stream) => Key;
  /** Inner step within the episode; keys random ops with `perStep`. The graph's own input t is a feed. */
  readonly t: number;
}

/** The context of one inner step of one particle. */
export function stepContext(seed: number, worker: number, episode: number, t: number): InterpreterContext {
  return { key: (stream) => episodeKey(seed, stream, worker, episode), t };
}

/** Computes a node's value from those of its operands; values[id] is the value of node id. */
export type Kernel = (values: Value[], context: InterpreterContext) => void;

/** A node about to be compiled. */
export interface Site<P extends OpName> {
  readonly node: NodeOf<P>;
  readonly id: ValueId;
  /** Types of the operands. */
  readonly operands: readonly ValueType[];
  /** Allocates the node's buffer, zeros, and puts it into values[id]. */
  buffer(): Value;
  /** Makes `value` the node's value for good: nothing is computed at run time. */
  hold(value: Value): Kernel;
}

export type Rule<P extends OpName> = (site: Site<P>) => Kernel;

export type FloatStorage = 'float64' | 'float32';

export function allocate(dtype: DType, size: number, floats: FloatStorage): Value {
  switch (dtype) {
    case 'float32':
      return floats === 'float64' ? new Float64Array(size) : new Float32Array(size);
    case 'int32':
      return new Int32Array(size);
    case 'bool':
    case 'uint8':
      return new Uint8Array(size);
  }
}
