/**
 * What kernels call, in C11 with nothing but its mathematical library: the names of `PRELUDE` and `MATH` in the form that any
 * compiler takes. Vectors are those of GCC and Clang where one of them compiles, else structures of OL_LANES numbers that are
 * gone through one by one. A text has the functions that it needs and no others.
 */
import type { Target } from '../nest/ir';
import type { Dialect } from './c';

/** Four lanes are what SSE and NEON have, without flags and without a word about ABIs. */
export const PORTABLE_TARGET: Target = { lanes: 4, registers: 16 };

export const PORTABLE: Dialect = {
  function: 'static',
  inline: 'OL_FN',
  aligned: ['_Alignas(16) ', ''],
  extensions: false,
  nan: 'NAN',
  infinity: 'INFINITY',
};

const TYPES = String.raw`
#include <math.h>
#include <stddef.h>
#include <string.h>

enum { OL_LANES = ${String(PORTABLE_TARGET.lanes)} };
typedef ptrdiff_t ol_int;
typedef uint8_t ol_u8;
#if defined(__GNUC__)
typedef float ol_f32 __attribute__((may_alias));
typedef int32_t ol_i32 __attribute__((may_alias));
#define OL_FN static inline __attribute__((unused))
#else
typedef float ol_f32;
typedef int32_t ol_i32;
#define OL_FN static inline
#endif

/* A vector is OL_LANES numbers; lanes of a truth value are 0 or -1. Define OL_PLAIN for C11 and nothing else. */
#if defined(__GNUC__) && !defined(OL_PLAIN)
#define OL_VECTORS 1
typedef float olv __attribute__((vector_size(4 * OL_LANES)));
typedef int32_t oli __attribute__((vector_size(4 * OL_LANES)));
typedef uint32_t olu __attribute__((vector_size(4 * OL_LANES)));
#define OL_LANE(a, l) ((a)[l])
#define OL_ALL(x) {x, x, x, x}
#else
#define OL_VECTORS 0
typedef struct { float lane[OL_LANES]; } olv;
typedef struct { int32_t lane[OL_LANES]; } oli;
typedef struct { uint32_t lane[OL_LANES]; } olu;
#define OL_LANE(a, l) ((a).lane[l])
#define OL_ALL(x) {{x, x, x, x}}
#endif
typedef oli olm;
#define OL_EACH(type, x) \
  type r = OL_ALL(0); \
  for (int l = 0; l < OL_LANES; l++) OL_LANE(r, l) = (x); \
  return r;
`;

type Letter = 'f' | 'i' | 'u' | 'm';
const SCALARS: Record<Letter, string> = { f: 'float', i: 'int32_t', u: 'uint32_t', m: 'int' };
const VECTORS: Record<Letter, string> = { f: 'olv', i: 'oli', u: 'olu', m: 'olm' };

/** What is done to one number: name, result, operands, and the result of a, b and c in C. */
type Operation = readonly [name: string, result: Letter, operands: string, scalar: string, vectors?: string];

const COMPARISONS = Object.entries({ eq: '==', ne: '!=', lt: '<', le: '<=', gt: '>', ge: '>=' }).flatMap(
  ([name, operator]) =>
    (['f', 'i', 'u'] as const).map((t): Operation => [
      `${name}_${t}`,
      'm',
      `${t}${t}`,
      `a ${operator} b`,
      `(olm)(a ${operator} b)`,
    ]),
);
const MASKS = Object.entries({ and: '&', or: '|', xor: '^' }).map(([name, operator]): Operation => [
  `${name}_m`,
  'm',
  'mm',
  `a ${operator} b`,
  `a ${operator} b`,
]);
const ARITHMETIC = Object.entries({ add: '+', sub: '-', mul: '*' }).flatMap(([name, operator]): Operation[] => [
  [`${name}_f`, 'f', 'ff', `a ${operator} b`, `a ${operator} b`],
  [`${name}_u`, 'u', 'uu', `a ${operator} b`, `a ${operator} b`],
  [`${name}_i`, 'i', 'ii', `(int32_t)((uint32_t)a ${operator} (uint32_t)b)`, `(oli)((olu)a ${operator} (olu)b)`],
]);
const BITS = Object.entries({ and: '&', or: '|', xor: '^' }).flatMap(([name, operator]) =>
  (['i', 'u'] as const).map((t): Operation => [`${name}_${t}`, t, `${t}${t}`, `a ${operator} b`, `a ${operator} b`]),
);
/** Of the library, with an f behind. */
const LIBRARY = ['exp', 'expm1', 'log', 'log1p', 'sqrt', 'sin', 'cos', 'atan', 'tanh', 'erf', 'floor', 'ceil'].map(
  (name): Operation => [name, 'f', 'f', `${name}f(a)`],
);

