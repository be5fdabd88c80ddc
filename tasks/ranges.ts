/** Ranges that tasks are drawn from: `[low, high]`, both included. */
import { z } from 'zod';
import { ConfigurationError } from '../src/contracts';

export type Range = readonly [number, number];

/** What a range must hold. */
export interface RangeOf {
  readonly integers?: boolean;
  /** The least number that `low` may be; a positive number if absent. */
  readonly from?: number;
}

function expected({ integers = false, from }: RangeOf): string {
  const bound = from === undefined ? '0 <' : `${String(from)} ≤`;
  return `two ${integers ? 'integers' : 'numbers'} [low, high], ${bound} low ≤ high`;
}

function holds(range: readonly unknown[], { integers = false, from }: RangeOf): boolean {
  if (range.length !== 2) return false;
  const [low, high] = range as Range;
  const sound = [low, high].every((x) => Number.isFinite(x) && (!integers || Number.isSafeInteger(x)));
  return sound && (from === undefined ? low > 0 : low >= from) && low <= high;
}

/** @throws ConfigurationError naming `key` */
export function checkRange(key: string, range: Range, of: RangeOf = {}): void {
  if (!holds(range, of)) throw new ConfigurationError(key, expected(of), JSON.stringify(range));
}

/** The same of a configuration. */
export function rangeSchema(of: RangeOf = {}): z.ZodType<Range> {
  const error = expected(of);
  return z.custom<Range>((value) => Array.isArray(value) && holds(value, of), { error });
}
