/** Memory for what calls return: many small windows a second would keep the allocator and the collector busy. */

/** Bytes that are asked for at once, and what is asked for by itself; below what allocators map page by page. */
const SLAB = 1 << 16;
const ALONE = SLAB / 2;

/** Arrays that nobody has had before, several in one piece of memory. */
export class ResultSpace {
  private slab: ArrayBufferLike = new ArrayBuffer(0);
  private used = 0;

  /** Not cleared. */
  take(numbers: number): Float64Array {
    const bytes = 8 * numbers;
    if (bytes > ALONE) return new Float64Array(Buffer.allocUnsafeSlow(bytes).buffer);
    if (this.used + bytes > this.slab.byteLength) {
      this.slab = Buffer.allocUnsafeSlow(SLAB).buffer;
      this.used = 0;
    }
    const array = new Float64Array(this.slab, this.used, numbers);
    this.used += bytes;
    return array;
  }
}

/** Columns [width × m] from row `first` on as rows of particles, [m × width]. */
export function transposed(columns: Float64Array, first: number, width: number, m: number): Float64Array {
  const rows = new Float64Array(m * width);
  for (let k = 0; k < width; k++) {
    for (let i = 0; i < m; i++) rows[i * width + k] = columns[(first + k) * m + i];
  }
  return rows;
}
