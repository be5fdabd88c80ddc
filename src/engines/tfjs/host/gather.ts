/** Rows by index on the host. Indices outside [0, rows) are clamped to it. */
import type { DataTable } from '../../../contracts';
import type { HostArray } from '../device';

/** How a gathered raw number becomes what the graph wants. */
export interface Decode {
  readonly scale: number;
  readonly offset: number;
}

function clampRow(row: number, rows: number): number {
  return row < 0 ? 0 : row >= rows ? rows - 1 : row;
}

/**
 * out[p][i] = x[p][indices[p][i]] for `particles` particles, rows of `width` numbers; a stride of 0 means that all
 * particles have the same operand or indices.
 */
export function gatherRows(
  out: HostArray,
  x: HostArray,
  rows: number,
  width: number,
  operandStride: number,
  indices: HostArray,
  count: number,
  indexStride: number,
  particles: number,
): void {
  let o = 0;
  for (let p = 0; p < particles; p++) {
    for (let i = 0; i < count; i++) {
      const from = p * operandStride + clampRow(indices[p * indexStride + i], rows) * width;
      for (let j = 0; j < width; j++) out[o++] = x[from + j];
    }
  }
}

/** Every update added to its row, in order; strides as in `gatherRows`. */
export function scatterAddRows(
  out: HostArray,
  rows: number,
  width: number,
  indices: HostArray,
  count: number,
  indexStride: number,
  updates: HostArray,
  updateStride: number,
  particles: number,
): void {
  out.fill(0);
  for (let p = 0; p < particles; p++) {
    for (let i = 0; i < count; i++) {
      const to = (p * rows + clampRow(indices[p * indexStride + i], rows)) * width;
      const from = p * updateStride + i * width;
      for (let j = 0; j < width; j++) out[to + j] += updates[from + j];
    }
  }
}

/** raw·scale + offset in float32, rounded after each of the two as the graph's mul and add do. */
function decodeOne(raw: number, { scale, offset }: Decode): number {
  return Math.fround(Math.fround(raw * Math.fround(scale)) + Math.fround(offset));
}

/** Writes decoded rows of a table, one an index, from out[o] on. */
export type TableGatherer = (out: HostArray, o: number, indices: HostArray, from: number, to: number) => void;

/** Gathers rows of a resident table straight into float32, decoding on the way: a byte is one look-up. */
export function tableGatherer(table: DataTable, decode: Decode | undefined): TableGatherer {
  const { values, rows } = table;
  const width = values.length / rows;
  if (decode !== undefined && values instanceof Uint8Array) {
    const decoded = Float32Array.from({ length: 256 }, (_, raw) => decodeOne(raw, decode));
    return (out, o, indices, from, to) => {
      for (let i = from; i < to; i++) {
        const row = clampRow(indices[i], rows) * width;
        for (let j = row; j < row + width; j++) out[o++] = decoded[values[j]];
      }
    };
  }
  const raw: TableGatherer = (out, o, indices, from, to) => {
    for (let i = from; i < to; i++) {
      const row = clampRow(indices[i], rows) * width;
      for (let j = row; j < row + width; j++) out[o++] = values[j];
    }
  };
  if (decode === undefined) return raw;
  return (out, o, indices, from, to) => {
    raw(out, o, indices, from, to);
    for (let end = o + (to - from) * width; o < end; o++) out[o] = decodeOne(out[o], decode);
  };
}

/**
 * Gathers for all particles, `count` indices each. `partner` names a particle before it that probably has the same
 * indices (an antithetic one): if so its rows, which are in cache and decoded, are copied.
 */
export function gatherForAll(
  gatherer: TableGatherer,
  width: number,
  out: HostArray,
  indices: HostArray,
  count: number,
  partner: (particle: number) => number,
): void {
  for (let p = 0; p * count < indices.length; p++) {
    const other = partner(p);
    let same = other !== p;
    for (let i = 0; same && i < count; i++) same = indices[p * count + i] === indices[other * count + i];
    const size = count * width;
    if (same) out.copyWithin(p * size, other * size, (other + 1) * size);
    else gatherer(out, p * size, indices, p * count, (p + 1) * count);
  }
}
