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

/** Types, splats and lists over the lanes. The text before it defines OL_LANES as 16, 8 or 4. */
const TYPES = String.raw`
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
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

// The remainder with the sign of the divisor, also when it is zero; fmod is exact.
OL_FN float ol_mod_f1(float x, float y) {
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

/**
 * Memory. The last word of a name says how lanes lie: none for all side by side, _n for the first n of them, _s for a
 * stride in elements; gather and scatter take offsets. n is a constant, 1 … OL_LANES.
 */
const MEMORY = String.raw`
OL_FN olv ol_load_f(const ol_f32 *p) { return *(const ol_memv *)p; }
OL_FN oli ol_load_i(const ol_i32 *p) { return *(const ol_memi *)p; }
OL_FN void ol_store_f(ol_f32 *p, olv x) { *(ol_memv *)p = x; }
OL_FN void ol_store_i(ol_i32 *p, oli x) { *(ol_memi *)p = x; }
#if OL_AVX512
OL_FN oli ol_load_b(const ol_u8 *p) { return (oli)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
OL_FN olv ol_load_f_n(const ol_f32 *p, int n) { return _mm512_maskz_loadu_ps(ol_first(n), p); }
OL_FN oli ol_load_i_n(const ol_i32 *p, int n) { return (oli)_mm512_maskz_loadu_epi32(ol_first(n), p); }
OL_FN oli ol_load_b_n(const ol_u8 *p, int n) { return (oli)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(ol_first(n), p)); }
OL_FN void ol_store_b(ol_u8 *p, oli x) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)x)); }
OL_FN void ol_store_f_n(ol_f32 *p, olv x, int n) { _mm512_mask_storeu_ps(p, ol_first(n), x); }
OL_FN void ol_store_i_n(ol_i32 *p, oli x, int n) { _mm512_mask_storeu_epi32(p, ol_first(n), (__m512i)x); }
OL_FN void ol_store_b_n(ol_u8 *p, oli x, int n) { _mm512_mask_cvtepi32_storeu_epi8(p, ol_first(n), (__m512i)x); }
#else
#if OL_AVX2
OL_FN oli ol_load_b(const ol_u8 *p) { return (oli)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
OL_FN olv ol_load_f_n(const ol_f32 *p, int n) {
  if (n == 4) return _mm256_zextps128_ps256(_mm_loadu_ps((const float *)p));
  return _mm256_maskload_ps((const float *)p, (__m256i)ol_first(n));
}
OL_FN oli ol_load_i_n(const ol_i32 *p, int n) { return (oli)_mm256_maskload_epi32((const int *)p, (__m256i)ol_first(n)); }
// n is known where this is inlined: a masked store takes longer than two or three plain ones on AMD's cores.
OL_FN void ol_store_f_n(ol_f32 *p, olv x, int n) {
  __m128 y = _mm256_castps256_ps128(x);
  if (n == 8) { ol_store_f(p, x); return; }
  if (n & 4) { _mm_storeu_ps((float *)p, y); y = _mm256_extractf128_ps(x, 1); p += 4; }
  if (n & 2) { _mm_storel_pi((__m64 *)p, y); y = _mm_movehl_ps(y, y); p += 2; }
  if (n & 1) _mm_store_ss((float *)p, y);
}
OL_FN void ol_store_i_n(ol_i32 *p, oli x, int n) { _mm256_maskstore_epi32((int *)p, (__m256i)ol_first(n), (__m256i)x); }
#else
OL_FN oli ol_load_b(const ol_u8 *p) { return __builtin_convertvector(*(const ol_memb *)p, oli); }
OL_FN olv ol_load_f_n(const ol_f32 *p, int n) { olv x = {0}; memcpy(&x, p, 4 * (size_t)n); return x; }
OL_FN oli ol_load_i_n(const ol_i32 *p, int n) { oli x = {0}; memcpy(&x, p, 4 * (size_t)n); return x; }
OL_FN void ol_store_f_n(ol_f32 *p, olv x, int n) { memcpy(p, &x, 4 * (size_t)n); }
OL_FN void ol_store_i_n(ol_i32 *p, oli x, int n) { memcpy(p, &x, 4 * (size_t)n); }
#endif
OL_FN oli ol_load_b_n(const ol_u8 *p, int n) {
  ol_bytes x = {0};
  memcpy(&x, p, (size_t)n);
  return __builtin_convertvector(x, oli);
}
OL_FN void ol_store_b(ol_u8 *p, oli x) { *(ol_memb *)p = __builtin_convertvector(x, ol_bytes); }
OL_FN void ol_store_b_n(ol_u8 *p, oli x, int n) {
  ol_bytes y = __builtin_convertvector(x, ol_bytes);
  memcpy(p, &y, (size_t)n);
}
#endif

#define OL_X(l) ((l) < n ? p[(l) * s] : 0)
OL_FN olv ol_load_f_s(const ol_f32 *p, ol_int s, int n) { return (olv){OL_LIST(OL_X)}; }
OL_FN oli ol_load_i_s(const ol_i32 *p, ol_int s, int n) { return (oli){OL_LIST(OL_X)}; }
OL_FN oli ol_load_b_s(const ol_u8 *p, ol_int s, int n) { return (oli){OL_LIST(OL_X)}; }
#undef OL_X
#define OL_X(l) if ((l) < n) p[(l) * s] = x[l];
OL_FN void ol_store_f_s(ol_f32 *p, ol_int s, olv x, int n) { OL_EACH(OL_X) }
OL_FN void ol_store_i_s(ol_i32 *p, ol_int s, oli x, int n) { OL_EACH(OL_X) }
#undef OL_X
#define OL_X(l) if ((l) < n) p[(l) * s] = (ol_u8)x[l];
OL_FN void ol_store_b_s(ol_u8 *p, ol_int s, oli x, int n) { OL_EACH(OL_X) }
#undef OL_X

#if OL_AVX512
OL_FN olv ol_gather_f(const ol_f32 *p, oli o, int n) {
  if (n == OL_LANES) return _mm512_i32gather_ps((__m512i)o, p, 4);
  return _mm512_mask_i32gather_ps(ol_splat_f(0), ol_first(n), (__m512i)o, p, 4);
}
OL_FN oli ol_gather_i(const ol_i32 *p, oli o, int n) {
  if (n == OL_LANES) return (oli)_mm512_i32gather_epi32((__m512i)o, p, 4);
  return (oli)_mm512_mask_i32gather_epi32((__m512i)ol_splat_i(0), ol_first(n), (__m512i)o, p, 4);
}
OL_FN void ol_scatter_f(ol_f32 *p, oli o, olv x, int n) {
  _mm512_mask_i32scatter_ps(p, ol_first(n), (__m512i)o, x, 4);
}
OL_FN void ol_scatter_i(ol_i32 *p, oli o, oli x, int n) {
  _mm512_mask_i32scatter_epi32(p, ol_first(n), (__m512i)o, (__m512i)x, 4);
}
#else
#define OL_X(l) ((l) < n ? p[o[l]] : 0)
OL_FN olv ol_gather_f(const ol_f32 *p, oli o, int n) { return (olv){OL_LIST(OL_X)}; }
OL_FN oli ol_gather_i(const ol_i32 *p, oli o, int n) { return (oli){OL_LIST(OL_X)}; }
#undef OL_X
// Lanes ascend: of equal places the last one wins.
#define OL_X(l) if ((l) < n) p[o[l]] = x[l];
OL_FN void ol_scatter_f(ol_f32 *p, oli o, olv x, int n) { OL_EACH(OL_X) }
OL_FN void ol_scatter_i(ol_i32 *p, oli o, oli x, int n) { OL_EACH(OL_X) }
#undef OL_X
#endif
#define OL_X(l) ((l) < n ? p[o[l]] : 0)
OL_FN oli ol_gather_b(const ol_u8 *p, oli o, int n) { return (oli){OL_LIST(OL_X)}; }
#undef OL_X
#define OL_X(l) if ((l) < n) p[o[l]] = (ol_u8)x[l];
OL_FN void ol_scatter_b(ol_u8 *p, oli o, oli x, int n) { OL_EACH(OL_X) }
#undef OL_X
`;

/** Over the lanes of one vector: halves are joined until one number is left, ((x₀+x₈)+(x₄+x₁₂))+… */
const ACROSS = String.raw`
OL_FN olv ol_add_f(olv a, olv b) { return a + b; }
#if OL_LANES == 16
#define OL_FOLD(x, join) x = join(x, OL_SWAP(x, 8)); x = join(x, OL_SWAP(x, 4)); OL_FOLD_4(x, join)
#elif OL_LANES == 8
#define OL_FOLD(x, join) x = join(x, OL_SWAP(x, 4)); OL_FOLD_4(x, join)
#else
#define OL_FOLD(x, join) OL_FOLD_4(x, join)
#endif
#define OL_FOLD_4(x, join) x = join(x, OL_SWAP(x, 2)); x = join(x, OL_SWAP(x, 1));
// Lanes that do not count become a number that changes nothing.
#define OL_ACROSS(name, join, scalar, vector, t, neutral) \
  OL_FN scalar ol_##name##_across_##t(vector x, int n) { \
    if (n < OL_LANES) x = ol_select_##t(ol_first(n), x, ol_splat_##t(neutral)); \
    OL_FOLD(x, join) \
    return x[0]; \
  }
