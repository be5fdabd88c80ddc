/**
 * C that all generated code starts with: vectors of OL_LANES numbers and every operation that is no transcendental.
 *
 * GCC and Clang's vector extensions carry everything; where an instruction set has what they lack, intrinsics are used
 * (AVX-512 for 16 lanes, AVX2 with FMA for 8). Whatever the form, a lane of a vector and the scalar function of that name
 * give the same bits. Memory is touched only where a lane that counts lies.
 *
 * Names: suffix f, i, u, m for float32, int32, uint32 and masks, and 1 for the scalar form.
 *   ol_f32, ol_i32, ol_u8           elements in memory (may alias each other)
 *   olv, oli, olu, olm              OL_LANES floats, int32, uint32, truth values
 *   float, int32_t, uint32_t, int   scalars; a scalar truth value is 0 or 1
 * A mask `olm` is opaque: bits on AVX-512, 0 and −1 in an int32 vector elsewhere. It is made by ol_lt_f(x, y) and its
 * like, joined by ol_and_m, ol_or_m, ol_xor_m and ol_not_m, and used by ol_select_f(m, whereTrue, whereFalse).
 * On olv, + − × ÷ and unary − are C's operators; on olu all of C's operators wrap; oli overflow is undefined, so that
 * int32 arithmetic goes through olu.
 */

import { MEMORY } from './memory';

/** Types, splats and lists over the lanes. The text before it defines OL_LANES as 16, 8 or 4. */
const TYPES = String.raw`
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(OL_FEW_HEADERS) && defined(__AVX2__) && !defined(__clang__)
// What is used of immintrin.h: GCC takes four tenths of a second to read all of it.
#define _IMMINTRIN_H_INCLUDED
#include <smmintrin.h>
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#if defined(__AVX512BW__)
#include <avx512fintrin.h>
#include <avx512vlintrin.h>
#include <avx512bwintrin.h>
#include <avx512dqintrin.h>
#include <avx512vlbwintrin.h>
#endif
#elif defined(__SSE2__)
#include <immintrin.h>
#endif
#if OL_LANES == 16 && defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define OL_AVX512 1
#elif OL_LANES == 8 && defined(__AVX2__) && defined(__FMA__)
#define OL_AVX2 1
#elif OL_LANES == 4 && defined(__SSE2__)
#define OL_SSE 1
#elif OL_LANES == 4 && defined(__aarch64__)
#include <arm_neon.h>
#define OL_NEON 1
#endif
// Vectors are passed only to functions that are inlined or of this file.
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wunused-function"
#define OL_FN static inline __attribute__((always_inline))

typedef float ol_f32 __attribute__((may_alias));
typedef int32_t ol_i32 __attribute__((may_alias));
typedef uint8_t ol_u8;
typedef ptrdiff_t ol_int;

typedef float olv __attribute__((vector_size(4 * OL_LANES)));
typedef int32_t oli __attribute__((vector_size(4 * OL_LANES)));
typedef uint32_t olu __attribute__((vector_size(4 * OL_LANES)));
typedef uint8_t ol_bytes __attribute__((vector_size(OL_LANES)));
// In a register from here on: GCC otherwise makes a load that few operations use a part of each of them.
#if defined(OL_AVX512)
#define OL_HOLD(x) __asm__("" : "+v"(x))
#elif defined(OL_AVX2) || defined(OL_SSE)
#define OL_HOLD(x) __asm__("" : "+x"(x))
#elif defined(OL_NEON)
#define OL_HOLD(x) __asm__("" : "+w"(x))
#else
#define OL_HOLD(x) (void)0
#endif
// In memory, where nothing is known about alignment.
typedef float ol_memv __attribute__((vector_size(4 * OL_LANES), aligned(4), may_alias));
typedef int32_t ol_memi __attribute__((vector_size(4 * OL_LANES), aligned(4), may_alias));
typedef uint8_t ol_memb __attribute__((vector_size(OL_LANES), aligned(1), may_alias));

// X of every lane, as a list and one after another; and a vector whose lane l is lane l^k.
#if OL_LANES == 16
#define OL_LIST(X) X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15)
#define OL_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define OL_SWAP(x, k) \
  OL_SHUFFLE(x, x, 0 ^ k, 1 ^ k, 2 ^ k, 3 ^ k, 4 ^ k, 5 ^ k, 6 ^ k, 7 ^ k, \
             8 ^ k, 9 ^ k, 10 ^ k, 11 ^ k, 12 ^ k, 13 ^ k, 14 ^ k, 15 ^ k)
#elif OL_LANES == 8
#define OL_LIST(X) X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7)
#define OL_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define OL_SWAP(x, k) OL_SHUFFLE(x, x, 0 ^ k, 1 ^ k, 2 ^ k, 3 ^ k, 4 ^ k, 5 ^ k, 6 ^ k, 7 ^ k)
#else
#define OL_LIST(X) X(0), X(1), X(2), X(3)
#define OL_EACH(X) X(0) X(1) X(2) X(3)
#define OL_SWAP(x, k) OL_SHUFFLE(x, x, 0 ^ k, 1 ^ k, 2 ^ k, 3 ^ k)
#endif
// Lanes of a and b joined, by their numbers.
#if defined(__clang__)
#define OL_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define OL_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (oli){__VA_ARGS__})
#endif

#define OL_X(l) x
OL_FN olv ol_splat_f(float x) { return (olv){OL_LIST(OL_X)}; }
OL_FN oli ol_splat_i(int32_t x) { return (oli){OL_LIST(OL_X)}; }
OL_FN olu ol_splat_u(uint32_t x) { return (olu){OL_LIST(OL_X)}; }
#undef OL_X
#define OL_X(l) l
OL_FN oli ol_ramp(void) { return (oli){OL_LIST(OL_X)}; }
#undef OL_X

// Bits.
OL_FN uint32_t ol_bits1(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
OL_FN float ol_float1(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }
`;