/** docs/graph.md says what each is; below, why some are not what C's operator gives. */
const OPERATIONS: readonly Operation[] = [
  ...COMPARISONS,
  ...MASKS,
  ...ARITHMETIC,
  ...BITS,
  ...LIBRARY,
  ['div_f', 'f', 'ff', 'a / b', 'a / b'],
  ['neg_f', 'f', 'f', '-a', '-a'],
  ['neg_i', 'i', 'i', '(int32_t)-(uint32_t)a'],
  ['neg_u', 'u', 'u', '-a'],
  ['not_m', 'm', 'm', '!a', '~a'],
  // Half to even, which is the rounding mode.
  ['round', 'f', 'f', 'rintf(a)'],
  ['rsqrt', 'f', 'f', '1.0f / sqrtf(a)'],
  ['sigmoid', 'f', 'f', 'a >= 0.0f ? 1.0f / (1.0f + expf(-a)) : expf(a) / (1.0f + expf(a))'],
  ['pow', 'f', 'ff', 'powf(a, b)'],
  ['atan2', 'f', 'ff', 'atan2f(a, b)'],
  ['isNan', 'm', 'f', 'a != a', '(olm)(a != a)'],
  ['isFinite', 'm', 'f', 'fabsf(a) < INFINITY'],
  ['abs_f', 'f', 'f', 'fabsf(a)', '(olv)((oli)a & 0x7fffffff)'],
  ['abs_i', 'i', 'i', 'a < 0 ? ol_neg_i1(a) : a'],
  ['sign_f', 'f', 'f', 'a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : a'],
  ['sign_i', 'i', 'i', '(a > 0) - (a < 0)'],
  // NaN if either is.
  ['max_f', 'f', 'ff', 'a > b || a != a ? a : b', 'ol_select_f(ol_or_m((olm)(a > b), (olm)(a != a)), a, b)'],
  ['min_f', 'f', 'ff', 'a < b || a != a ? a : b', 'ol_select_f(ol_or_m((olm)(a < b), (olm)(a != a)), a, b)'],
  // b is a number: NaN in a stays.
  ['max_number', 'f', 'ff', 'b > a ? b : a', 'ol_select_f((olm)(b > a), b, a)'],
  ['min_number', 'f', 'ff', 'b < a ? b : a', 'ol_select_f((olm)(b < a), b, a)'],
  ['max_i', 'i', 'ii', 'a > b ? a : b'],
  ['min_i', 'i', 'ii', 'a < b ? a : b'],
  // Floor division; by zero 0.
  ['div_i', 'i', 'ii', 'b == 0 ? 0 : b == -1 ? ol_neg_i1(a) : a / b - (a % b != 0 && (a < 0) != (b < 0))'],
  ['mod_i', 'i', 'ii', 'b == 0 || b == -1 ? 0 : a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0)'],
  ['mod_f', 'f', 'ff', 'ol_remainder(a, b)'],
  ['mulHigh', 'u', 'uu', '(uint32_t)(((uint64_t)a * b) >> 32)'],
  // Truncates, saturates, NaN gives 0.
  ['f_to_i', 'i', 'f', 'a >= 2147483648.0f ? INT32_MAX : a < -2147483648.0f ? INT32_MIN : a != a ? 0 : (int32_t)a'],
  ['i_to_f', 'f', 'i', '(float)a'],
  ['u_to_f', 'f', 'u', '(float)a'],
  ['u_to_i', 'i', 'u', '(int32_t)a', '(oli)a'],
  ['i_to_u', 'u', 'i', '(uint32_t)a', '(olu)a'],
  ['m_to_f', 'f', 'm', '(float)a', '(olv)(a & (oli)ol_splat_f(1.0f))'],
  ['m_to_i', 'i', 'm', 'a', 'a & 1'],
  ['f_to_m', 'm', 'f', 'a != 0.0f'],
  ['i_to_m', 'm', 'i', 'a != 0'],
  // Rounded once where that is one instruction; in plain C it would take fifty.
  ['fma', 'f', 'fff', 'OL_MULTIPLY_ADD(a, b, c)'],
  ['select_f', 'f', 'mff', 'a ? b : c', '(olv)((a & (oli)b) | (~a & (oli)c))'],
  ['select_i', 'i', 'mii', 'a ? b : c', '(a & b) | (~a & c)'],
  ['select_u', 'u', 'muu', 'a ? b : c', '((olu)a & b) | (~(olu)a & c)'],
  ['select_m', 'm', 'mmm', 'a ? b : c', '(a & b) | (~a & c)'],
];

