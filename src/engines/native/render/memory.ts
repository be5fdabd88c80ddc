/** The part of the prelude that moves numbers: to and from memory, across the lanes, and block by block. */

/**
 * Memory. The last word of a name says how lanes lie: none for all side by side, _n for the first n of them, _s for a
 * stride in elements; gather and scatter take offsets. n is a constant, 1 … OL_LANES.
 */
const ACCESS = String.raw`
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

export const MEMORY = [ACCESS, ACROSS, TRANSPOSE].join('');
