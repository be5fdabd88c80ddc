/** The C of keyed random numbers against src/random: integers bit for bit, normals in float64 within ABSOLUTE. */
import { MATH } from '../../src/engines/native/render/math';
import { PRELUDE } from '../../src/engines/native/render/prelude';
import { RANDOM } from '../../src/engines/native/render/random';
import { bits, episodeKey, fillNormals, foldIn, STREAMS, type Key, type Stream } from '../../src/random';
import { threefry2x32 } from '../../src/random/threefry';
import { CPrograms, floatsOf, runC, type CTarget } from '../support/c-program';

/**
 * |z| ≤ 5.77: half a spacing of the result is 2.4e−7; sine, cosine and radius add less than 0.75·2⁻²⁴ of it, 2.6e−7.
 */
const ABSOLUTE = 5e-7;

/** `words` reads (k0, k1, c0, c1)s, `normals` (w0, w1)s; the others take numbers as arguments. */
const SOURCE = `${PRELUDE}${MATH}${RANDOM}
#include <stdio.h>
#include <stdlib.h>
static uint32_t word(const char *text) { return (uint32_t)strtoul(text, 0, 10); }
int main(int argc, char **argv) {
  (void)argc;
  size_t most = 1 << 20;
  uint32_t *in = calloc(most + 64, 4), *out = calloc(most + 64, 4);
  const char *what = argv[1];
  size_t n = fread(in, 4, most, stdin);
  if (!strcmp(what, "words") || !strcmp(what, "normals")) {
    size_t arity = what[0] == 'w' ? 4 : 2;
    for (size_t i = 0; i < n / arity; i += OL_LANES) {
      uint32_t column[4][OL_LANES];
      for (size_t l = 0; l < OL_LANES; l++)
        for (size_t k = 0; k < arity; k++) column[k][l] = in[(i + l) * arity + k];
      olu c[4], a, b;
      memcpy(c, column, sizeof c);
      uint32_t first[OL_LANES], second[OL_LANES];
      if (what[0] == 'w') {
        ol_threefry(c[0], c[1], c[2], c[3], &a, &b);
        memcpy(first, &a, sizeof a);
        memcpy(second, &b, sizeof b);
      } else {
        olv x, y;
        ol_normals(c[0], c[1], &x, &y);
        memcpy(first, &x, sizeof x);
        memcpy(second, &y, sizeof y);
      }
      for (size_t l = 0; l < OL_LANES; l++) {
        uint32_t one, two;
        if (what[0] == 'w') {
          ol_threefry1(column[0][l], column[1][l], column[2][l], column[3][l], &one, &two);
        } else {
          float x, y;
          ol_normals1(column[0][l], column[1][l], &x, &y);
          one = ol_bits1(x);
          two = ol_bits1(y);
        }
        // The scalar form has the bits of the lane.
        if (one != first[l] || two != second[l]) return 3;
        out[2 * (i + l)] = one;
        out[2 * (i + l) + 1] = two;
      }
    }
    fwrite(out, 8, n / arity, stdout);
    return 0;
  }
  uint32_t key[2] = {word(argv[2]), word(argv[3])};
  if (!strcmp(what, "fold")) {
    ol_fold(key, word(argv[4]));
    fwrite(key, 4, 2, stdout);
    return 0;
  }
  if (!strcmp(what, "episode")) {
    ol_episode_key(word(argv[2]), word(argv[3]), word(argv[4]), word(argv[5]), word(argv[6]), out);
    fwrite(out, 4, 2, stdout);
    return 0;
  }
  // Arrays: 8 elements behind the last are written out, too.
  int64_t count = (int64_t)word(argv[4]);
  double *wide = calloc((size_t)count + 8, 8);
  memcpy(wide, in, n * 4);
  float *narrow = calloc((size_t)count + 8, 4);
  for (int64_t j = 0; j < count + 8; j++) narrow[j] = 77;
  if (!strcmp(what, "fill")) ol_fill_normals(key, count, narrow);
  if (!strcmp(what, "perturb")) ol_perturb(narrow, wide, 0.1, key, count);
  if (!strcmp(what, "accumulate")) {
    ol_accumulate(wide, -0.3, key, count);
    fwrite(wide, 8, (size_t)count + 8, stdout);
  } else {
    fwrite(narrow, 4, (size_t)count + 8, stdout);
  }
  free(in);
  free(out);
  free(wide);
  free(narrow);
  return 0;
}
`;

const programs = new CPrograms();
afterAll(() => programs.dispose());

const NOTHING = new Uint8Array();
const EDGE_WORDS = [0, 1, 255, 256, 0x1fffffff, 0x20000000, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0xffffff00];
const ALL_EDGES = [...EDGE_WORDS, 0xffffffff, 0x1fffff00, 0x5fffff00, 0x60000000, 0xa0000000, 0xdfffff00, 0xe0000000];
const COUNTS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 1001];
const KEY: Key = [0x9abcdef1, 17];

/** Words of every kind: edges with edges, then pseudorandom ones. */
function words(count: number, arity: number): Uint32Array {
  const out = bits([1, 2], count * arity);
  ALL_EDGES.forEach((a, i) =>
    ALL_EDGES.forEach((b, j) => {
      const at = arity * (i * ALL_EDGES.length + j);
      for (let k = 0; k < arity; k += 2) {
        out[at + k] = a;
        out[at + k + 1] = b;
      }
    }),
  );
  return out;
}

