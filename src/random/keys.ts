import { threefry2x32, type Key } from './threefry';

/**
 * Streams of randomness; none shares a number with another. `noise`, `init`, `batch` and `user` are conventions.md's;
 * the others belong to the outer loop.
 */
export const STREAMS = {
  noise: 0,
  init: 1,
  batch: 2,
  user: 3,
  theta: 4,
  offsets: 5,
  evaluation: 6,
  candidates: 7,
  repeats: 8,
  probe: 9,
  tuning: 10,
  metaTest: 11,
  family: 12,
  tasks: 13,
  lengths: 14,
} as const;
export type Stream = keyof typeof STREAMS;

/** An independent key named by a 32-bit integer. */
export function foldIn(key: Key, data: number): Key {
  const out = new Uint32Array(2);
  threefry2x32(key[0], key[1], data, 0x9e3779b9, out, 0);
  return [out[0], out[1]];
}

/** The key of a run: `seed` is an integer in [0, 2⁵³). */
export function seedKey(seed: number): Key {
  return [(seed % 0x100000000) >>> 0, Math.floor(seed / 0x100000000) >>> 0];
}

/** foldIn(seed, stream, worker, episode): what all draws of one episode of one worker start from. */
export function episodeKey(seed: number, stream: Stream, worker: number, episode: number): Key {
  return foldIn(foldIn(foldIn(seedKey(seed), STREAMS[stream]), worker), episode);
}

/** Key of a noise chunk: foldIn(seed, noise, worker, episode, chunk) with chunk = ⌊t/K⌋ (conventions.md). */
export function noiseKey(seed: number, worker: number, episode: number, chunk: number): Key {
  return foldIn(episodeKey(seed, 'noise', worker, episode), chunk);
}

/** The n-th draw from a generator is keyed by the generator's key folded with this; `foldIn` data stays below 2³¹. */
export function drawWord(n: number): number {
  return (0x80000000 | n) >>> 0;
}
