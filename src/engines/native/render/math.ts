/**
 * C of the transcendental functions, put after the prelude: ol_exp, ol_expm1, ol_log, ol_log1p, ol_rsqrt, ol_sin, ol_cos,
 * ol_atan, ol_atan2, ol_tanh, ol_sigmoid, ol_erf and ol_pow over the lanes of a vector, and with suffix 1 of one number,
 * which gives the bits of a lane.
 *
 * What they compute is what docs/graph.md says of the op; how well is in docs/native-math.md, function by function: below
 * 2 ulp wherever the result is a normal number. Branch-free: polynomials that a Remez exchange found for the very
 * interval (coefficients rounded from the lowest on, the others fitted again), choices by select. Only an argument of sin
 * or cos beyond 98304 leaves the straight line.
 *
 * Subnormal arguments are right where the processor honours them; a thread that flushes them (FTZ, DAZ) takes them for
 * zeros of their sign, and results below 2⁻¹²⁶ become zero.
 */

/** Shared pieces: multiply-add, choices that keep NaN, powers of two. */
const PIECES = String.raw`
#if OL_AVX512 || OL_AVX2 || OL_NEON || (OL_SSE && defined(__FMA__))
#define OL_FMA_FAST 1
#endif
#define OL_C(x) ol_splat_f(x)
// a·b + c, rounded once where that is one instruction, else twice: for sums that bear either.
#if OL_FMA_FAST
OL_FN olv ol_mad(olv a, olv b, olv c) { return ol_fma(a, b, c); }
#else
OL_FN olv ol_mad(olv a, olv b, olv c) { return a * b + c; }
#endif
// x within [low, high]; NaN stays (the instructions give the second operand where they do not compare).
OL_FN olv ol_at_least(olv x, float low) {
#if OL_AVX512
  return _mm512_max_ps(OL_C(low), x);
#elif OL_AVX2
  return _mm256_max_ps(OL_C(low), x);
#elif OL_SSE
  return _mm_max_ps(OL_C(low), x);
#else
  return ol_select_f(ol_lt_f(x, OL_C(low)), OL_C(low), x);
#endif
}
OL_FN olv ol_at_most(olv x, float high) {
#if OL_AVX512
  return _mm512_min_ps(OL_C(high), x);
#elif OL_AVX2
  return _mm256_min_ps(OL_C(high), x);
#elif OL_SSE
  return _mm_min_ps(OL_C(high), x);
#else
  return ol_select_f(ol_gt_f(x, OL_C(high)), OL_C(high), x);
#endif
}
OL_FN olu ol_sign_bit(olv x) { return (olu)x & 0x80000000u; }
OL_FN olv ol_xor_sign(olv x, olu sign) { return (olv)((olu)x ^ sign); }
OL_FN int ol_any_m(olm m) {
#if OL_AVX512
  return m != 0;
#elif OL_AVX2
  return _mm256_movemask_ps((__m256)m) != 0;
#elif OL_SSE
  return _mm_movemask_ps((__m128)m) != 0;
#else
  int32_t any = 0;
  for (int l = 0; l < OL_LANES; l++) any |= m[l];
  return any != 0;
#endif
}
// Added to a number below 2²¹ it rounds it to an integer, half to even, whose low bits are then those of the sum.
#define OL_MAGIC 0x1.8p23f
// 2ⁿ for n from −126 to 127, from OL_MAGIC + n + bias.
OL_FN olv ol_power_of_two(olv magic, int bias) { return (olv)(((olu)magic << 23) + ((127u - (uint32_t)bias) << 23)); }
// p·2ⁿ, n from −252 to 254, rounded once, from OL_MAGIC + n.
OL_FN olv ol_scale(olv p, olv magic) {
#if OL_AVX512
  return _mm512_scalef_ps(p, magic - OL_MAGIC);
#else
  olu half = (olu)magic >> 1;
  olv first = (olv)((half << 23) + 0x3f800000u), second = (olv)((((olu)magic - half) << 23) + 0x3f800000u);
  return p * first * second;
#endif
}
// (e^r − 1 − r)/r² for |r| ≤ ½·ln 2: e^r to 2⁻²⁸.
OL_FN olv ol_exp_tail(olv r) {
  olv q = ol_mad(OL_C(0.0013843762f), r, OL_C(0.00836955104f));
  q = ol_mad(q, r, OL_C(0.0416680612f));
  q = ol_mad(q, r, OL_C(0.166665137f));
  return ol_mad(q, r, OL_C(0.49999994f));
}
// x − n·ln 2 by two parts of ln 2, the first of 16 bits.
OL_FN olv ol_less_ln2(olv n, olv x) {
  return ol_mad(n, OL_C(-1.42860677e-06f), ol_mad(n, OL_C(-0.693145752f), x));
}
// 2^r for |r| ≤ ½, to 2⁻²⁵·⁵.
OL_FN olv ol_exp2_near(olv r) {
  olv q = ol_mad(OL_C(0.000155963819f), r, OL_C(0.00134072627f));
  q = ol_mad(q, r, OL_C(0.00961768534f));
  q = ol_mad(q, r, OL_C(0.055503089f));
  q = ol_mad(q, r, OL_C(0.240226522f));
  q = ol_mad(q, r, OL_C(0.693147242f));
  return ol_mad(q, r, OL_C(1));
}
`;