/** Masks, comparisons and choices. */
const MASKS = String.raw`
#if OL_AVX512
typedef __mmask16 olm;
OL_FN olm ol_splat_m(int x) { return (olm)(x ? 0xffff : 0); }
OL_FN olm ol_first(int n) { return (olm)((1u << n) - 1u); }
OL_FN olm ol_and_m(olm a, olm b) { return (olm)(a & b); }
OL_FN olm ol_or_m(olm a, olm b) { return (olm)(a | b); }
OL_FN olm ol_xor_m(olm a, olm b) { return (olm)(a ^ b); }
OL_FN olm ol_not_m(olm a) { return (olm)~a; }
OL_FN olm ol_select_m(olm m, olm a, olm b) { return (olm)((m & a) | (~m & b)); }
OL_FN olv ol_select_f(olm m, olv a, olv b) { return _mm512_mask_blend_ps(m, b, a); }
OL_FN oli ol_select_i(olm m, oli a, oli b) { return (oli)_mm512_mask_blend_epi32(m, (__m512i)b, (__m512i)a); }
OL_FN olu ol_select_u(olm m, olu a, olu b) { return (olu)_mm512_mask_blend_epi32(m, (__m512i)b, (__m512i)a); }
// 0 and −1.
OL_FN oli ol_wide_m(olm m) { return (oli)_mm512_movm_epi32(m); }
OL_FN olm ol_narrow_m(oli wide) { return _mm512_movepi32_mask((__m512i)wide); }
#define OL_COMPARE(name, operator, predicate, order) \
  OL_FN olm ol_##name##_f(olv a, olv b) { return _mm512_cmp_ps_mask(a, b, predicate); } \
  OL_FN olm ol_##name##_i(oli a, oli b) { return _mm512_cmp_epi32_mask((__m512i)a, (__m512i)b, order); } \
  OL_FN olm ol_##name##_u(olu a, olu b) { return _mm512_cmp_epu32_mask((__m512i)a, (__m512i)b, order); } \
  OL_FN int ol_##name##_f1(float a, float b) { return a operator b; } \
  OL_FN int ol_##name##_i1(int32_t a, int32_t b) { return a operator b; } \
  OL_FN int ol_##name##_u1(uint32_t a, uint32_t b) { return a operator b; }
#else
typedef oli olm;
OL_FN olm ol_splat_m(int x) { return ol_splat_i(-x); }
OL_FN olm ol_first(int n) { return (olm)(ol_ramp() < ol_splat_i(n)); }
OL_FN olm ol_and_m(olm a, olm b) { return a & b; }
OL_FN olm ol_or_m(olm a, olm b) { return a | b; }
OL_FN olm ol_xor_m(olm a, olm b) { return a ^ b; }
OL_FN olm ol_not_m(olm a) { return ~a; }
OL_FN olm ol_select_m(olm m, olm a, olm b) { return (m & a) | (~m & b); }
#if OL_AVX2
OL_FN olv ol_select_f(olm m, olv a, olv b) { return _mm256_blendv_ps(b, a, (__m256)m); }
OL_FN oli ol_select_i(olm m, oli a, oli b) { return (oli)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m); }
OL_FN olu ol_select_u(olm m, olu a, olu b) { return (olu)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m); }
#else
OL_FN olv ol_select_f(olm m, olv a, olv b) { return (olv)((m & (oli)a) | (~m & (oli)b)); }
OL_FN oli ol_select_i(olm m, oli a, oli b) { return (m & a) | (~m & b); }
OL_FN olu ol_select_u(olm m, olu a, olu b) { return ((olu)m & a) | (~(olu)m & b); }
#endif
OL_FN oli ol_wide_m(olm m) { return m; }
OL_FN olm ol_narrow_m(oli wide) { return wide; }
#define OL_COMPARE(name, operator, predicate, order) \
  OL_FN olm ol_##name##_f(olv a, olv b) { return (olm)(a operator b); } \
  OL_FN olm ol_##name##_i(oli a, oli b) { return (olm)(a operator b); } \
  OL_FN olm ol_##name##_u(olu a, olu b) { return (olm)(a operator b); } \
  OL_FN int ol_##name##_f1(float a, float b) { return a operator b; } \
  OL_FN int ol_##name##_i1(int32_t a, int32_t b) { return a operator b; } \
  OL_FN int ol_##name##_u1(uint32_t a, uint32_t b) { return a operator b; }
#endif
OL_COMPARE(eq, ==, _CMP_EQ_OQ, _MM_CMPINT_EQ)
OL_COMPARE(ne, !=, _CMP_NEQ_UQ, _MM_CMPINT_NE)
OL_COMPARE(lt, <, _CMP_LT_OS, _MM_CMPINT_LT)
OL_COMPARE(le, <=, _CMP_LE_OS, _MM_CMPINT_LE)
OL_COMPARE(gt, >, _CMP_GT_OS, _MM_CMPINT_NLE)
OL_COMPARE(ge, >=, _CMP_GE_OS, _MM_CMPINT_NLT)
#undef OL_COMPARE
OL_FN olm ol_isNan(olv x) { return ol_ne_f(x, x); }
OL_FN int ol_isNan1(float x) { return x != x; }
OL_FN olm ol_isFinite(olv x) { return ol_lt_f((olv)((oli)x & 0x7fffffff), ol_splat_f(__builtin_inff())); }
OL_FN int ol_isFinite1(float x) { return __builtin_fabsf(x) < __builtin_inff(); }
OL_FN float ol_select_f1(int m, float a, float b) { return m ? a : b; }
OL_FN int32_t ol_select_i1(int m, int32_t a, int32_t b) { return m ? a : b; }
OL_FN uint32_t ol_select_u1(int m, uint32_t a, uint32_t b) { return m ? a : b; }
OL_FN int ol_select_m1(int m, int a, int b) { return m ? a : b; }
OL_FN int ol_and_m1(int a, int b) { return a & b; }
OL_FN int ol_or_m1(int a, int b) { return a | b; }
OL_FN int ol_xor_m1(int a, int b) { return a ^ b; }
OL_FN int ol_not_m1(int a) { return !a; }
`;

