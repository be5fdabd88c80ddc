import { ConfigurationError } from '../contracts';
import type { CheckpointChoice } from '../outer/run-directory';

/** The value of a flag that takes an integer of at least `least`. @throws ConfigurationError */
export function integerOption(flag: string, text: string | undefined, least: number, or = ''): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least) {
    throw new ConfigurationError(flag, `an integer of at least ${least}${or}`, `"${text}"`);
  }
  return value;
}

/** The value of a `--checkpoint` that chooses a θ: an iteration, or `best`. @throws ConfigurationError */
export function checkpointOption(text: string | undefined): CheckpointChoice | undefined {
  return text === 'best' ? text : integerOption('--checkpoint', text, 0, ', or best');
}

const UNITS: Readonly<Record<string, number>> = { '': 0, K: 1, M: 2, G: 3, T: 4 };

/** Bytes of a flag such as `2GiB`, `500MB` or `1073741824`. @throws ConfigurationError */
export function byteOption(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?$/i.exec(text.trim());
  const bytes =
    match === null
      ? NaN
      : Math.floor(Number(match[1]) * (match[3] === '' ? 1000 : 1024) ** UNITS[match[2].toUpperCase()]);
  if (!(Number.isSafeInteger(bytes) && bytes >= 1)) {
    throw new ConfigurationError(flag, 'a number of bytes such as 2GiB, 500MB or 1000000', `"${text}"`);
  }
  return bytes;
}
