/**
 * Distributions from a key. Element order: block b of a draw is threefry(key, [b, 0]) and gives elements 2b and 2b+1.
 * Integers are the same on every engine; normals agree within the tolerance of the engine's log, sin and cos.
 */
import { threefry2x32, type Key } from './threefry';

/** Raw 32-bit words. */
export function bits(key: Key, count: number): Uint32Array {
  const out = new Uint32Array(count + (count & 1));
  for (let b = 0; b < out.length; b += 2) threefry2x32(key[0], key[1], b >>> 1, 0, out, b);
  return count === out.length ? out : out.subarray(0, count);
}

/** Uniform on [0, 1): the word's upper 24 bits times 2⁻²⁴, exact in float32. */
export function uniforms(key: Key, count: number): Float32Array {
  const words = bits(key, count);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = (words[i] >>> 8) * 2 ** -24;
  return out;
}

/**
 * The largest float32 below float32(x), x finite: a uniform draw that is scaled to [low, x) in float32 may be rounded up
 * to x, and is clamped to this.
 */
export function floatBelow(x: number): number {
  const float = new Float32Array([x]);
  const word = new Int32Array(float.buffer);
  if (float[0] === 0) return -(2 ** -149);
  word[0] += float[0] > 0 ? -1 : 1;
  return float[0];
}

/**
 * Standard normals by Box and Muller: block b gives √(−2 ln u)·cos 2πv and √(−2 ln u)·sin 2πv, with
 * u = (⌊w₀/2⁸⌋+1)·2⁻²⁴ in (0, 1] and v = ⌊w₁/2⁸⌋·2⁻²⁴. Computed in float64; |z| ≤ 5.77.
 */
export function fillNormals(key: Key, out: Float64Array | Float32Array): void {
  const words = new Uint32Array(2);
  for (let i = 0; i < out.length; i += 2) {
    threefry2x32(key[0], key[1], i >>> 1, 0, words, 0);
    const radius = Math.sqrt(-2 * Math.log(((words[0] >>> 8) + 1) * 2 ** -24));
    const angle = 2 * Math.PI * ((words[1] >>> 8) * 2 ** -24);
    out[i] = radius * Math.cos(angle);
    if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
  }
}

/** Standard normals, rounded to float32. */
export function normals(key: Key, count: number): Float32Array {
  const out = new Float32Array(count);
  fillNormals(key, out);
  return out;
}

/** ⌊word·range/2³²⌋ exactly, for range < 2³¹. */
export function scaleWord(word: number, range: number): number {
  const high = word >>> 16;
  const low = word & 0xffff;
  return Math.floor((high * range + Math.floor((low * range) / 0x10000)) / 0x10000);
}

/** Uniform integers on [low, high), 0 < high − low < 2³¹; bias below (high − low)/2³². */
export function integers(key: Key, count: number, low: number, high: number): Int32Array {
  const words = bits(key, count);
  const out = new Int32Array(count);
  for (let i = 0; i < count; i++) out[i] = low + scaleWord(words[i], high - low);
  return out;
}

/** A keyed permutation of 0 … count−1 (Fisher and Yates). */
export function permutation(key: Key, count: number): Int32Array {
  const out = Int32Array.from({ length: count }, (_, i) => i);
  const words = bits(key, count);
  for (let i = count - 1; i > 0; i--) {
    const j = scaleWord(words[i], i + 1);
    const swapped = out[i];
    out[i] = out[j];
    out[j] = swapped;
  }
  return out;
}