/** exp, expm1 and what is made of them. */
const EXPONENTIALS = String.raw`
// n = ⌊x/ln 2⌉, e^x = 2ⁿ·e^r.
OL_FN olv ol_exp(olv x) {
  x = ol_at_most(ol_at_least(x, -104), 89);
  olv magic = ol_mad(x, OL_C(1.44269502f), OL_C(OL_MAGIC));
  olv r = ol_less_ln2(magic - OL_MAGIC, x);
  return ol_scale(ol_mad(ol_mad(ol_exp_tail(r), r, OL_C(1)), r, OL_C(1)), magic);
}

// With q = e^r − 1: 2ⁿ·q + (2ⁿ − 1), in halves, as 2ⁿ may be 2¹²⁸.
OL_FN olv ol_expm1(olv x) {
  olv c = ol_at_most(ol_at_least(x, -18), 89);
  olv magic = ol_mad(c, OL_C(1.44269502f), OL_C(OL_MAGIC));
  olv r = ol_less_ln2(magic - OL_MAGIC, c);
  olv q = ol_mad(ol_exp_tail(r) * r, r, r);
  olv half = ol_power_of_two(magic, 1);
  olv y = ol_mad(q, half, half - 0.5f);
  // Nearer to 0 it is x, also where halves would be subnormal.
  return ol_select_f(ol_lt_f(ol_abs_f(x), OL_C(0x1p-25f)), x, y + y);
}

// 2⁻²⁴/(2⁻²⁴ + 2ⁿ⁻²⁴·e^r) with e^r·2ⁿ = e⁻ˣ: neither overflows, and one division rounds a subnormal result.
OL_FN olv ol_sigmoid(olv x) {
  x = ol_at_most(ol_at_least(x, -105), 40);
  olv magic = ol_mad(x, OL_C(-1.44269502f), OL_C(OL_MAGIC));
  olv r = ol_less_ln2(magic - OL_MAGIC, -x);
  olv q = ol_mad(ol_exp_tail(r) * r, r, r);
  olv scale = ol_power_of_two(magic, 24);
  return OL_C(0x1p-24f) / (scale + ol_mad(scale, q, OL_C(0x1p-24f)));
}

// An odd polynomial below 0.625; else 1 − 2/(e^2|x| + 1), of which the fraction is small, and so is its error.
OL_FN olv ol_tanh(olv x) {
  olv a = ol_abs_f(x), z = a * a;
  olv p = ol_mad(OL_C(-0.00571406027f), z, OL_C(0.0206480622f));
  p = ol_mad(p, z, OL_C(-0.0537427738f));
  p = ol_mad(p, z, OL_C(0.133314833f));
  p = ol_mad(p, z, OL_C(-0.333332837f));
  p = ol_mad(p * z, a, a);
  olv b = ol_at_most(a, 10), magic = ol_mad(b, OL_C(2.88539004f), OL_C(OL_MAGIC));
  olv e = ol_exp2_near(ol_mad(b, OL_C(2.88539004f), OL_MAGIC - magic));
  olv y = OL_C(1) - OL_C(2) / ol_mad(e, ol_power_of_two(magic, 0), OL_C(1));
  return ol_xor_sign(ol_select_f(ol_lt_f(a, OL_C(0.625f)), p, y), ol_sign_bit(x));
}

// |x| < 1: x + x·P(x²). Else 1 − 2^−Q(|x|), Q fitted to −log₂ erfc; at 4 that rounds to 1.
OL_FN olv ol_erf(olv x) {
  olv a = ol_abs_f(x), z = a * a;
  olv p = ol_mad(OL_C(7.92030332e-05f), z, OL_C(-0.000803075032f));
  p = ol_mad(p, z, OL_C(0.00519073335f));
  p = ol_mad(p, z, OL_C(-0.026855126f));
  p = ol_mad(p, z, OL_C(0.112836182f));
  p = ol_mad(p, z, OL_C(-0.376126289f));
  p = ol_mad(p, z, OL_C(0.128379166f));
  p = ol_mad(p, a, a);
  olv b = ol_at_most(a, 4);
  olv q = ol_mad(OL_C(-0.000268347125f), b, OL_C(0.00424708286f));
  q = ol_mad(q, b, OL_C(-0.0314829387f));
  q = ol_mad(q, b, OL_C(0.148702443f));
  q = ol_mad(q, b, OL_C(0.920706987f));
  q = ol_mad(q, b, OL_C(1.62600946f));
  q = ol_mad(q, b, OL_C(0.000502016454f));
  olv magic = OL_MAGIC - q;
  olv e = ol_exp2_near((OL_MAGIC - magic) - q);
  olv y = ol_mad(-e, ol_power_of_two(magic, 0), OL_C(1));
  return ol_xor_sign(ol_select_f(ol_lt_f(a, OL_C(1)), p, y), ol_sign_bit(x));
}
`;