const MULTIPLY_ADD = `#if defined(FP_FAST_FMAF)
#define OL_MULTIPLY_ADD(a, b, c) fmaf(a, b, c)
#else
#define OL_MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif
`;

function operationText([name, result, operands, scalar, vectors]: Operation): [string, string][] {
  const letters = Array.from(operands) as Letter[];
  const names = ['a', 'b', 'c'];
  const heads = (types: Record<Letter, string>): string => letters.map((t, i) => `${types[t]} ${names[i]}`).join(', ');
  // A lane of a truth value is 0 or -1, a scalar one 0 or 1.
  const lanes = letters.map((t, i) => `OL_LANE(${names[i]}, l)${t === 'm' ? ' != 0' : ''}`).join(', ');
  const one = `OL_FN ${SCALARS[result]} ol_${name}1(${heads(SCALARS)}) { return ${scalar}; }\n`;
  const each = `OL_EACH(${VECTORS[result]}, ${result === 'm' ? '-' : ''}ol_${name}1(${lanes}))`;
  const body = vectors === undefined ? `  ${each}` : `#if OL_VECTORS\n  return ${vectors};\n#else\n  ${each}\n#endif`;
  const all = `OL_FN ${VECTORS[result]} ol_${name}(${heads(VECTORS)}) {\n${body}\n}\n`;
  return [
    [`ol_${name}1`, name === 'fma' ? `${MULTIPLY_ADD}${one}` : one],
    [`ol_${name}`, all],
  ];
}

/** Lanes of memory: side by side, `_n` the first n of them, `_s` with a stride; and at offsets. */
function memoryText(t: 'f' | 'i' | 'b'): [string, string][] {
  const vector = t === 'f' ? 'olv' : 'oli';
  const cell = { f: 'ol_f32', i: 'ol_i32', b: 'ol_u8' }[t];
  const cast = t === 'b' ? '(ol_u8)' : '';
  const wide = t !== 'b';
  const load = (name: string, more: string, lane: string): [string, string] => [
    `ol_${name}_${t}${more === '' ? '' : `_${more}`}`,
    `OL_FN ${vector} ol_${name}_${t}${more === '' ? '' : `_${more}`}(const ${cell} *p${
      { '': '', n: ', int n', s: ', ol_int s, int n' }[more] ?? ''
    }) { OL_EACH(${vector}, ${lane}) }\n`,
  ];
  const store = (more: string, lane: string): [string, string] => [
    `ol_store_${t}${more === '' ? '' : `_${more}`}`,
    `OL_FN void ol_store_${t}${more === '' ? '' : `_${more}`}(${cell} *p, ${
      { '': '', n: '', s: 'ol_int s, ' }[more] ?? ''
    }${vector} x${more === '' ? '' : ', int n'}) {\n  for (int l = 0; l < ${more === '' ? 'OL_LANES' : 'n'}; l++) p[${lane}] = ${cast}OL_LANE(x, l);\n}\n`,
  ];
  return [
    wide
      ? [
          `ol_load_${t}`,
          `OL_FN ${vector} ol_load_${t}(const ${cell} *p) {\n  ${vector} r;\n  memcpy(&r, p, sizeof r);\n  return r;\n}\n`,
        ]
      : load('load', '', 'p[l]'),
    load('load', 'n', 'l < n ? p[l] : 0'),
    load('load', 's', 'l < n ? p[l * s] : 0'),
    wide
      ? [`ol_store_${t}`, `OL_FN void ol_store_${t}(${cell} *p, ${vector} x) { memcpy(p, &x, sizeof x); }\n`]
      : store('', 'l'),
    store('n', 'l'),
    store('s', 'l * s'),
    [
      `ol_gather_${t}`,
      `OL_FN ${vector} ol_gather_${t}(const ${cell} *p, oli o, int n) { OL_EACH(${vector}, l < n ? p[OL_LANE(o, l)] : 0) }\n`,
    ],
    [
      `ol_scatter_${t}`,
      `OL_FN void ol_scatter_${t}(${cell} *p, oli o, ${vector} x, int n) {\n  for (int l = 0; l < n; l++) p[OL_LANE(o, l)] = ${cast}OL_LANE(x, l);\n}\n`,
    ],
  ];
}

