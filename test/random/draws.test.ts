/** Statistical tests have fixed seeds: they pass always or never. Confidence is that of a right generator passing. */
import {
  bits,
  fillNormals,
  floatBelow,
  foldIn,
  integers,
  normals,
  permutation,
  scaleWord,
  threefry2x32,
  uniforms,
  type Key,
} from '../../src/random';

const KEY: Key = [2024, 7];
const N = 1 << 18;

/**
 * Standard score of χ² with k degrees of freedom, by the cube root of Wilson and Hilferty (1931): within ±4 at
 * confidence 1 − 6e-5. Too even counts fail too.
 */
function chiSquareScore(counts: ArrayLike<number>, expected: number): number {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) sum += (counts[i] - expected) ** 2 / expected;
  const k = counts.length - 1;
  return (Math.cbrt(sum / k) - (1 - 2 / (9 * k))) / Math.sqrt(2 / (9 * k));
}

/** √n times the largest distance of the empirical distribution from `cdf` (Kolmogorov and Smirnov). */
function ksStatistic(values: ArrayLike<number>, cdf: (x: number) => number): number {
  const sorted = Float64Array.from(values).sort();
  let worst = 0;
  for (let i = 0; i < sorted.length; i++) {
    const p = cdf(sorted[i]);
    worst = Math.max(worst, (i + 1) / sorted.length - p, p - i / sorted.length);
  }
  return worst * Math.sqrt(sorted.length);
}
/** P(√n·D > 2.23) = 2·exp(−2·2.23²) = 1e-4. */
const KS_LIMIT = 2.23;

/** Φ by the error function's approximation 7.1.26 of Abramowitz and Stegun, absolute error below 1.5e-7. */
function normalCdf(x: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2);
  const poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = (poly * Math.exp((-x * x) / 2)) / 2;
  return x > 0 ? 1 - tail : tail;
}

describe('bits', () => {
  test('block b gives elements 2b and 2b + 1; a longer draw only continues a shorter one', () => {
    const words = bits(KEY, 7);
    const block = new Uint32Array(2);
    for (let b = 0; b < 3; b++) {
      threefry2x32(KEY[0], KEY[1], b, 0, block, 0);
      expect([...words.subarray(2 * b, 2 * b + 2)]).toEqual([...block]);
    }
    expect(words.length).toBe(7);
    expect([...bits(KEY, 100).subarray(0, 7)]).toEqual([...words]);
    expect(bits(KEY, 0).length).toBe(0);
  });

  test('each bit is one half of the time', () => {
    const words = bits(KEY, N);
    for (let bit = 0; bit < 32; bit++) {
      let ones = 0;
      for (let i = 0; i < N; i++) ones += (words[i] >>> bit) & 1;
      // Binomial, standard deviation √N/2; 32 bits at 4.5 of them: 1 − 2.2e-4.
      expect(Math.abs(ones - N / 2) / (Math.sqrt(N) / 2)).toBeLessThan(4.5);
    }
  });
});

describe('uniforms', () => {
  const values = uniforms(KEY, N);

  test('are the upper 24 bits of the words, exactly', () => {
    const words = bits(KEY, 1000);
    words.forEach((word, i) => expect(BigInt(values[i] * 2 ** 24)).toBe(BigInt(word) >> 8n));
    expect(Math.min(...values.subarray(0, 65536))).toBeGreaterThanOrEqual(0);
    expect(Math.max(...values.subarray(0, 65536))).toBeLessThan(1);
  });

  test('fill 256 bins evenly (χ²) and follow x (Kolmogorov and Smirnov)', () => {
    const counts = new Float64Array(256);
    for (let i = 0; i < N; i++) counts[Math.floor(values[i] * 256)]++;
    expect(Math.abs(chiSquareScore(counts, N / 256))).toBeLessThan(4);
    expect(ksStatistic(values, (x) => x)).toBeLessThan(KS_LIMIT);
  });

  test('neighbours are independent: pairs fill 32 × 32 squares evenly', () => {
    const counts = new Float64Array(1024);
    for (let i = 0; i < N; i += 2) counts[Math.floor(values[i] * 32) * 32 + Math.floor(values[i + 1] * 32)]++;
    expect(Math.abs(chiSquareScore(counts, N / 2 / 1024))).toBeLessThan(4);
  });
});

test('floatBelow is the next float32', () => {
  expect(floatBelow(2)).toBe(2 - 2 ** -23);
  expect(floatBelow(1)).toBe(1 - 2 ** -24);
  expect(floatBelow(-2)).toBe(-2 - 2 ** -22);
  expect(floatBelow(0)).toBe(-(2 ** -149));
  expect(floatBelow(0.1)).toBe(Math.fround(0.1) - 2 ** -27);
});

