// Vectors of sixteen floats, AVX-512; level 3 adds the dot product of bfloat16 pairs.
#pragma once

namespace quire::QUIRE_NAMESPACE {

constexpr int WIDTH = 16;
constexpr int MAX_ROWS = 12;  // 12 rows x 2 vectors of accumulators of the 32 registers
constexpr bool HAS_PAIR_DOT = QUIRE_LEVEL >= 3;

using Vec = __m512;

INLINE Vec splat(float x) { return _mm512_set1_ps(x); }
INLINE __m512i load_16_bits(const void* from) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(from))); }
INLINE Vec load(const float* from) { return _mm512_loadu_ps(from); }
INLINE Vec load(const f16* from) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))); }
INLINE Vec load(const bf16* from) { return _mm512_castsi512_ps(_mm512_slli_epi32(load_16_bits(from), 16)); }
INLINE Vec load_even(const uint32_t* pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(pairs), 16)); }
INLINE Vec load_odd(const uint32_t* pairs) {
    __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(pairs), high));
}
INLINE void store(float* to, Vec x) { _mm512_storeu_ps(to, x); }
INLINE void store(f16* to, Vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
#if QUIRE_LEVEL >= 3
// Numbers too small for a normal float become zero, as they are to this set's products.
INLINE void store(bf16* to, Vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(x));
}
#else
INLINE void store(bf16* to, Vec x) {
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
#endif
INLINE void store_pairs(uint32_t* to, Vec even, Vec odd) {
    bf16 halves[2][WIDTH];
    store(halves[0], even);
    store(halves[1], odd);
    _mm512_storeu_si512(to, _mm512_or_si512(load_16_bits(halves[0]), _mm512_slli_epi32(load_16_bits(halves[1]), 16)));
}

INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
INLINE Vec round(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE Vec scale_by_power_of_two(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }
INLINE Vec zero_below(Vec x, float limit, Vec y) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, splat(limit), _CMP_NLT_UQ), y);
}
INLINE Vec keep_nan(Vec x, Vec y) { return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x); }
INLINE float sum(Vec x) { return _mm512_reduce_add_ps(x); }
INLINE float highest(Vec x) { return _mm512_reduce_max_ps(x); }

using Whole = __m512i;

INLINE Whole splat_whole(int32_t x) { return _mm512_set1_epi32(x); }
INLINE Whole load_whole(const int32_t* from) { return _mm512_loadu_si512(from); }
INLINE Whole add(Whole a, Whole b) { return _mm512_add_epi32(a, b); }
INLINE Whole count_from(int32_t first) {
    return add(splat_whole(first), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
INLINE int32_t sum(Whole x) { return _mm512_reduce_add_epi32(x); }
INLINE Whole truncate(Vec x) { return _mm512_cvttps_epi32(x); }
INLINE Vec to_floats(Whole x) { return _mm512_cvtepi32_ps(x); }
INLINE uint32_t within(Vec x, float low, float high) {
    __mmask16 from_low = _mm512_cmp_ps_mask(x, splat(low), _CMP_GE_OQ);
    return _mm512_mask_cmp_ps_mask(from_low, x, splat(high), _CMP_LT_OQ);
}
INLINE int64_t pick_out(uint32_t bits, Vec x, Whole ids, float* to, int32_t* to_ids) {
    const auto mask = static_cast<__mmask16>(bits);  // whole vectors are stored: some processors store parts slowly
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(mask, x));
    _mm512_storeu_si512(to_ids, _mm512_maskz_compress_epi32(mask, ids));
    return __builtin_popcount(bits);
}

#if QUIRE_LEVEL >= 3
// accumulator + even·even + odd·odd of 16 bfloat16 pairs against one pair.
INLINE Vec pair_dot(Vec accumulator, __m512i pairs, uint32_t pair) {
    return _mm512_dpbf16_ps(accumulator, (__m512bh)pairs, (__m512bh)_mm512_set1_epi32(static_cast<int>(pair)));
}
#endif

// Element i is the sum of x[i]'s elements, each added up in the same tree.
INLINE Vec sums(const Vec* x) {
    Vec four[4];  // of x[4i .. 4i+3]: within each 128-bit lane, one sum of four elements for each of them
    UNROLL for (int i = 0; i < 4; ++i) {
        const Vec *a = x + 4 * i;
        Vec low = add(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
        Vec high = add(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
        four[i] = add(_mm512_shuffle_ps(low, high, _MM_SHUFFLE(1, 0, 1, 0)),
                      _mm512_shuffle_ps(low, high, _MM_SHUFFLE(3, 2, 3, 2)));
    }
    Vec a = add(_mm512_shuffle_f32x4(four[0], four[1], _MM_SHUFFLE(1, 0, 1, 0)),
                _mm512_shuffle_f32x4(four[0], four[1], _MM_SHUFFLE(3, 2, 3, 2)));
    Vec b = add(_mm512_shuffle_f32x4(four[2], four[3], _MM_SHUFFLE(1, 0, 1, 0)),
                _mm512_shuffle_f32x4(four[2], four[3], _MM_SHUFFLE(3, 2, 3, 2)));
    return add(_mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(2, 0, 2, 0)), _mm512_shuffle_f32x4(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
}

}  // namespace quire::QUIRE_NAMESPACE