OL_ACROSS(sum, ol_add_f, float, olv, f, -0.0f)
OL_ACROSS(max, ol_max_f, float, olv, f, -__builtin_inff())
OL_ACROSS(min, ol_min_f, float, olv, f, __builtin_inff())
OL_ACROSS(sum, ol_add_i, int32_t, oli, i, 0)
OL_ACROSS(max, ol_max_i, int32_t, oli, i, INT32_MIN)
OL_ACROSS(min, ol_min_i, int32_t, oli, i, INT32_MAX)
#undef OL_ACROSS

// Lane i is the sum over the lanes of operand i.
#if OL_AVX512
OL_FN olv ol_sums4(olv a, olv b, olv c, olv d) {
  __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  __m512 low = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd)));
  __m512 high = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd)));
  __m512 each = _mm512_add_ps(low, high);
  __m256 half = _mm256_add_ps(_mm512_castps512_ps256(each), _mm512_extractf32x8_ps(each, 1));
  return _mm512_zextps128_ps512(_mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}
#elif OL_AVX2
// The order of ol_sum_across_f.
OL_FN olv ol_sums4(olv a, olv b, olv c, olv d) {
  __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
  __m256 two = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
  __m256 one = _mm256_add_ps(_mm256_shuffle_ps(two, two, 0x88), _mm256_shuffle_ps(two, two, 0xdd));
  return _mm256_zextps128_ps256(_mm_unpacklo_ps(_mm256_castps256_ps128(one), _mm256_extractf128_ps(one, 1)));
}
OL_FN olv ol_sums2(olv a, olv b) {
  __m256 four = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  __m256 two = _mm256_add_ps(four, _mm256_permute_ps(four, 0x4e));
  __m256 one = _mm256_add_ps(two, _mm256_permute_ps(two, 0xb1));
  __m128 both = _mm_unpacklo_ps(_mm256_castps256_ps128(one), _mm256_extractf128_ps(one, 1));
  return _mm256_zextps128_ps256(_mm_castsi128_ps(_mm_move_epi64(_mm_castps_si128(both))));
}
#else
OL_FN olv ol_sums4(olv a, olv b, olv c, olv d) {
  return (olv){ol_sum_across_f(a, OL_LANES), ol_sum_across_f(b, OL_LANES), ol_sum_across_f(c, OL_LANES),
               ol_sum_across_f(d, OL_LANES)};
}
#endif
OL_FN olv ol_sums3(olv a, olv b, olv c) { return ol_sums4(a, b, c, ol_splat_f(0)); }
#if !OL_AVX2
OL_FN olv ol_sums2(olv a, olv b) { return ol_sums4(a, b, ol_splat_f(0), ol_splat_f(0)); }
#endif
OL_FN olv ol_sums1(olv a) { return ol_sums4(a, ol_splat_f(0), ol_splat_f(0), ol_splat_f(0)); }
`;

/**
 * A block of at most lanes × lanes, transposed in registers: in step k, the halves of every 2k × 2k block off its diagonal
 * change places.
 */
const TRANSPOSE = String.raw`
#define OL_LOW(l) ((l) & OL_K ? OL_LANES + ((l) ^ OL_K) : (l))
#define OL_HIGH(l) ((l) & OL_K ? OL_LANES + (l) : ((l) ^ OL_K))
#define OL_X(i) \
  if (((i) & OL_K) == 0) { \
    olv a = r[i], b = r[(i) | OL_K]; \
    r[i] = OL_SHUFFLE(a, b, OL_LIST(OL_LOW)); \
    r[(i) | OL_K] = OL_SHUFFLE(a, b, OL_LIST(OL_HIGH)); \
  }
