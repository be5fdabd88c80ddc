/** Places of buffers in one arena, so that those that live at the same time do not overlap. */

export interface Lifetime {
  readonly bytes: number;
  /** First and last kernel call, both included, during which the buffer is needed. */
  readonly from: number;
  readonly to: number;
}

/** Cache lines, and the longest vectors. */
const ALIGNMENT = 64;

export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/**
 * Offsets in bytes, multiples of 64, first fit, longest buffers first; and the arena's size.
 */
export function placeBuffers(lifetimes: readonly Lifetime[]): { readonly offsets: number[]; readonly bytes: number } {
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const order = [...lifetimes.keys()].sort((a, b) => lifetimes[b].bytes - lifetimes[a].bytes || a - b);
  const placed: number[] = [];
  let total = 0;
  for (const i of order) {
    const { bytes, from, to } = lifetimes[i];
    const overlapping = placed
      .filter((j) => lifetimes[j].from <= to && from <= lifetimes[j].to)
      .sort((a, b) => offsets[a] - offsets[b]);
    let offset = 0;
    for (const j of overlapping) {
      if (offset + align(bytes) <= offsets[j]) break;
      offset = Math.max(offset, offsets[j] + align(lifetimes[j].bytes));
    }
    offsets[i] = offset;
    placed.push(i);
    total = Math.max(total, offset + align(bytes));
  }
  return { offsets, bytes: total };
}
