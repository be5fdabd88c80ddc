/**
 * C of keyed random numbers, put after the prelude and the math: integers are those of src/random bit for bit, normals
 * those of src/random/draws.ts within the error that docs/native-math.md states.
 *
 * Vector functions work on OL_LANES blocks (counters) at a time. The fill functions are for the host side of a window:
 * they touch elements 0 … n−1 and nothing else, and give the same numbers however an array is cut into calls at even
 * positions, since an element depends on key and position alone.
 */

/** Threefry-2x32-20 (src/random/threefry.ts) and keys (src/random/keys.ts). */
const KEYS = String.raw`
#define OL_ROTATE(x, r) (((x) << (r)) | ((x) >> (32 - (r))))
#define OL_ROUND(r) \
  x0 += x1; \
  x1 = OL_ROTATE(x1, r) ^ x0;
#define OL_INJECT(a, b, n) \
  x0 += a; \
  x1 += b + (n);
#define OL_ROUNDS_A OL_ROUND(13) OL_ROUND(15) OL_ROUND(26) OL_ROUND(6)
#define OL_ROUNDS_B OL_ROUND(17) OL_ROUND(29) OL_ROUND(16) OL_ROUND(24)
#define OL_THREEFRY(word) \
  word k2 = k0 ^ k1 ^ 0x1bd11bdau, x0 = c0 + k0, x1 = c1 + k1; \
  OL_ROUNDS_A OL_INJECT(k1, k2, 1u) OL_ROUNDS_B OL_INJECT(k2, k0, 2u) OL_ROUNDS_A OL_INJECT(k0, k1, 3u) \
  OL_ROUNDS_B OL_INJECT(k1, k2, 4u) OL_ROUNDS_A OL_INJECT(k2, k0, 5u) \
  *a = x0; \
  *b = x1;
OL_FN void ol_threefry(olu k0, olu k1, olu c0, olu c1, olu *a, olu *b) { OL_THREEFRY(olu) }
OL_FN void ol_threefry1(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t *a, uint32_t *b) {
  OL_THREEFRY(uint32_t)
}

// key becomes the key named by data. Called: a step folds a dozen times, and compilers take a hundredth of a second for each
// that is written out.
static __attribute__((noinline)) void ol_fold(uint32_t key[2], uint32_t data) {
  ol_threefry1(key[0], key[1], data, 0x9e3779b9u, key, key + 1);
}
// What all draws of one episode of one worker start from; the seed is seed_low + 2³²·seed_high.
OL_FN void ol_episode_key(uint32_t seed_low, uint32_t seed_high, uint32_t stream, uint32_t worker, uint32_t episode,
                          uint32_t out[2]) {
  out[0] = seed_low;
  out[1] = seed_high;
  ol_fold(out, stream);
  ol_fold(out, worker);
  ol_fold(out, episode);
}
`;