/** float32. */
const FLOATS = String.raw`
// a·b + c, rounded once.
#if OL_AVX512
OL_FN olv ol_fma(olv a, olv b, olv c) { return _mm512_fmadd_ps(a, b, c); }
#elif OL_AVX2
OL_FN olv ol_fma(olv a, olv b, olv c) { return _mm256_fmadd_ps(a, b, c); }
#elif OL_SSE && defined(__FMA__)
OL_FN olv ol_fma(olv a, olv b, olv c) { return _mm_fmadd_ps(a, b, c); }
#elif OL_NEON
OL_FN olv ol_fma(olv a, olv b, olv c) { return (olv)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
#define OL_X(l) __builtin_fmaf(a[l], b[l], c[l])
OL_FN olv ol_fma(olv a, olv b, olv c) { return (olv){OL_LIST(OL_X)}; }
#undef OL_X
#endif
OL_FN float ol_fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

#if OL_AVX512
OL_FN olv ol_sqrt(olv x) { return _mm512_sqrt_ps(x); }
#elif OL_AVX2
OL_FN olv ol_sqrt(olv x) { return _mm256_sqrt_ps(x); }
#elif OL_SSE
OL_FN olv ol_sqrt(olv x) { return _mm_sqrt_ps(x); }
#elif OL_NEON
OL_FN olv ol_sqrt(olv x) { return (olv)vsqrtq_f32((float32x4_t)x); }
#else
#define OL_X(l) __builtin_sqrtf(x[l])
OL_FN olv ol_sqrt(olv x) { return (olv){OL_LIST(OL_X)}; }
#undef OL_X
#endif
#if defined(__SSE2__)
OL_FN float ol_sqrt1(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
#else
OL_FN float ol_sqrt1(float x) { return __builtin_sqrtf(x); }
#endif

OL_FN olv ol_abs_f(olv x) { return (olv)((oli)x & 0x7fffffff); }
OL_FN float ol_abs_f1(float x) { return __builtin_fabsf(x); }

// To an integer, which is exact: by the instruction, else by adding and taking away 2²³ (half to even is the rounding mode).
#if OL_AVX512
OL_FN olv ol_round(olv x) { return _mm512_roundscale_ps(x, 8); }
OL_FN olv ol_floor(olv x) { return _mm512_roundscale_ps(x, 9); }
OL_FN olv ol_ceil(olv x) { return _mm512_roundscale_ps(x, 10); }
#elif OL_AVX2
OL_FN olv ol_round(olv x) { return _mm256_round_ps(x, 8); }
OL_FN olv ol_floor(olv x) { return _mm256_round_ps(x, 9); }
OL_FN olv ol_ceil(olv x) { return _mm256_round_ps(x, 10); }
#elif OL_SSE && defined(__SSE4_1__)
OL_FN olv ol_round(olv x) { return _mm_round_ps(x, 8); }
OL_FN olv ol_floor(olv x) { return _mm_round_ps(x, 9); }
OL_FN olv ol_ceil(olv x) { return _mm_round_ps(x, 10); }
#elif OL_NEON
OL_FN olv ol_round(olv x) { return (olv)vrndnq_f32((float32x4_t)x); }
OL_FN olv ol_floor(olv x) { return (olv)vrndmq_f32((float32x4_t)x); }
OL_FN olv ol_ceil(olv x) { return (olv)vrndpq_f32((float32x4_t)x); }
#else
OL_FN olv ol_with_sign(olv x, olv of) { return (olv)(((oli)x & 0x7fffffff) | ((oli)of & (oli)ol_splat_u(0x80000000u))); }
OL_FN olv ol_round(olv x) {
  olv big = ol_splat_f(0x1p23f), size = ol_abs_f(x);
  return ol_select_f(ol_lt_f(size, big), ol_with_sign((size + big) - big, x), x);
}
OL_FN olv ol_floor(olv x) {
  olv near = ol_round(x);
  return ol_select_f(ol_gt_f(near, x), ol_with_sign(near - ol_splat_f(1), x), near);
}
OL_FN olv ol_ceil(olv x) {
  olv near = ol_round(x);
  return ol_select_f(ol_lt_f(near, x), ol_with_sign(near + ol_splat_f(1), x), near);
}
#endif
OL_FN float ol_round1(float x) { return ol_round(ol_splat_f(x))[0]; }
OL_FN float ol_floor1(float x) { return ol_floor(ol_splat_f(x))[0]; }
OL_FN float ol_ceil1(float x) { return ol_ceil(ol_splat_f(x))[0]; }

// A zero keeps its sign, NaN stays NaN.
OL_FN olv ol_sign_f(olv x) {
  olv y = (olv)((oli)x & (oli)ol_splat_u(0x80000000u));
  y = ol_select_f(ol_gt_f(x, ol_splat_f(0)), ol_splat_f(1), y);
  y = ol_select_f(ol_lt_f(x, ol_splat_f(0)), ol_splat_f(-1), y);
  return ol_select_f(ol_isNan(x), x, y);
}
OL_FN float ol_sign_f1(float x) { return x > 0 ? 1 : x < 0 ? -1 : x != x ? x : ol_float1(ol_bits1(x) & 0x80000000u); }

// NaN if either is: the instruction gives the second operand where they do not compare.
#if OL_AVX512
OL_FN olv ol_max_f(olv a, olv b) { return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b); }
OL_FN olv ol_min_f(olv a, olv b) { return _mm512_mask_min_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b); }
#elif OL_AVX2
OL_FN olv ol_max_f(olv a, olv b) { return ol_select_f(ol_isNan(a), a, _mm256_max_ps(a, b)); }
OL_FN olv ol_min_f(olv a, olv b) { return ol_select_f(ol_isNan(a), a, _mm256_min_ps(a, b)); }
#elif OL_SSE
OL_FN olv ol_max_f(olv a, olv b) { return ol_select_f(ol_isNan(a), a, _mm_max_ps(a, b)); }
OL_FN olv ol_min_f(olv a, olv b) { return ol_select_f(ol_isNan(a), a, _mm_min_ps(a, b)); }
#else
OL_FN olv ol_max_f(olv a, olv b) { return ol_select_f(ol_or_m(ol_gt_f(a, b), ol_isNan(a)), a, b); }
OL_FN olv ol_min_f(olv a, olv b) { return ol_select_f(ol_or_m(ol_lt_f(a, b), ol_isNan(a)), a, b); }
#endif
#if OL_AVX512 || OL_AVX2 || OL_SSE
// The instruction, which also gives zero for a subnormal where these are flushed.
OL_FN float ol_max_f1(float a, float b) {
  return a != a ? a : _mm_cvtss_f32(_mm_max_ss(_mm_set_ss(a), _mm_set_ss(b)));
}
OL_FN float ol_min_f1(float a, float b) {
  return a != a ? a : _mm_cvtss_f32(_mm_min_ss(_mm_set_ss(a), _mm_set_ss(b)));
}
#else
OL_FN float ol_max_f1(float a, float b) { return a > b || a != a ? a : b; }
OL_FN float ol_min_f1(float a, float b) { return a < b || a != a ? a : b; }
#endif

// With a second operand that is no NaN, the instruction alone does, the operands changed over.
#if OL_AVX512
OL_FN olv ol_max_number(olv x, olv number) { return _mm512_max_ps(number, x); }
OL_FN olv ol_min_number(olv x, olv number) { return _mm512_min_ps(number, x); }
#elif OL_AVX2
OL_FN olv ol_max_number(olv x, olv number) { return _mm256_max_ps(number, x); }
OL_FN olv ol_min_number(olv x, olv number) { return _mm256_min_ps(number, x); }
#elif OL_SSE
OL_FN olv ol_max_number(olv x, olv number) { return _mm_max_ps(number, x); }
OL_FN olv ol_min_number(olv x, olv number) { return _mm_min_ps(number, x); }
#else
OL_FN olv ol_max_number(olv x, olv number) { return ol_select_f(ol_gt_f(number, x), number, x); }
OL_FN olv ol_min_number(olv x, olv number) { return ol_select_f(ol_lt_f(number, x), number, x); }
#endif
#if OL_AVX512 || OL_AVX2 || OL_SSE
OL_FN float ol_max_number1(float x, float number) {
  return _mm_cvtss_f32(_mm_max_ss(_mm_set_ss(number), _mm_set_ss(x)));
}
OL_FN float ol_min_number1(float x, float number) {
  return _mm_cvtss_f32(_mm_min_ss(_mm_set_ss(number), _mm_set_ss(x)));
}
#else
// Written out, a compiler may make it an instruction that flushes subnormals, which the vector form does not.
OL_FN float ol_max_number1(float x, float number) { return ol_max_number(ol_splat_f(x), ol_splat_f(number))[0]; }
OL_FN float ol_min_number1(float x, float number) { return ol_min_number(ol_splat_f(x), ol_splat_f(number))[0]; }
#endif

// The remainder with the sign of the divisor, also when it is zero; fmod is exact. Whether it knows a subnormal divisor
// that is flushed for a zero depends on the library.
OL_FN float ol_mod_f1(float x, float y) {
  if (y == 0) return __builtin_nanf("");
  float rest = __builtin_fmodf(x, y);
  if (rest == 0) return y < 0 ? -0.0f : 0.0f;
  return (rest < 0) == (y < 0) ? rest : rest + y;
}
static __attribute__((noinline)) olv ol_mod_f(olv x, olv y) {
  float a[OL_LANES], b[OL_LANES];
  memcpy(a, &x, sizeof a);
  memcpy(b, &y, sizeof b);
  for (int l = 0; l < OL_LANES; l++) a[l] = ol_mod_f1(a[l], b[l]);
  memcpy(&x, a, sizeof a);
  return x;
}
`;