#define OL_K 1
OL_FN void ol_transpose_1(olv *r) { OL_EACH(OL_X) }
#undef OL_K
#define OL_K 2
OL_FN void ol_transpose_2(olv *r) { OL_EACH(OL_X) }
#undef OL_K
#if OL_LANES > 4
#define OL_K 4
OL_FN void ol_transpose_4(olv *r) { OL_EACH(OL_X) }
#undef OL_K
#endif
#if OL_LANES > 8
#define OL_K 8
OL_FN void ol_transpose_8(olv *r) { OL_EACH(OL_X) }
#undef OL_K
#endif
#undef OL_X
#undef OL_LOW
#undef OL_HIGH
OL_FN void ol_transpose_block(olv *r) {
  ol_transpose_1(r);
  ol_transpose_2(r);
#if OL_LANES > 4
  ol_transpose_4(r);
#endif
#if OL_LANES > 8
  ol_transpose_8(r);
#endif
}
static __attribute__((noinline)) void ol_transpose(const ol_f32 *from, ol_int fs, ol_f32 *to, ol_int ts) {
#define OL_X(i) ol_load_f(from + (i) * fs)
  olv r[OL_LANES] = {OL_LIST(OL_X)};
#undef OL_X
  ol_transpose_block(r);
#define OL_X(i) ol_store_f(to + (i) * ts, r[i]);
  OL_EACH(OL_X)
#undef OL_X
}
static __attribute__((noinline)) void ol_transpose_n(const ol_f32 *from, ol_int fs, ol_f32 *to, ol_int ts, int rows,
                                                     int columns) {
#define OL_X(i) (i) < rows ? ol_load_f_n(from + (i) * fs, columns) : ol_splat_f(0)
  olv r[OL_LANES] = {OL_LIST(OL_X)};
#undef OL_X
  ol_transpose_block(r);
#define OL_X(i) if ((i) < columns) ol_store_f_n(to + (i) * ts, r[i], rows);
  OL_EACH(OL_X)
#undef OL_X
}
`;

/** The whole prelude. The text before it must define OL_LANES. */
export const PRELUDE = [TYPES, MASKS, FLOATS, INTEGERS, MEMORY, ACROSS, TRANSPOSE].join('');
