import { threefry2x32 } from '../../src/random';

const encrypt = (key: readonly [number, number], counter: readonly [number, number]): string[] => {
  const out = new Uint32Array(2);
  threefry2x32(key[0], key[1], counter[0], counter[1], out, 0);
  return [...out].map((word) => word.toString(16).padStart(8, '0'));
};

/** The algorithm as the paper states it (Salmon et al. 2011, §3.1 and table 2), round by round in BigInt. */
function paper(key: readonly [number, number], counter: readonly [number, number]): string[] {
  const mask = 0xffffffffn;
  const [k0, k1] = key.map((word) => BigInt(word >>> 0));
  const keys = [k0, k1, 0x1bd11bdan ^ k0 ^ k1];
  const rotations = [13n, 15n, 26n, 6n, 17n, 29n, 16n, 24n];
  let x0 = (BigInt(counter[0] >>> 0) + k0) & mask;
  let x1 = (BigInt(counter[1] >>> 0) + k1) & mask;
  for (let round = 0; round < 20; round++) {
    const turn = rotations[round % 8];
    x0 = (x0 + x1) & mask;
    x1 = (((x1 << turn) | (x1 >> (32n - turn))) & mask) ^ x0;
    if (round % 4 === 3) {
      const injection = Math.floor(round / 4) + 1;
      x0 = (x0 + keys[injection % 3]) & mask;
      x1 = (x1 + keys[(injection + 1) % 3] + BigInt(injection)) & mask;
    }
  }
  return [x0, x1].map((word) => word.toString(16).padStart(8, '0'));
}

test.each([
  [
    [0, 0],
    [0, 0],
    ['6b200159', '99ba4efe'],
  ],
  [
    [0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    ['1cb996fc', 'bb002be7'],
  ],
  [
    [0x13198a2e, 0x03707344],
    [0x243f6a88, 0x85a308d3],
    ['c4923a9c', '483df7a0'],
  ],
] as const)('known-answer vector of Random123 (kat_vectors, threefry2x32 20): key %j', (key, counter, expected) => {
  expect(encrypt(key, counter)).toEqual(expected);
  expect(paper(key, counter)).toEqual(expected);
});

test('agrees with the round-by-round definition, whatever the sign of the words', () => {
  let [a, b] = [1, 2];
  for (let i = 0; i < 2000; i++) {
    // Any numbers will do; these are of both signs and all sizes.
    a = Math.imul(a, 1664525) + 1013904223;
    b = Math.imul(b ^ a, 22695477) | 0;
    const key = [a | 0, b >>> 0] as const;
    const counter = [i % 3 === 0 ? i : b, i % 2 === 0 ? 0 : a >>> 0] as const;
    expect(encrypt(key, counter)).toEqual(paper(key, counter));
  }
});

test('writes two words at the place asked for, and nowhere else', () => {
  const out = new Uint32Array(5).fill(7);
  threefry2x32(0, 0, 0, 0, out, 2);
  expect([...out]).toEqual([7, 7, 0x6b200159, 0x99ba4efe, 7]);
});