function normals64(key: Key, count: number): Float64Array {
  const out = new Float64Array(count);
  fillNormals(key, out);
  return out;
}

describe.each(programs.targets.map((target): [string, CTarget] => [target.name, target]))('%s', (_, target) => {
  const compiles = target.compiles ? it : it.skip;
  const runs = target.runs ? it : it.skip;
  let program = '';
  beforeAll(() => {
    if (target.runs) program = programs.compile(SOURCE, target);
  });
  const keyOf = (args: readonly (string | number)[]): number[] => {
    const bytes = runC(program, args, NOTHING);
    return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
  };
  const fill = (count: number): Float32Array => floatsOf(runC(program, ['fill', ...KEY, count], NOTHING));

  compiles('compiles without a warning', () => {
    programs.compile(SOURCE, target, true);
  });

  runs('Threefry gives the known answers', () => {
    // Random123 1.14's tests/kat_vectors, threefry2x32 with 20 rounds.
    const input = [0, 0, 0, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff];
    const last = [0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3];
    const got = runC(program, ['words'], Uint32Array.from([...input, ...last]));
    const answers = ['6b200159', '99ba4efe', '1cb996fc', 'bb002be7', 'c4923a9c', '483df7a0'];
    expect(answers.map((_answer, i) => got.readUInt32LE(4 * i).toString(16))).toEqual(answers);
  });

  runs('Threefry is that of src/random in every lane', () => {
    const input = words(4096, 4);
    const got = runC(program, ['words'], input);
    const want = new Uint32Array(2 * 4096);
    for (let i = 0; i < 4096; i++) {
      threefry2x32(input[4 * i], input[4 * i + 1], input[4 * i + 2], input[4 * i + 3], want, 2 * i);
    }
    expect(new Uint32Array(Uint8Array.from(got).buffer)).toEqual(want);
  });

  runs('keys are those of src/random', () => {
    for (const data of [0, 1, 0x7fffffff, 0x80000003, 0xffffffff]) {
      expect(keyOf(['fold', ...KEY, data])).toEqual([...foldIn(KEY, data)]);
    }
    for (const [seed, stream, worker, episode] of [
      [0, 'noise', 0, 0],
      [2 ** 53 - 1, 'evaluation', 999, 123456],
      [7 + 5 * 2 ** 32, 'batch', 3, 4294967295],
    ] as const satisfies readonly (readonly [number, Stream, number, number])[]) {
      const args = [seed % 2 ** 32, Math.floor(seed / 2 ** 32), STREAMS[stream], worker, episode];
      expect(keyOf(['episode', ...args])).toEqual([...episodeKey(seed, stream, worker, episode)]);
    }
  });

  runs('normals of words are those of float64', () => {
    const count = 1 << 17;
    const input = words(count, 2);
    // Every power of two of u, and its neighbours: where the logarithm changes its ways.
    for (let k = 0; k < 24; k++) for (let d = -1; d <= 1; d++) input[2000 + 6 * k + 2 * d] = ((2 ** k + d) << 8) >>> 0;
    const got = floatsOf(runC(program, ['normals'], input));
    expect(got.length).toBe(2 * count);
    const { sqrt, log, cos, sin, abs, max, PI } = Math;
    let worst = 0;
    let nan = 0;
    for (let i = 0; i < count; i++) {
      const radius = sqrt(-2 * log(((input[2 * i] >>> 8) + 1) * 2 ** -24));
      const angle = 2 * PI * ((input[2 * i + 1] >>> 8) * 2 ** -24);
      const error = max(abs(got[2 * i] - radius * cos(angle)), abs(got[2 * i + 1] - radius * sin(angle)));
      if (!(error <= worst)) worst = error;
      if (error !== error) nan++;
    }
    expect(nan).toBe(0);
    expect(worst).toBeLessThan(ABSOLUTE);
  });

  runs('an array holds the normals of its key, and nothing is written behind it', () => {
    const truth = normals64(KEY, 1001);
    for (const count of COUNTS) {
      const got = fill(count);
      expect([...got.subarray(count)]).toEqual(new Array(8).fill(77));
      const errors = [...got.subarray(0, count)].map((z, j) => Math.abs(z - truth[j]));
      expect([count, errors.every((e) => e < ABSOLUTE)]).toEqual([count, true]);
    }
  });

  runs('a perturbed θ is θ + scale·noise in float64, rounded', () => {
    const noise = fill(1001);
    for (const count of COUNTS) {
      const theta = Float64Array.from({ length: count }, (_v, j) => Math.cos(j) * 10 ** ((j % 7) - 3));
      const got = floatsOf(runC(program, ['perturb', ...KEY, count], theta));
      const want = Float32Array.from({ length: count + 8 }, (_v, j) => (j < count ? theta[j] + 0.1 * noise[j] : 77));
      expect(got).toEqual(want);
    }
  });

  runs('a sum gains weight·noise in float64', () => {
    const noise = fill(1001);
    for (const count of COUNTS) {
      const sum = Float64Array.from({ length: count }, (_v, j) => Math.sin(j) * 10 ** ((j % 5) - 2));
      const got = runC(program, ['accumulate', ...KEY, count], sum);
      const want = Float64Array.from({ length: count + 8 }, (_v, j) => (j < count ? sum[j] + -0.3 * noise[j] : 0));
      expect(new Float64Array(Uint8Array.from(got).buffer)).toEqual(want);
    }
  });
});