/** Over the lanes: halves are joined until one number is left, the lanes that do not count left out. */
function acrossText(name: string, t: 'f' | 'i', neutral: string, join: string): [string, string] {
  const [type, vector] = [SCALARS[t], VECTORS[t]];
  return [
    `ol_${name}_across_${t}`,
    `OL_FN ${type} ol_${name}_across_${t}(${vector} x, int n) {
  ${type} r[OL_LANES];
  for (int l = 0; l < OL_LANES; l++) r[l] = l < n ? OL_LANE(x, l) : ${neutral};
  for (int half = OL_LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) r[l] = ${join}(r[l], r[l + half]);
  return r[0];
}
`,
  ];
}

function sumsText(parts: number): [string, string] {
  const names = ['a', 'b', 'c', 'd'].slice(0, parts);
  const set = names.map((name, l) => `  OL_LANE(r, ${l}) = ol_sum_across_f(${name}, OL_LANES);\n`).join('');
  return [
    `ol_sums${parts}`,
    `OL_FN olv ol_sums${parts}(${names.map((name) => `olv ${name}`).join(', ')}) {\n  olv r = OL_ALL(0.0f);\n${set}  return r;\n}\n`,
  ];
}

const TRANSPOSE = `OL_FN void ol_transpose_n(const ol_f32 *from, ol_int fs, ol_f32 *to, ol_int ts, int rows, int columns) {
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) to[j * ts + i] = from[i * fs + j];
}
`;

/** The remainder with the sign of the divisor, also when it is zero. */
const REMAINDER = `OL_FN float ol_remainder(float x, float y) {
  float rest;
  if (y == 0.0f) return NAN;
  rest = fmodf(x, y);
  if (rest == 0.0f) return y < 0.0f ? -0.0f : 0.0f;
  return (rest < 0.0f) == (y < 0.0f) ? rest : rest + y;
}
`;

/** By name. Whatever a text calls stands before it. */
const FUNCTIONS: ReadonlyMap<string, string> = new Map<string, string>([
  ...(['f', 'i', 'u'] as const).map((t): [string, string] => [
    `ol_splat_${t}`,
    `OL_FN ${VECTORS[t]} ol_splat_${t}(${SCALARS[t]} x) { ${VECTORS[t]} r = OL_ALL(x); return r; }\n`,
  ]),
  ['ol_splat_m', 'OL_FN olm ol_splat_m(int x) { olm r = OL_ALL(-x); return r; }\n'],
  ['ol_ramp', 'OL_FN oli ol_ramp(void) { OL_EACH(oli, l) }\n'],
  ['ol_remainder', REMAINDER],
  ...OPERATIONS.flatMap(operationText),
  ['ol_shift_left_u', 'OL_FN olu ol_shift_left_u(olu a, int by) { OL_EACH(olu, OL_LANE(a, l) << by) }\n'],
  ['ol_shift_right_u', 'OL_FN olu ol_shift_right_u(olu a, int by) { OL_EACH(olu, OL_LANE(a, l) >> by) }\n'],
  ...(['f', 'i', 'b'] as const).flatMap(memoryText),
  acrossText('sum', 'f', '-0.0f', 'ol_add_f1'),
  acrossText('max', 'f', '-INFINITY', 'ol_max_f1'),
  acrossText('min', 'f', 'INFINITY', 'ol_min_f1'),
  acrossText('sum', 'i', '0', 'ol_add_i1'),
  acrossText('max', 'i', 'INT32_MIN', 'ol_max_i1'),
  acrossText('min', 'i', 'INT32_MAX', 'ol_min_i1'),
  ...[1, 2, 3, 4].map(sumsText),
  ['ol_transpose_n', TRANSPOSE],
  [
    'ol_transpose',
    'OL_FN void ol_transpose(const ol_f32 *from, ol_int fs, ol_f32 *to, ol_int ts) {\n  ol_transpose_n(from, fs, to, ts, OL_LANES, OL_LANES);\n}\n',
  ],
]);

/** What stands before kernels of that text: types, and every function that it calls, once, callees first. */
export function portableHead(kernels: string): string {
  const taken = new Set<string>();
  const parts: string[] = [];
  const take = (text: string): void => {
    for (const [name] of text.matchAll(/\bol_\w+/g)) {
      const found = FUNCTIONS.get(name);
      if (found === undefined || taken.has(name)) continue;
      taken.add(name);
      take(found);
      parts.push(found);
    }
  };
  take(kernels);
  return `${TYPES}\n${parts.join('')}`;
}
