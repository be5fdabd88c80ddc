/**
 * The C of the transcendental functions against JavaScript's in float64 (and the interpreter's erf and sigmoid), over a
 * stride through all bit patterns and the places where something changes. The bound everywhere is 2 ulp, of the subnormal
 * spacing 2⁻¹⁴⁹ for subnormal results; that is what docs/native-math.md promises, float64 truth is 2⁻²⁹ of it.
 */
import { erf, sigmoid } from '../../src/graph/interpreter/scalar';
import { MATH } from '../../src/engines/native/render/math';
import { PRELUDE } from '../../src/engines/native/render/prelude';
import { CPrograms, floatsOf, runC, spacings, type CTarget } from '../support/c-program';

// Globals are slow to reach from within jest.
const { abs, sqrt } = Math;
const { is: same } = Object;
const INFINITE = Infinity;

const BOUND = 2;
const UNARY: Readonly<Record<string, (x: number) => number>> = {
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  rsqrt: (x) => 1 / sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  atan: Math.atan,
  tanh: Math.tanh,
  sigmoid,
  erf,
};
const BINARY: Readonly<Record<string, (x: number, y: number) => number>> = { pow: Math.pow, atan2: Math.atan2 };

/** Reads pairs (x, y), writes f(x) or f(x, y): `f name`, or by the scalar form with `f1`; `flush` sets FTZ and DAZ. */
const SOURCE = `${PRELUDE}${MATH}
#include <stdio.h>
#include <stdlib.h>
#define UNARY(name) \\
  if (!strcmp(argv[1], #name)) { \\
    if (argv[2][0] == '1') for (size_t i = 0; i < n; i++) out[i] = ol_##name##1(x[i]); \\
    else for (size_t i = 0; i < n; i += OL_LANES) ol_store_f(out + i, ol_##name(ol_load_f(x + i))); \\
  }
#define BINARY(name) \\
  if (!strcmp(argv[1], #name)) { \\
    if (argv[2][0] == '1') for (size_t i = 0; i < n; i++) out[i] = ol_##name##1(x[i], y[i]); \\
    else for (size_t i = 0; i < n; i += OL_LANES) ol_store_f(out + i, ol_##name(ol_load_f(x + i), ol_load_f(y + i))); \\
  }
int main(int argc, char **argv) {
  size_t most = 1 << 21;
  float *x = calloc(most + 16, 4), *y = calloc(most + 16, 4), *out = calloc(most + 16, 4);
  size_t n = fread(x, 4, most, stdin);
  if (argv[2][1] == '2') { n /= 2; memcpy(y, x + n, 4 * n); }
#if defined(__SSE2__)
  if (argc > 3) _mm_setcsr(_mm_getcsr() | 0x8040);
#else
  (void)argc;
#endif
  ${Object.keys(UNARY)
    .map((name) => `UNARY(${name})`)
    .join(' ')}
  ${Object.keys(BINARY)
    .map((name) => `BINARY(${name})`)
    .join(' ')}
  fwrite(out, 4, n, stdout);
  return 0;
}
`;

const programs = new CPrograms();
afterAll(() => programs.dispose());

/** `value` and its float32 neighbours, with both signs. */
function around(value: number): number[] {
  const float = new Float32Array([value]);
  const word = new Int32Array(float.buffer);
  const all: number[] = [];
  const middle = word[0];
  for (let k = -3; k <= 3; k++) {
    word[0] = middle + k;
    all.push(float[0], -float[0]);
  }
  return all;
}

const SPECIAL = [
  0,
  -0,
  NaN,
  Infinity,
  -Infinity,
  2 ** -149,
  -(2 ** -149),
  3.4028234663852886e38,
  -3.4028234663852886e38,
];
/** Where the text changes its ways, results leave the range, and sines are small. */
const EDGES = [
  ...[
    2 ** -126,
    2 ** -25,
    2 ** -24,
    2 ** -12,
    0.25,
    1 / 3,
    0.5,
    0.625,
    Math.SQRT1_2,
    0.75,
    1,
    Math.SQRT2,
    1.5,
    2,
    4,
    10,
    40,
  ],
  ...[
    17.33,
    18,
    87.336544,
    88.376,
    88.722839,
    89,
    102.98,
    103.97208,
    104,
    105,
    98304,
    2 ** 16,
    2 ** 22,
    2 ** 23,
    2 ** 24,
  ],
  ...Array.from({ length: 60 }, (_, k) => ((k + 1) * Math.PI) / 4),
  ...Array.from({ length: 120 }, (_, k) => Math.round(1.5 ** k) * Math.PI),
  ...Array.from({ length: 60 }, (_, k) => (k + 0.5) * Math.LN2),
];

