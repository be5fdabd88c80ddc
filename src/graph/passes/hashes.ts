import type { ConstantData } from '../ir';

/** Hashes of constants' bytes, each computed once for as long as this lives: passes hand arrays on as they are. */
export class ConstantHashes {
  private readonly known = new WeakMap<ConstantData, number>();

  of(data: ConstantData): number {
    const known = this.known.get(data);
    if (known !== undefined) return known;
    const computed = hash(bytesOf(data));
    this.known.set(data, computed);
    return computed;
  }
}

export function bytesOf(data: ConstantData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** FNV-1a, 32 bits. */
function hash(data: Uint8Array): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < data.length; i++) h = Math.imul(h ^ data[i], 0x01000193);
  return h >>> 0;
}