describe('normals', () => {
  const values = normals(KEY, N);

  test('are Box and Muller’s of the words, in float64', () => {
    const out = new Float64Array(9);
    fillNormals(KEY, out);
    const words = bits(KEY, 10);
    for (let i = 0; i < 9; i++) {
      const b = i - (i % 2);
      const u = Number((BigInt(words[b]) >> 8n) + 1n) / 2 ** 24;
      // The angle in parts of a turn, reduced by hand to the first octant's neighbourhood: another road to cos and sin.
      const turn = Number(BigInt(words[b + 1]) >> 8n) / 2 ** 24 - (i % 2 === 0 ? 0 : 0.25);
      const near = turn - Math.round(turn);
      const half = Math.sin(Math.PI * near);
      const expected = Math.sqrt(2 * Math.log(1 / u)) * (1 - 2 * half * half);
      // Angles up to 2π in float64 are known to 4·2⁻⁵³; radius below 5.77.
      expect(Math.abs(out[i] - expected)).toBeLessThan(1e-14);
    }
    expect([...normals(KEY, 9)]).toEqual([...out].map(Math.fround));
  });

  test('the extreme words give finite numbers within 5.77', () => {
    // The least u is 2⁻²⁴, at most reached by a word below 256; none is beyond √(48 ln 2).
    const bound = Math.sqrt(48 * Math.LN2);
    expect(bound).toBeLessThan(5.77);
    let worst = 0;
    for (let i = 0; i < N; i++) worst = Math.max(worst, Math.abs(values[i]));
    expect(worst).toBeLessThanOrEqual(bound);
    // The largest of N normals is above 4.2 with probability 1 − (1 − 2.7e-5)^N = 1 − 9e-4.
    expect(worst).toBeGreaterThan(4.2);
  });

  test('follow Φ (Kolmogorov and Smirnov)', () => {
    expect(ksStatistic(values, normalCdf)).toBeLessThan(KS_LIMIT);
  });

  test('have the moments 0, 1, 0, 3 and uncorrelated partners', () => {
    const powers = [0, 0, 0, 0];
    let partners = 0;
    for (let i = 0; i < N; i++) {
      for (let p = 0, power = 1; p < 4; p++) powers[p] += power *= values[i];
      if (i % 2 === 1) partners += values[i] * values[i - 1];
    }
    // Variances of z, z², z³, z⁴ are 1, 2, 15, 96; each within 4 standard errors: 1 − 3.2e-4 for all five.
    expect(Math.abs(powers[0] / N)).toBeLessThan(4 / Math.sqrt(N));
    expect(Math.abs(powers[1] / N - 1)).toBeLessThan(4 * Math.sqrt(2 / N));
    expect(Math.abs(powers[2] / N)).toBeLessThan(4 * Math.sqrt(15 / N));
    expect(Math.abs(powers[3] / N - 3)).toBeLessThan(4 * Math.sqrt(96 / N));
    expect(Math.abs(partners / (N / 2))).toBeLessThan(4 / Math.sqrt(N / 2));
  });
});

describe('integers', () => {
  test.each([1, 2, 3, 7, 100, 65535, 65536, 65537, 1000003, 2 ** 31 - 1])('⌊word·%i/2³²⌋ is exact', (range) => {
    const edges = [0, 1, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
    // Words around the boundaries of several cells, where a rounding would show.
    for (const cell of [1, 2, Math.floor(range / 3), range - 1]) {
      const boundary = Math.ceil((cell * 2 ** 32) / range);
      edges.push(...[boundary - 1, boundary, boundary + 1].filter((word) => word >= 0 && word < 2 ** 32));
    }
    for (const word of [...edges, ...bits(KEY, 2000)]) {
      expect(BigInt(scaleWord(word, range))).toBe((BigInt(word) * BigInt(range)) >> 32n);
    }
  });

  test.each([
    [0, 10],
    [-3, 4],
    [5, 1005],
  ])('on [%i, %i) every value is equally frequent (χ²)', (low, high) => {
    const counts = new Float64Array(high - low);
    for (const value of integers(KEY, N, low, high)) {
      if (value < low || value >= high) throw new Error(`${value} is outside`);
      counts[value - low]++;
    }
    expect(Math.abs(chiSquareScore(counts, N / (high - low)))).toBeLessThan(4);
  });

  test('wide and negative ranges stay inside', () => {
    for (const [low, high] of [
      [-(2 ** 31), -1],
      [0, 2 ** 31 - 1],
      [7, 8],
    ]) {
      for (const value of integers(KEY, 1000, low, high)) {
        expect(value).toBeGreaterThanOrEqual(low);
        expect(value).toBeLessThan(high);
      }
    }
  });
});

describe('permutation', () => {
  test('holds every number once', () => {
    for (const count of [0, 1, 2, 5, 1000]) {
      expect([...permutation(KEY, count)].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    }
    expect([...permutation(KEY, 1000)]).not.toEqual(Array.from({ length: 1000 }, (_, i) => i));
  });

  test('all 24 orders of four are equally frequent over keys (χ²)', () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 24000; i++) {
      const order = permutation(foldIn(KEY, i), 4).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    expect(Math.abs(chiSquareScore([...counts.values()], 1000))).toBeLessThan(4);
  });
});