function unaryArguments(): Float32Array {
  const stride = 8209;
  const words = Uint32Array.from({ length: Math.floor(2 ** 32 / stride) }, (_, i) => i * stride);
  const extra = Float32Array.from([...SPECIAL, ...EDGES.flatMap(around)]);
  const all = new Float32Array(words.length + extra.length);
  all.set(new Float32Array(words.buffer));
  all.set(extra, words.length);
  return all;
}

/** The worst error in units of the spacing; `wrong` are those beyond BOUND or of the wrong kind or sign. */
function worst(
  got: Float32Array,
  exact: Float64Array,
  name: (i: number) => string,
): { readonly ulp: number; readonly wrong: readonly string[] } {
  const unit = spacings(exact);
  let ulp = 0;
  const wrong: string[] = [];
  for (let i = 0; i < got.length && wrong.length < 5; i++) {
    const want = exact[i];
    const it = got[i];
    const far = abs(it - want) / unit[i];
    const sameSign = it === 0 ? same(it, want < 0 ? -0 : 0) : it > 0 === want > 0;
    // Exact zeros, poles and NaN are that; a result at the end of the range may round either way.
    const special = want === 0 || abs(want) === INFINITE || want !== want;
    const end = abs(want) > 3.40282e38 && abs(it) > 3.40282e38;
    if (special ? !same(it, want) : !sameSign || !(far <= BOUND || end)) wrong.push(`${name(i)}: ${it} for ${want}`);
    else if (!special && !end && far > ulp) ulp = far;
  }
  return { ulp, wrong };
}

/** Pairs: specials with specials; powers with results all over the range; integer powers; angles all round. */
function pairs(): { x: Float32Array; y: Float32Array } {
  const whole = [
    1,
    2,
    3,
    0.5,
    1.5,
    1e10,
    1e-10,
    0.1,
    16777215,
    16777216,
    16777218,
    8388607.5,
    1 - 2 ** -24,
    1 + 2 ** -23,
  ];
  const special = [...SPECIAL, ...whole, ...whole.map((v) => -v)];
  const x: number[] = special.flatMap((a) => special.map(() => a));
  const y: number[] = special.flatMap(() => special);
  for (let i = 0; i < 120_000; i++) {
    // Weyl sequences: equidistributed, and the same every time.
    const u = (i * 0.6180339887498949) % 1;
    const v = (i * 0.7548776662466927) % 1;
    const w = (i * 0.5698402909980532) % 1;
    const base = i % 3 === 0 ? 2 ** (252 * u - 126) : i % 3 === 1 ? 1 + (u - 0.5) / 32 : 0.5 + 3 * u;
    x.push(i % 7 === 0 ? -base : base);
    const exponent = (300 * v - 150) / Math.log2(Math.fround(base));
    y.push(i % 7 === 0 || i % 5 === 0 ? Math.round(exponent) : i % 2 === 0 ? exponent : (w - 0.5) * base * 8);
  }
  return { x: Float32Array.from(x), y: Float32Array.from(y) };
}

/** Places where two lists of bit patterns are not the same; NaN is NaN. */
function differences(a: Uint32Array, b: Uint32Array): number {
  const isNaN32 = (word: number): boolean => (word & 0x7fffffff) > 0x7f800000;
  return a.reduce((n, word, i) => n + (word === b[i] || (isNaN32(word) && isNaN32(b[i])) ? 0 : 1), 0);
}
const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);
const joined = (a: Float32Array, b: Float32Array): Float32Array => {
  const all = new Float32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
};