/** log, log1p, rsqrt, pow. */
const LOGARITHMS = String.raw`
// log(2ᵉ·(1+f)) for f from −¼ to ½: (log(1+f) − f + f²/2)/f³ to 2⁻²⁷ of the logarithm, e·ln 2 by two parts.
OL_FN olv ol_log_sum(olv f, olv e) {
  olv p = ol_mad(OL_C(-0.0452199653f), f, OL_C(0.104829021f));
  p = ol_mad(p, f, OL_C(-0.131689861f));
  p = ol_mad(p, f, OL_C(0.144781291f));
  p = ol_mad(p, f, OL_C(-0.166465983f));
  p = ol_mad(p, f, OL_C(0.199907809f));
  p = ol_mad(p, f, OL_C(-0.250001103f));
  p = ol_mad(p, f, OL_C(0.333334506f));
  olv z = f * f;
  olv y = ol_mad(p * f, z, e * 1.42860677e-06f);
  y = f + ol_mad(OL_C(-0.5f), z, y);
  return ol_mad(e, OL_C(0.693145752f), y);
}

// x = 2ᵉ·m, m from ¾ to 1½, x > 0 and finite; *e as a number.
OL_FN olv ol_split(olv x, olv *e) {
#if OL_AVX512
  olv m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
  // The exponent of m is 0 or −1. Of 0 and infinity getexp gives −∞ and ∞, and their m is 1.
  *e = (olv)_mm512_getexp_ps(x) - (olv)_mm512_getexp_ps(m);
  return m;
#else
  olm tiny = ol_lt_f(x, OL_C(0x1p-126f));
  olu bits = (olu)ol_select_f(tiny, x * 0x1p23f, x);
  oli n = (oli)(bits - 0x3f400000u) >> 23;
  *e = __builtin_convertvector(n, olv) - ol_select_f(tiny, OL_C(23), OL_C(0));
  return (olv)(bits - ((olu)n << 23));
#endif
}

OL_FN olv ol_log(olv x) {
  olv e, m = ol_split(x, &e);
  olv y = ol_log_sum(m - 1.0f, e);
#if !OL_AVX512
  // Infinity and NaN are their own logarithm.
  y = ol_select_f(ol_lt_f(x, OL_C(__builtin_inff())), y, x);
  y = ol_select_f(ol_eq_f(x, OL_C(0)), OL_C(-__builtin_inff()), y);
#endif
  return ol_select_f(ol_lt_f(x, OL_C(0)), OL_C(__builtin_nanf("")), y);
}

// 1 + x = 2ᵉ·m; m − 1 is taken as x·2⁻ᵉ + (2⁻ᵉ − 1), where the rounding of 1 + x does not matter.
OL_FN olv ol_log1p(olv x) {
  olv u = x + 1.0f;
  olu n = ((olu)u - 0x3f400000u) & 0xff800000u;
  // x·2⁻ᵉ; x is not subnormal where e is not 0.
  olv scaled = (olv)((olu)x - n);
  olv f = scaled + ol_mad(OL_C(0.25f), (olv)(0x40800000u - n), OL_C(-1));
  // e = 0 also if x is a zero or so small that u is 1.
  f = ol_select_f(ol_eq_i((oli)n, ol_splat_i(0)), x, f);
  olv y = ol_log_sum(f, __builtin_convertvector((oli)n, olv) * 0x1p-23f);
  // Near 0, and for NaN and infinity, it is x.
  olu size = (olu)x & 0x7fffffffu;
  olm own = ol_ge_u(size - 0x33000000u, ol_splat_u(0x7f800000u - 0x33000000u));
  y = ol_select_f(own, x, y);
  y = ol_select_f(ol_eq_f(x, OL_C(-1)), OL_C(-__builtin_inff()), y);
  return ol_select_f(ol_lt_f(x, OL_C(-1)), OL_C(__builtin_nanf("")), y);
}

OL_FN olv ol_rsqrt(olv x) {
#if OL_AVX512
  // From 14 bits by one step of third order; at 0 and infinity the estimate is exact, and the step is NaN.
  olv y = _mm512_rsqrt14_ps(x), h = x * y;
  olv e = ol_fma(-h, y, OL_C(1));
  olv step = ol_fma(e, OL_C(0.375f), OL_C(0.5f)) * e;
  return ol_select_f(ol_isNan(e), y, ol_fma(y, step, y));
#else
  return OL_C(1) / ol_sqrt(x);
#endif
}

// a·b = product + *rest exactly, unless it over- or underflows.
OL_FN olv ol_product(olv a, olv b, olv *rest) {
  olv p = a * b;
#if OL_FMA_FAST
  *rest = ol_fma(a, b, -p);
#else
  // Dekker 1971: halves of 12 bits.
  olv ah = (olv)((olu)a & 0xfffff000u), bh = (olv)((olu)b & 0xfffff000u), al = a - ah, bl = b - bh;
  *rest = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
#endif
  return p;
}

/*
 * |x|^y = 2^(y·log₂|x|), the logarithm as a sum of two floats to about 2⁻³⁶ of it. With |x| = 2ᵉ·m, f = m − 1 and
 * s = f/(f + 2): log m = 2·(s + s³·(1/3 + s²·R(s²))); s, s² and all but s²·R carry a rest.
 */
OL_FN olv ol_pow(olv x, olv y) {
  const olv one = OL_C(1), none = OL_C(0), infinity = OL_C(__builtin_inff());
  olv a = ol_abs_f(x), e, m = ol_split(a, &e);
  olv f = m - 1.0f, g = m + 1.0f, g_rest = m - (g - 1.0f);
  olv inverse = one / g, s = f * inverse, s_rest;
  {
    olv rest, p = ol_product(s, g, &rest);
    s_rest = inverse * (((f - p) - rest) - s * g_rest);
  }
  olv z_rest, z = ol_product(s, s, &z_rest);
  z_rest = ol_mad(s + s, s_rest, z_rest);
  olv w = ol_mad(OL_C(0.0995891169f), z, OL_C(0.110778615f));
  w = ol_mad(w, z, OL_C(0.14286232f));
  w = ol_mad(w, z, OL_C(0.199999973f)) * z;
  olv t = w + 0.333333343f, t_rest = ((0.333333343f - t) + w) - 9.93410776e-09f;
  olv c_rest, c = ol_product(z, t, &c_rest);
  c_rest = ol_mad(z, t_rest, ol_mad(z_rest, t, c_rest));
  // l = s + s·c.
  olv d_rest, d = ol_product(s, c, &d_rest);
  d_rest = ol_mad(s, c_rest, ol_mad(s_rest, c, d_rest));
  olv l = s + d, l_rest = ((s - l) + d) + (d_rest + s_rest);
  // To base 2; 2/ln 2 has a rest, too.
  olv k_rest, k = ol_product(l, OL_C(2.88539004f), &k_rest);
  k_rest = ol_mad(l, OL_C(3.85192607e-08f), ol_mad(l_rest, OL_C(2.88539004f), k_rest));
  olv log = e + k, log_rest = ((e - log) + k) + k_rest;
  // Beyond ±200 the result is 0 or infinity; so it is at the poles of the logarithm.
  log = ol_select_f(ol_eq_f(a, none), -infinity, ol_select_f(ol_eq_f(a, infinity), infinity, log));
  olv q_rest, q = ol_product(y, log, &q_rest);
  q_rest = ol_mad(y, log_rest, q_rest);
  q_rest = ol_select_f(ol_lt_f(ol_abs_f(q), OL_C(200)), q_rest, none);
  q = ol_at_most(ol_at_least(q, -200), 200);
  olv magic = q + OL_MAGIC;
  olv r = (q - (magic - OL_MAGIC)) + q_rest;
  olv power = ol_scale(ol_exp2_near(r), magic);

  // An odd integer keeps the sign of x, a fraction of a negative number is none. From 2²⁴ on all are even.
  olv size = ol_abs_f(y);
  size = ol_select_f(ol_lt_f(size, OL_C(0x1p24f)), size, OL_C(0x1p24f));
  oli whole = __builtin_convertvector(size, oli);
  olu odd = (olu)whole << 31;
  olm fraction = ol_ne_f(__builtin_convertvector(whole, olv), size);
  power = ol_xor_sign(power, odd & ol_sign_bit(x) & ~(olu)ol_wide_m(fraction));
  olm undefined = ol_and_m(ol_and_m(fraction, ol_lt_f(x, none)), ol_lt_f(a, infinity));
  undefined = ol_or_m(undefined, ol_or_m(ol_isNan(x), ol_isNan(y)));
  power = ol_select_f(undefined, OL_C(__builtin_nanf("")), power);
  return ol_select_f(ol_eq_f(y, none), one, power);
}
`;

