import { integers, permutation, uniforms } from '../../src/random/draws';
import { foldIn, seedKey, STREAMS } from '../../src/random/keys';
import type { Key } from '../../src/random/threefry';

export type OffsetRule = 'stratified' | 'independent';

/**
 * Where step-unlocked workers start: inner steps in {0, W, …, T−W}, a function of (seed, worker) alone, so that further
 * workers leave those that were there unchanged.
 *
 * - `stratified`: each block of T/W consecutive workers has a keyed permutation of all T/W offsets.
 * - `independent`: each worker draws its own, as the theorems of Li et al. 2023 assume.
 */
export function workerOffsets(
  rule: OffsetRule,
  seed: number,
  workers: number,
  horizon: number,
  window: number,
): Int32Array {
  const windows = horizon / window;
  const key = foldIn(seedKey(seed), STREAMS.offsets);
  const offsets = new Int32Array(workers);
  if (rule === 'independent') {
    for (let w = 0; w < workers; w++) offsets[w] = window * integers(foldIn(foldIn(key, 1), w), 1, 0, windows)[0];
    return offsets;
  }
  for (let first = 0; first < workers; first += windows) {
    const order = permutation(foldIn(foldIn(key, 0), first / windows), windows);
    for (let i = 0; i < windows && first + i < workers; i++) offsets[first + i] = window * order[i];
  }
  return offsets;
}

/**
 * A number in [0, 1) for each worker, uniform for each by itself. `stratified`: each block of `strata` consecutive workers
 * has one in every [k/strata, (k+1)/strata). Further workers leave those that were there unchanged.
 */
export function stratifiedUniforms(rule: OffsetRule, key: Key, workers: number, strata: number): Float64Array {
  const out = new Float64Array(workers);
  for (let w = 0; w < workers; w++) [out[w]] = uniforms(foldIn(foldIn(key, 1), w), 1);
  if (rule === 'independent') return out;
  for (let first = 0; first < workers; first += strata) {
    const order = permutation(foldIn(foldIn(key, 0), first / strata), strata);
    for (let i = 0; i < strata && first + i < workers; i++) out[first + i] = (order[i] + out[first + i]) / strata;
  }
  return out;
}