const unary = unaryArguments();
const binary = pairs();
const exactUnary = new Map<string, Float64Array>();
function exactOf(name: string): Float64Array {
  let values = exactUnary.get(name);
  if (values === undefined) {
    const f = UNARY[name];
    values = new Float64Array(unary.length);
    for (let i = 0; i < values.length; i++) values[i] = f(unary[i]);
    exactUnary.set(name, values);
  }
  return values;
}

describe.each(programs.targets.map((target): [string, CTarget] => [target.name, target]))('%s', (_, target) => {
  const compiles = target.compiles ? it : it.skip;
  const runs = target.runs ? it : it.skip;
  let program = '';
  beforeAll(() => {
    if (target.runs) program = programs.compile(SOURCE, target);
  });

  compiles('compiles without a warning', () => {
    programs.compile(SOURCE, target, true);
  });

  runs.each(Object.keys(UNARY))('%s is right to 2 ulp', (name) => {
    const exact = exactOf(name);
    const got = floatsOf(runC(program, [name, 'v1'], unary));
    expect(got.length).toBe(unary.length);
    const result = worst(got, exact, (i) => `${name}(${unary[i]})`);
    expect(result.wrong).toEqual([]);
    // Not a comparison with itself: float32 cannot be exact on a million numbers.
    expect(result.ulp).toBeGreaterThan(0.5);
    expect(result.ulp).toBeLessThanOrEqual(BOUND);
  });

  runs.each(Object.keys(BINARY))('%s is right to 2 ulp', (name) => {
    const { x, y } = binary;
    const f = BINARY[name];
    const got = floatsOf(runC(program, [name, 'v2'], joined(x, y)));
    // Of 1^NaN and (±1)^±∞ both NaN and 1 are right (JavaScript says NaN).
    const free = (i: number): boolean =>
      name === 'pow' && got[i] === 1 && Math.abs(x[i]) === 1 && !Number.isFinite(y[i]);
    const result = worst(
      got,
      Float64Array.from(x, (v, i) => (free(i) ? 1 : f(v, y[i]))),
      (i) => `${name}(${x[i]}, ${y[i]})`,
    );
    expect(result.wrong).toEqual([]);
    expect(result.ulp).toBeGreaterThan(0.5);
    expect(result.ulp).toBeLessThanOrEqual(BOUND);
  });

  runs('one number gives the bits of any lane', () => {
    const some = 4099;
    for (const name of [...Object.keys(UNARY), ...Object.keys(BINARY)]) {
      const two = name in BINARY;
      const from = two ? binary.x : unary;
      const place = (i: number): number => (i * 257) % binary.x.length;
      const x = Float32Array.from({ length: some }, (_, i) => from[place(i)]);
      const y = Float32Array.from({ length: some }, (_, i) => binary.y[place(i)]);
      const run = (form: 'v' | '1', first: number): Uint32Array =>
        two
          ? bits(floatsOf(runC(program, [name, `${form}2`], joined(x.subarray(first), y.subarray(first)))))
          : bits(floatsOf(runC(program, [name, `${form}1`], x.subarray(first))));
      const vector = run('v', 0);
      expect([name, vector.length]).toEqual([name, some]);
      expect([name, differences(run('1', 0), vector)]).toEqual([name, 0]);
      // Neighbours do not matter: one lane further on.
      expect([name, differences(run('v', 1), vector.subarray(1))]).toEqual([name, 0]);
    }
  });

  const flushes = target.runs && process.arch === 'x64' ? it : it.skip;
  flushes('a subnormal argument is taken for a zero where those are flushed', () => {
    const tiny = [2 ** -149, 2 ** -140, 2 ** -127, 2 ** -126 - 2 ** -149];
    const x = Float32Array.from([...tiny, ...tiny.map((v) => -v)]);
    for (const [name, f] of Object.entries(UNARY)) {
      const got = floatsOf(runC(program, [name, 'v1', 'flush'], x));
      for (let i = 0; i < x.length; i++) {
        const zero = f(x[i] < 0 ? -0 : 0);
        // Where f is the identity near 0 the argument may pass.
        if (Number.isFinite(zero)) expect([name, Math.abs(got[i] - zero) < 2 ** -125]).toEqual([name, true]);
        else expect([name, got[i]]).toEqual([name, zero]);
      }
    }
  });
});
