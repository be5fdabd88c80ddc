/** How records lie in memory, for the copies of runtime/source.ts. */
import { EngineError } from '../../contracts';
import { sizeOf, type ValueType } from '../../graph/ir';
import type { NativeProgram } from './plan/program';
import type { Driver } from './render/request';
import type { Address } from './runtime';

/** OL_RANK of runtime/source.ts. */
const RANK = 8;

interface LeafCopy {
  readonly program: NativeProgram;
  readonly driver: Driver;
  readonly leaf: number;
  readonly type: ValueType;
  /** Of the first record. */
  readonly memory: Address;
  /** Of the plain array [size, …shape]. */
  readonly array: Address;
  readonly size: number;
  /** From the array to the records. */
  readonly write: boolean;
}

/** `struct ol_leaf`. */
export function leafWords({ program, driver, leaf, type, memory, array, size, write }: LeafCopy): BigInt64Array {
  const elements = sizeOf(type.shape);
  const flags = type.dtype === 'bool';
  let offset: number;
  let kind: number;
  let axes: Axis[];
  if (program.mode === 'particle-major') {
    const { offset: at, layout } = program.state.leaves[leaf];
    const width = layout.memory === 'u8' ? 1 : 4;
    offset = at;
    kind = width === 1 ? 1 : 0;
    axes = layout.shape.map((length, axis) => ({ length, stride: layout.strides[axis] * width }));
  } else {
    offset = program.state.leaves[leaf].offset * driver.lanes * 4;
    kind = flags ? 2 : 0;
    axes = [{ length: elements, stride: driver.lanes * 4 }];
  }
  const merged = merge(axes);
  if (merged.length > RANK) {
    throw new EngineError(`a state of rank ${merged.length} lies too scattered: at most ${RANK} axes can be copied.`);
  }
  const padded = Array.from({ length: RANK }, (_, axis) => merged[axis] ?? { length: 0, stride: 0 });
  const numbers = [
    driver.record,
    driver.lanes,
    driver.lanes === 1 ? 0 : 4,
    offset,
    kind,
    merged.length,
    ...padded.map(({ length }) => length),
    ...padded.map(({ stride }) => stride),
  ];
  return BigInt64Array.of(memory, ...numbers.map(BigInt), array, ...[size, elements, write ? 1 : 0].map(BigInt));
}

interface Axis {
  readonly length: number;
  /** In bytes. */
  readonly stride: number;
}

/** Axes that lie one within the other without a gap, as one. */
function merge(axes: readonly Axis[]): Axis[] {
  const merged: Axis[] = [];
  for (const axis of axes.filter(({ length }) => length !== 1)) {
    const outer = merged.at(-1);
    if (outer?.stride === axis.length * axis.stride) {
      merged[merged.length - 1] = { length: outer.length * axis.length, stride: axis.stride };
    } else merged.push(axis);
  }
  return merged;
}

/** `struct ol_copy`. */
export function particleWords(
  memory: Address,
  driver: Driver,
  from: Address,
  to: Address,
  count: number,
): BigInt64Array {
  return BigInt64Array.of(memory, BigInt(driver.record), BigInt(driver.lanes), from, to, BigInt(count));
}