/** sin, cos, atan, atan2. */
const CIRCULAR = String.raw`
// sin r and cos r for |r| ≤ π/4.
OL_FN olv ol_sin_near(olv r, olv z) {
  olv p = ol_mad(OL_C(-0.000195067812f), z, OL_C(0.00833210163f));
  p = ol_mad(p, z, OL_C(-0.166666538f));
  return ol_mad(p * z, r, r);
}
OL_FN olv ol_cos_near(olv z) {
  olv p = ol_mad(OL_C(2.44306502e-05f), z, OL_C(-0.00138873013f));
  p = ol_mad(p, z, OL_C(0.0416666456f));
  return ol_mad(p * z, z, ol_mad(OL_C(-0.5f), z, OL_C(1)));
}

// a ≥ 2¹⁶ or NaN: a = π/2·(4k + quadrant) + r (Payne and Hanek 1983). Of a = M·2ᵉ only those 96 bits of 2/π count whose
// weight is from 2¹⁻ᵉ down; what is left out is below 2⁻⁶⁹ quarter turns.
static __attribute__((noinline)) float ol_reduce_far(float a, uint32_t *quadrant) {
  static const uint32_t bits[8] = {0u,          0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                   0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
  uint32_t word = ol_bits1(a);
  *quadrant = 0;
  if (word >= 0x7f800000u) return __builtin_nanf("");
  uint64_t mantissa = (word & 0x7fffffu) | 0x800000u;
  uint32_t first = (word >> 23) - 150u + 30u, at = first >> 5, shift = first & 31u;
  uint32_t w[3];
  for (uint32_t i = 0; i < 3; i++) {
    uint64_t two = ((uint64_t)bits[at + i] << 32) | bits[at + i + 1];
    w[i] = (uint32_t)(two >> (32u - shift));
  }
  uint64_t turns = ((mantissa * w[0]) << 32) + mantissa * w[1] + ((mantissa * w[2]) >> 32);
  *quadrant = (uint32_t)((turns + (1ull << 61)) >> 62);
  return (float)((double)(int64_t)(turns << 2) * (0x1p-64 * 1.5707963267948966));
}

// r with |r| ≤ π/4 (a little more) and the quadrant of a ≥ 0.
OL_FN olv ol_reduce(olv a, olu *quadrant) {
  olv magic = ol_mad(a, OL_C(0.636619772f), OL_C(OL_MAGIC));
  olv n = magic - OL_MAGIC, r;
#if OL_FMA_FAST
  // Cody and Waite: the first difference is exact.
  r = ol_fma(n, OL_C(-1.57079637f), a);
  r = ol_fma(n, OL_C(4.37113883e-08f), r);
  r = ol_fma(n, OL_C(1.71512451e-15f), r);
#else
  ol_doubles wide = __builtin_convertvector(n, ol_doubles);
  wide = (__builtin_convertvector(a, ol_doubles) - wide * 1.5707963267341256) - wide * 6.0771005065061922e-11;
  r = __builtin_convertvector(wide, olv);
#endif
  *quadrant = (olu)magic;
  olm far = ol_gt_f(a, OL_C(98304));
  if (__builtin_expect(ol_any_m(far), 0)) {
    float size[OL_LANES], rest[OL_LANES];
    uint32_t quarter[OL_LANES];
    memcpy(size, &a, sizeof a);
    memcpy(rest, &r, sizeof r);
    memcpy(quarter, quadrant, sizeof r);
    for (int l = 0; l < OL_LANES; l++)
      if (size[l] > 98304) rest[l] = ol_reduce_far(size[l], quarter + l);
    memcpy(&r, rest, sizeof r);
    memcpy(quadrant, quarter, sizeof r);
  }
  return r;
}

// The sine of the quadrant's angle: sin r, cos r, −sin r, −cos r.
OL_FN olv ol_of_quadrant(olv r, olu quadrant) {
  olv z = r * r;
  olm odd = ol_ne_u(quadrant & 1u, ol_splat_u(0));
  olv y = ol_select_f(odd, ol_cos_near(z), ol_sin_near(r, z));
  return ol_xor_sign(y, (quadrant & 2u) << 30);
}
OL_FN olv ol_sin(olv x) {
  olu quadrant;
  olv r = ol_reduce(ol_abs_f(x), &quadrant);
  return ol_xor_sign(ol_of_quadrant(r, quadrant), ol_sign_bit(x));
}
OL_FN olv ol_cos(olv x) {
  olu quadrant;
  olv r = ol_reduce(ol_abs_f(x), &quadrant);
  return ol_of_quadrant(r, quadrant + 1u);
}

// (atan t − t)/t for |t| ≤ 1, z = t².
OL_FN olv ol_atan_tail(olv z) {
  olv p = ol_mad(OL_C(-0.00178214512f), z, OL_C(0.0108662723f));
  p = ol_mad(p, z, OL_C(-0.0310935341f));
  p = ol_mad(p, z, OL_C(0.0578788705f));
  p = ol_mad(p, z, OL_C(-0.0839920789f));
  p = ol_mad(p, z, OL_C(0.109508611f));
  p = ol_mad(p, z, OL_C(-0.142640144f));
  p = ol_mad(p, z, OL_C(0.199985296f));
  p = ol_mad(p, z, OL_C(-0.333332986f));
  return p * z;
}
// Beyond 1: π/2 − atan 1/|x|.
OL_FN olv ol_atan(olv x) {
  olv a = ol_abs_f(x);
  olm far = ol_gt_f(a, OL_C(1));
  olv t = ol_select_f(far, OL_C(-1) / a, a);
  olv p = ol_atan_tail(t * t);
  // π/2 is 1.57079637 − 4.37e−8.
  olv y = ol_mad(p, t, ol_select_f(far, OL_C(-4.37113883e-08f), OL_C(0))) + t;
  return ol_xor_sign(ol_select_f(far, y + 1.57079637f, y), ol_sign_bit(x));
}
// The angle in the first octant from the lesser over the greater, then the octants.
OL_FN olv ol_atan2(olv y, olv x) {
  olv a = ol_abs_f(x), b = ol_abs_f(y);
  olm steep = ol_gt_f(b, a);
  olv low = ol_select_f(steep, a, b), high = ol_select_f(steep, b, a);
  olv t = low / high;
  // 0/0 is taken for 0, ∞/∞ for 1.
  t = ol_select_f(ol_eq_f(low, OL_C(0)), OL_C(0), ol_select_f(ol_eq_f(low, high), OL_C(1), t));
  olv angle = ol_mad(ol_atan_tail(t * t), t, t);
  angle = ol_select_f(steep, 1.57079637f - (angle + 4.37113883e-08f), angle);
  olm left = ol_lt_i((oli)x, ol_splat_i(0));
  angle = ol_select_f(left, 3.14159274f - (angle + 8.74227766e-08f), angle);
  angle = ol_select_f(ol_or_m(ol_isNan(x), ol_isNan(y)), x + y, angle);
  return ol_xor_sign(angle, ol_sign_bit(y));
}
`;

const UNARY_NAMES = ['exp', 'expm1', 'log', 'log1p', 'rsqrt', 'sin', 'cos', 'atan', 'tanh', 'sigmoid', 'erf'];
const BINARY_NAMES = ['pow', 'atan2'];

const SCALARS = [
  ...UNARY_NAMES.map((name) => `OL_FN float ol_${name}1(float x) { return ol_${name}(ol_splat_f(x))[0]; }\n`),
  ...BINARY_NAMES.map(
    (name) => `OL_FN float ol_${name}1(float x, float y) { return ol_${name}(ol_splat_f(x), ol_splat_f(y))[0]; }\n`,
  ),
].join('');

/** The whole text. The prelude comes before it. */
export const MATH = [PIECES, EXPONENTIALS, LOGARITHMS, CIRCULAR, SCALARS].join('');
