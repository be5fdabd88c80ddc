import {
  bits,
  drawWord,
  episodeKey,
  foldIn,
  noiseKey,
  seedKey,
  STREAMS,
  type Key,
  type Stream,
} from '../../src/random';

const text = (key: Key): string => key.join(':');
const streams = Object.keys(STREAMS) as Stream[];

test('seeds from 0 to 2⁵³ − 1 are all of the key', () => {
  expect(seedKey(0)).toEqual([0, 0]);
  expect(seedKey(2 ** 32 - 1)).toEqual([0xffffffff, 0]);
  expect(seedKey(2 ** 32)).toEqual([0, 1]);
  expect(seedKey(2 ** 32 + 1)).toEqual([1, 1]);
  expect(seedKey(Number.MAX_SAFE_INTEGER)).toEqual([0xffffffff, 0x1fffff]);
  expect(text(episodeKey(5, 'init', 0, 0))).not.toBe(text(episodeKey(5 + 2 ** 32, 'init', 0, 0)));
});

test('foldIn is injective in its integer: 2²⁰ integers of every size', () => {
  // For one key it is a permutation of 64-bit blocks, so no two may ever meet.
  const seen = new Set<number>();
  let twice = 0;
  for (let i = 0; i < 2 ** 20; i++) {
    // 4093 is odd, so the integers differ modulo 2³².
    const [a, b] = foldIn([1, 2], Math.imul(i, 4093) >>> 0);
    const low53 = a + (b & 0x1fffff) * 2 ** 32;
    if (seen.has(low53)) twice++;
    seen.add(low53);
  }
  // 53 of the 64 bits are kept: by chance, 2⁴⁰/2⁵⁴ collisions are expected, none at confidence 1 − 6e-5.
  expect(twice).toBe(0);
});

test('streams, workers, episodes, chunks and seeds have keys of their own', () => {
  const keys: string[] = [];
  for (const seed of [0, 1, 2 ** 32]) {
    for (let worker = 0; worker < 12; worker++) {
      for (let episode = 0; episode < 12; episode++) {
        for (const stream of streams) keys.push(text(episodeKey(seed, stream, worker, episode)));
        for (let chunk = 0; chunk < 4; chunk++) keys.push(text(noiseKey(seed, worker, episode, chunk)));
      }
    }
  }
  expect(new Set(streams.map((stream) => STREAMS[stream])).size).toBe(streams.length);
  expect(new Set(keys).size).toBe(3 * 12 * 12 * (streams.length + 4));
});

test('keys are chains of foldIn, as the conventions write them', () => {
  const chain = (...words: number[]): Key => words.reduce<Key>((key, word) => foldIn(key, word), seedKey(9));
  expect(episodeKey(9, 'batch', 3, 4)).toEqual(chain(STREAMS.batch, 3, 4));
  expect(noiseKey(9, 3, 4, 5)).toEqual(chain(STREAMS.noise, 3, 4, 5));
});

test('no child of a key is also one of its draws', () => {
  // Blocks (b, 0) are draws, (data, other word) are children: of one permutation, hence all different.
  const key: Key = [3, 4];
  const words = bits(key, 2 * 4096);
  const drawn = new Set(Array.from({ length: 4096 }, (_, b) => `${words[2 * b]}:${words[2 * b + 1]}`));
  for (let i = 0; i < 4096; i++) expect(drawn.has(text(foldIn(key, i)))).toBe(false);
});

test('words of draws never meet those of foldIn below 2³¹', () => {
  expect([drawWord(0), drawWord(1), drawWord(2 ** 31 - 1)]).toEqual([2 ** 31, 2 ** 31 + 1, 2 ** 32 - 1]);
});

test('streams are uncorrelated', () => {
  const n = 1 << 16;
  const draws = streams.map((stream) => {
    const words = bits(episodeKey(1, stream, 0, 0), n);
    return Float64Array.from(words, (word) => (word / 2 ** 32 - 0.5) * Math.sqrt(12));
  });
  for (let a = 0; a < draws.length; a++) {
    for (let b = 0; b < a; b++) {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += draws[a][i] * draws[b][i];
      // The mean of n products of standardised numbers: standard deviation 1/√n; 21 pairs at 4.5 of them, 1 − 1.4e-4.
      expect(Math.abs(sum / n) * Math.sqrt(n)).toBeLessThan(4.5);
    }
  }
});
