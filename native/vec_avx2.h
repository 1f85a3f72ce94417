// Vectors of eight floats, AVX2 with FMA and F16C.
#pragma once

namespace quire::QUIRE_NAMESPACE {

constexpr int WIDTH = 8;
constexpr int MAX_ROWS = 3;  // 3 rows x 4 vectors of accumulators of the 16 registers
constexpr bool HAS_PAIR_DOT = false;

using Vec = __m256;

INLINE Vec splat(float x) { return _mm256_set1_ps(x); }
INLINE __m256i load_16_bits(const void* from) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(from)));
}
INLINE Vec load(const float* from) { return _mm256_loadu_ps(from); }
INLINE Vec load(const f16* from) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }
INLINE Vec load(const bf16* from) { return _mm256_castsi256_ps(_mm256_slli_epi32(load_16_bits(from), 16)); }
INLINE Vec load_even(const uint32_t* pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs)), 16));
}
INLINE Vec load_odd(const uint32_t* pairs) {
    __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs));
    return _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
INLINE void store(float* to, Vec x) { _mm256_storeu_ps(to, x); }
INLINE void store(f16* to, Vec x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
INLINE void store(bf16* to, Vec x) {
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    __m256i kept = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, nan, is_nan), 16);
    __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(kept), _mm256_extracti128_si256(kept, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
}
INLINE void store_pairs(uint32_t* to, Vec even, Vec odd) {
    bf16 halves[2][WIDTH];
    store(halves[0], even);
    store(halves[1], odd);
    __m256i pairs = _mm256_or_si256(load_16_bits(halves[0]), _mm256_slli_epi32(load_16_bits(halves[1]), 16));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), pairs);
}

INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
INLINE Vec round(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE Vec scale_by_power_of_two(Vec x, Vec n) {  // in two halves: 2^n alone may be out of range
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i bias = _mm256_set1_epi32(127);
    Vec first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256i rest = _mm256_sub_epi32(whole, half);
    Vec second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return mul(mul(x, first), second);
}
INLINE Vec zero_below(Vec x, float limit, Vec y) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, splat(limit), _CMP_LT_OQ), y);
}
INLINE Vec keep_nan(Vec x, Vec y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q)); }

using Whole = __m256i;

INLINE Whole splat_whole(int32_t x) { return _mm256_set1_epi32(x); }
INLINE Whole load_whole(const int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
INLINE Whole add(Whole a, Whole b) { return _mm256_add_epi32(a, b); }
INLINE Whole count_from(int32_t first) { return add(splat_whole(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
INLINE int32_t sum(Whole x) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
INLINE Whole truncate(Vec x) { return _mm256_cvttps_epi32(x); }
INLINE Vec to_floats(Whole x) { return _mm256_cvtepi32_ps(x); }
INLINE uint32_t within(Vec x, float low, float high) {
    __m256 inside = _mm256_and_ps(_mm256_cmp_ps(x, splat(low), _CMP_GE_OQ), _mm256_cmp_ps(x, splat(high), _CMP_LT_OQ));
    return static_cast<uint32_t>(_mm256_movemask_ps(inside));
}
INLINE int64_t pick_out(uint32_t bits, Vec x, Whole ids, float* to, int32_t* to_ids) {
    float values[WIDTH];
    int32_t numbers[WIDTH];
    store(values, x);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(numbers), ids);
    int64_t count = 0;
    for (; bits; bits &= bits - 1, ++count) {
        to[count] = values[__builtin_ctz(bits)];
        to_ids[count] = numbers[__builtin_ctz(bits)];
    }
    return count;
}
INLINE float highest(Vec x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

// Element i is the sum of x[i]'s elements, each added up in the same tree.
INLINE Vec sums(const Vec* x) {
    Vec a = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    Vec b = _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
    return add(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}
INLINE float sum(Vec x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

}  // namespace quire::QUIRE_NAMESPACE
