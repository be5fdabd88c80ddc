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

// Loops over particles stand on their own: within an asynchronous function they are optimised late.

/** 0, 1, 2 … */
export function ascending(particles: Int32Array): boolean {
  const { length } = particles;
  for (let i = 0; i < length; i++) if (particles[i] !== i) return false;
  return true;
}

export function addToAll(column: Int32Array, value: number): void {
  const { length } = column;
  for (let i = 0; i < length; i++) column[i] += value;
}

export function counting(length: number): Int32Array {
  const all = new Int32Array(length);
  for (let i = 0; i < length; i++) all[i] = i;
  return all;
}

export function gather(column: Int32Array, entries: Int32Array): Int32Array {
  const { length } = entries;
  const gathered = new Int32Array(length);
  for (let i = 0; i < length; i++) gathered[i] = column[entries[i]];
  return gathered;
}

/** Rows of a chunk's results to where they belong. */
export function scatter(rows: Float64Array, entries: Int32Array, results: Float64Array): void {
  const { length } = entries;
  if (length === 0) return;
  const count = rows.length / length;
  const m = results.length / count;
  for (let k = 0; k < count; k++) {
    for (let i = 0; i < length; i++) results[k * m + entries[i]] = rows[k * length + i];
  }
}