/** Box and Muller, and arrays of normals. */
const NORMALS = String.raw`
// (radius + rest)·x, rounded once.
OL_FN olv ol_stretch(olv radius, olv rest, olv x) {
#if OL_FMA_FAST
  return ol_fma(radius, x, rest * x);
#else
  olv below, y = ol_product(radius, x, &below);
  return y + (below + rest * x);
#endif
}
/*
 * From two words: u = (⌊w0/2⁸⌋ + 1)·2⁻²⁴, v = ⌊w1/2⁸⌋·2⁻²⁴; √(−2 ln u)·cos 2πv and √(−2 ln u)·sin 2πv.
 * The logarithm needs no special case. The angle is a whole number of 2⁻²⁴ turns: quadrant and rest are exact.
 */
OL_FN void ol_normals(olu w0, olu w1, olv *cosine, olv *sine) {
  olv u = __builtin_convertvector((oli)(w0 >> 8) + 1, olv);
  olu bits = (olu)u;
  oli n = (oli)(bits - 0x3f400000u) >> 23;
  olv f = (olv)(bits - ((olu)n << 23)) - 1.0f, e = __builtin_convertvector(n - 24, olv);
  // −2·log, as ol_log_sum.
  olv p = ol_mad(OL_C(0.0904399306f), f, OL_C(-0.209658042f));
  p = ol_mad(p, f, OL_C(0.263379723f));
  p = ol_mad(p, f, OL_C(-0.289562583f));
  p = ol_mad(p, f, OL_C(0.332931966f));
  p = ol_mad(p, f, OL_C(-0.399815619f));
  p = ol_mad(p, f, OL_C(0.500002205f));
  p = ol_mad(p, f, OL_C(-0.666669011f));
  olv z = f * f;
  olv y = ol_mad(p * f, z, e * -2.85721353e-06f) + z;
  y = ol_mad(OL_C(-2), f, y);
  olv square = ol_mad(e, OL_C(-1.3862915f), y), radius = ol_sqrt(square), below;
  // What the root lacks counts: radii reach 5.77, where half an ulp is 2.4e−7. (A radius is 0 or above 2⁻¹².)
  olv product = ol_product(radius, radius, &below);
  olv rest = ((square - product) - below) * (0.5f / (radius + 0x1p-100f));

  // t·π/2 from −π/4 to π/4, t a multiple of 2⁻²².
  olu quadrant = (w1 + 0x20000000u) >> 30;
  olv t = __builtin_convertvector((oli)((w1 & 0xffffff00u) - (quadrant << 30)), olv) * 0x1p-30f;
  olv zz = t * t;
  olv s = ol_mad(OL_C(-0.00460250163f), zz, OL_C(0.0796803534f));
  s = ol_mad(s, zz, OL_C(-0.64596349f));
  s = ol_mad(s, zz, OL_C(-4.85530052e-08f));
  s = ol_mad(t, OL_C(1.57079637f), s * t);
  olv c = ol_mad(OL_C(0.000893574266f), zz, OL_C(-0.0208552536f));
  c = ol_mad(c, zz, OL_C(0.253668517f));
  c = ol_mad(c, zz, OL_C(-1.23370051f));
  c = ol_mad(c, zz, OL_C(1));
  olm odd = ol_ne_u(quadrant & 1u, ol_splat_u(0));
  olv first = ol_select_f(odd, s, c), second = ol_select_f(odd, c, s);
  first = ol_xor_sign(first, ((quadrant + 1u) & 2u) << 30);
  second = ol_xor_sign(second, (quadrant & 2u) << 30);
  *cosine = ol_stretch(radius, rest, first);
  *sine = ol_stretch(radius, rest, second);
}
OL_FN void ol_normals1(uint32_t w0, uint32_t w1, float *cosine, float *sine) {
  olv a, b;
  ol_normals(ol_splat_u(w0), ol_splat_u(w1), &a, &b);
  *cosine = a[0];
  *sine = b[0];
}

#if defined(__clang__) || __GNUC__ >= 12
#define OL_MIX(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define OL_MIX(x, y, ...) __builtin_shuffle(x, y, (oli){__VA_ARGS__})
#endif
// Blocks side by side, the first numbers with the second: elements of an array, in order.
OL_FN void ol_interleave(olv x, olv y, float *to) {
#if OL_LANES == 16
  olv low = OL_MIX(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  olv high = OL_MIX(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif OL_LANES == 8
  olv low = OL_MIX(x, y, 0, 8, 1, 9, 2, 10, 3, 11), high = OL_MIX(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  olv low = OL_MIX(x, y, 0, 4, 1, 5), high = OL_MIX(x, y, 2, 6, 3, 7);
#endif
  ol_store_f(to, low);
  ol_store_f(to + OL_LANES, high);
}

#define OL_NOISE (2 * OL_LANES)
// Writes OL_NOISE normals of the key from element j (even) on. Returns how many of them are of the first n.
OL_FN int64_t ol_some_normals(const uint32_t key[2], int64_t j, int64_t n, float noise[OL_NOISE]) {
  olu a, b;
  olv x, y;
  ol_threefry(ol_splat_u(key[0]), ol_splat_u(key[1]), (olu)ol_ramp() + (uint32_t)(j / 2), ol_splat_u(0), &a, &b);
  ol_normals(a, b, &x, &y);
  ol_interleave(x, y, noise);
  return n - j < OL_NOISE ? n - j : OL_NOISE;
}

// Functions of arrays of n normals, n ≤ 2³³. float64 goes by half vectors.
typedef float ol_half __attribute__((vector_size(2 * OL_LANES)));
typedef double ol_wide __attribute__((vector_size(4 * OL_LANES)));
typedef float ol_memhalf __attribute__((vector_size(2 * OL_LANES), aligned(4), may_alias));
typedef double ol_memwide __attribute__((vector_size(4 * OL_LANES), aligned(8), may_alias));
OL_FN ol_wide ol_widened(const float *x) { return __builtin_convertvector((ol_half) * (const ol_memhalf *)x, ol_wide); }

// out[j] = normal j of the key.
static __attribute__((noinline)) void ol_fill_normals(const uint32_t key[2], int64_t n, float *out) {
  float noise[OL_NOISE];
  for (int64_t j = 0, count; j < n; j += count) {
    count = ol_some_normals(key, j, n, noise);
    memcpy(out + j, noise, count == OL_NOISE ? sizeof noise : (size_t)count * sizeof(float));
  }
}

// out[j] = (float)(theta[j] + scale·normal j), the sum in float64.
static __attribute__((noinline)) void ol_perturb(float *out, const double *theta, double scale, const uint32_t key[2],
                                                 int64_t n) {
  float noise[OL_NOISE];
  for (int64_t j = 0, count; j < n; j += count) {
    count = ol_some_normals(key, j, n, noise);
    if (count == OL_NOISE) {
      for (int l = 0; l < OL_NOISE; l += OL_LANES / 2) {
        ol_wide sum = *(const ol_memwide *)(theta + j + l) + scale * ol_widened(noise + l);
        *(ol_memhalf *)(out + j + l) = __builtin_convertvector(sum, ol_half);
      }
    } else {
      for (int l = 0; l < count; l++) out[j + l] = (float)(theta[j + l] + scale * (double)noise[l]);
    }
  }
}

// sum[j] += weight·normal j, in float64.
static __attribute__((noinline)) void ol_accumulate(double *sum, double weight, const uint32_t key[2], int64_t n) {
  float noise[OL_NOISE];
  for (int64_t j = 0, count; j < n; j += count) {
    count = ol_some_normals(key, j, n, noise);
    if (count == OL_NOISE) {
      for (int l = 0; l < OL_NOISE; l += OL_LANES / 2) {
        *(ol_memwide *)(sum + j + l) += weight * ol_widened(noise + l);
      }
    } else {
      for (int l = 0; l < count; l++) sum[j + l] += weight * (double)noise[l];
    }
  }
}
`;

/** The whole text. Prelude and math come before it. */
export const RANDOM = [KEYS, NORMALS].join('');
