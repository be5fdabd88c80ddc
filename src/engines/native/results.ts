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
