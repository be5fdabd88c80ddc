/** Parts of what a call names, for a chunk of its particles. */
import type { Perturbation } from '../../contracts';

type Column = Int32Array | Uint32Array | Int8Array | Float64Array;

/** The first of them if they count up by one. */
function consecutive(entries: Int32Array): number | undefined {
  const { length } = entries;
  const first = length === 0 ? 0 : entries[0];
  for (let i = 1; i < length; i++) if (entries[i] !== first + i) return undefined;
  return first;
}

/** Rows of `width` numbers: a view where they lie side by side, else a copy. */
function rowsOf<T extends Column>(array: T, width: number, entries: Int32Array, first: number | undefined): T {
  if (first !== undefined) return array.subarray(first * width, (first + entries.length) * width) as T;
  const rows = new (array.constructor as new (length: number) => T)(entries.length * width);
  for (let i = 0; i < entries.length; i++) {
    const from = entries[i] * width;
    for (let k = 0; k < width; k++) rows[i * width + k] = array[from + k];
  }
  return rows;
}

/** @param entries positions within the selection that the column is for */
export function columnOf(column: Int32Array, entries: Int32Array): Int32Array {
  return rowsOf(column, 1, entries, consecutive(entries));
}

/** What the particles at these positions run with. */
export function perturbationOf(perturbation: Perturbation, entries: Int32Array, dim: number): Perturbation {
  if (perturbation.form === 'none') return perturbation;
  const first = consecutive(entries);
  if (perturbation.form === 'explicit')
    return { ...perturbation, thetas: rowsOf(perturbation.thetas, dim, entries, first) };
  const { keys, signs } = perturbation;
  return { ...perturbation, keys: rowsOf(keys, 2, entries, first), signs: rowsOf(signs, 1, entries, first) };
}