/** int32 and uint32, and between the types. */
const INTEGERS = String.raw`
OL_FN oli ol_add_i(oli a, oli b) { return (oli)((olu)a + (olu)b); }
OL_FN oli ol_sub_i(oli a, oli b) { return (oli)((olu)a - (olu)b); }
OL_FN oli ol_mul_i(oli a, oli b) { return (oli)((olu)a * (olu)b); }
OL_FN int32_t ol_add_i1(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
OL_FN int32_t ol_sub_i1(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }
OL_FN int32_t ol_mul_i1(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }
OL_FN oli ol_neg_i(oli a) { return (oli)-(olu)a; }
OL_FN int32_t ol_neg_i1(int32_t a) { return (int32_t)-(uint32_t)a; }
OL_FN oli ol_max_i(oli a, oli b) { return ol_select_i(ol_gt_i(a, b), a, b); }
OL_FN oli ol_min_i(oli a, oli b) { return ol_select_i(ol_lt_i(a, b), a, b); }
OL_FN int32_t ol_max_i1(int32_t a, int32_t b) { return a > b ? a : b; }
OL_FN int32_t ol_min_i1(int32_t a, int32_t b) { return a < b ? a : b; }
// |−2³¹| wraps to itself.
OL_FN oli ol_abs_i(oli a) { return ol_select_i(ol_lt_i(a, ol_splat_i(0)), ol_neg_i(a), a); }
OL_FN int32_t ol_abs_i1(int32_t a) { return a < 0 ? ol_neg_i1(a) : a; }
OL_FN oli ol_sign_i(oli a) {
  return ol_select_i(ol_gt_i(a, ol_splat_i(0)), ol_splat_i(1), a >> 31);
}
OL_FN int32_t ol_sign_i1(int32_t a) { return (a > 0) - (a < 0); }

// Floor division; by zero 0, −2³¹/−1 = −2³¹.
OL_FN int32_t ol_div_i1(int32_t a, int32_t b) {
  if (b == 0) return 0;
  if (b == -1) return ol_neg_i1(a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
// The sign of the divisor; by zero 0.
OL_FN int32_t ol_mod_i1(int32_t a, int32_t b) {
  if (b == 0 || b == -1) return 0;
  int32_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
// A quotient of int32 is no nearer than 2⁻³¹ of itself to an integer that it is not, so that float64 truncates it rightly.
typedef double ol_doubles __attribute__((vector_size(8 * OL_LANES)));
OL_FN oli ol_div_i(oli a, oli b) {
  oli one = ol_splat_i(1), none = ol_splat_i(0);
  olm minus = ol_eq_i(b, ol_splat_i(-1)), zero = ol_eq_i(b, none);
  oli divisor = ol_select_i(ol_or_m(minus, zero), one, b);
  oli q = __builtin_convertvector(
      __builtin_convertvector(a, ol_doubles) / __builtin_convertvector(divisor, ol_doubles), oli);
  oli rest = ol_sub_i(a, ol_mul_i(q, divisor));
  olm below = ol_and_m(ol_ne_i(rest, none), ol_lt_i(rest ^ divisor, none));
  q = ol_select_i(below, ol_sub_i(q, one), q);
  return ol_select_i(zero, none, ol_select_i(minus, ol_neg_i(a), q));
}
OL_FN oli ol_mod_i(oli a, oli b) {
  return ol_select_i(ol_eq_i(b, ol_splat_i(0)), b, ol_sub_i(a, ol_mul_i(ol_div_i(a, b), b)));
}

OL_FN uint32_t ol_mulHigh1(uint32_t a, uint32_t b) { return (uint32_t)(((uint64_t)a * b) >> 32); }
#if OL_AVX512
OL_FN olu ol_mulHigh(olu a, olu b) {
  __m512i even = _mm512_mul_epu32((__m512i)a, (__m512i)b);
  __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), _mm512_srli_epi64((__m512i)b, 32));
  return (olu)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}
#elif OL_AVX2
OL_FN olu ol_mulHigh(olu a, olu b) {
  __m256i even = _mm256_mul_epu32((__m256i)a, (__m256i)b);
  __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), _mm256_srli_epi64((__m256i)b, 32));
  return (olu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}
#else
#define OL_X(l) ol_mulHigh1(a[l], b[l])
OL_FN olu ol_mulHigh(olu a, olu b) { return (olu){OL_LIST(OL_X)}; }
#undef OL_X
#endif

// Truncates, saturates, NaN gives 0.
OL_FN int32_t ol_f_to_i1(float x) {
  return x >= 0x1p31f ? INT32_MAX : x < -0x1p31f ? INT32_MIN : x != x ? 0 : (int32_t)x;
}
OL_FN oli ol_f_to_i(olv x) {
  olm above = ol_ge_f(x, ol_splat_f(0x1p31f)), below = ol_lt_f(x, ol_splat_f(-0x1p31f));
#if OL_AVX512
  // The instruction gives −2³¹ for whatever does not fit.
  oli y = (oli)_mm512_maskz_cvttps_epi32(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x);
  (void)below;
#else
  olm inside = ol_not_m(ol_or_m(ol_or_m(above, below), ol_isNan(x)));
  oli y = __builtin_convertvector((olv)((oli)x & ol_wide_m(inside)), oli);
  y = ol_select_i(below, ol_splat_i(INT32_MIN), y);
#endif
  return ol_select_i(above, ol_splat_i(INT32_MAX), y);
}
OL_FN olv ol_i_to_f(oli x) { return __builtin_convertvector(x, olv); }
OL_FN float ol_i_to_f1(int32_t x) { return (float)x; }
OL_FN olv ol_u_to_f(olu x) { return __builtin_convertvector(x, olv); }
OL_FN float ol_u_to_f1(uint32_t x) { return (float)x; }
OL_FN oli ol_u_to_i(olu x) { return (oli)x; }
OL_FN int32_t ol_u_to_i1(uint32_t x) { return (int32_t)x; }
OL_FN olu ol_i_to_u(oli x) { return (olu)x; }
OL_FN uint32_t ol_i_to_u1(int32_t x) { return (uint32_t)x; }
#if OL_AVX512
OL_FN olv ol_m_to_f(olm m) { return _mm512_maskz_mov_ps(m, ol_splat_f(1)); }
OL_FN oli ol_m_to_i(olm m) { return (oli)_mm512_maskz_set1_epi32(m, 1); }
#else
OL_FN olv ol_m_to_f(olm m) { return (olv)(m & (oli)ol_splat_f(1)); }
OL_FN oli ol_m_to_i(olm m) { return m & 1; }
#endif
OL_FN float ol_m_to_f1(int m) { return (float)m; }
OL_FN int32_t ol_m_to_i1(int m) { return m; }
OL_FN olm ol_f_to_m(olv x) { return ol_ne_f(x, ol_splat_f(0)); }
OL_FN int ol_f_to_m1(float x) { return x != 0; }
OL_FN olm ol_i_to_m(oli x) { return ol_ne_i(x, ol_splat_i(0)); }
OL_FN int ol_i_to_m1(int32_t x) { return x != 0; }
`;

/** The whole prelude. The text before it must define OL_LANES. */
export const PRELUDE = [TYPES, MASKS, FLOATS, INTEGERS, MEMORY].join('');
