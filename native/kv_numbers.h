// The types a KV cache holds its numbers in, and how a step's keys and values are rounded to them.
//
//   int8   round(x · 127 / max|x|), ties to even; with a scale max|x| / 127 for each token and head
//   e4m3   8 bits of floating point up to 448, no infinities; with such a scale (max|x| / 448) or, without, as it is
//   e5m2   8 bits of floating point up to 57344; as it is
//
// What lies beyond the largest number becomes the largest number. A head that holds a NaN or an infinity gets the
// scale NaN, or a NaN in its place where there is no scale.
#pragma once

#include "api.h"
#include "vec.h"

namespace quire::QUIRE_NAMESPACE {

struct i8 {
    int8_t bits;
};
struct e4m3 {
    uint8_t bits;
};
struct e5m2 {
    uint8_t bits;
};

// A number of e4m3 is 2^8 times the float16 with its bits in the same places.
INLINE uint16_t as_float16(e4m3 x) {
    uint16_t half = static_cast<uint16_t>((x.bits & 0x80) << 8 | (x.bits & 0x7f) << 7);
    return (x.bits & 0x7f) == 0x7f ? half | 0x7c00 : half;
}

INLINE float widen(i8 x) { return x.bits; }
INLINE float widen(e4m3 x) { return 256.0f * widen(__builtin_bit_cast(f16, as_float16(x))); }
INLINE float widen(e5m2 x) { return widen(__builtin_bit_cast(f16, static_cast<uint16_t>(x.bits << 8))); }

#if QUIRE_LEVEL >= 2
INLINE __m128i load_16_bytes(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
INLINE Vec load(const i8* from) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16_bytes(from))); }
INLINE Vec load(const e5m2* from) {
    return _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(load_16_bytes(from)), 8));
}
INLINE Vec load(const e4m3* from) {
    __m256i bytes = _mm256_cvtepi8_epi16(load_16_bytes(from)), most = _mm256_set1_epi16(0x7f);
    __m256i number = _mm256_and_si256(bytes, most), nan = _mm256_cmpeq_epi16(number, most);
    __m256i half = _mm256_or_si256(_mm256_and_si256(bytes, _mm256_set1_epi16(-0x8000)), _mm256_slli_epi16(number, 7));
    half = _mm256_or_si256(half, _mm256_and_si256(nan, _mm256_set1_epi16(0x7c00)));
    return mul(_mm512_cvtph_ps(half), splat(256.0f));
}
#elif QUIRE_LEVEL == 1
INLINE __m128i load_8_bytes(const void* from) { return _mm_loadl_epi64(static_cast<const __m128i*>(from)); }
INLINE Vec load(const i8* from) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8_bytes(from))); }
INLINE Vec load(const e5m2* from) {
    return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(load_8_bytes(from)), 8));
}
INLINE Vec load(const e4m3* from) {
    __m128i bytes = _mm_cvtepi8_epi16(load_8_bytes(from)), most = _mm_set1_epi16(0x7f);
    __m128i number = _mm_and_si128(bytes, most), nan = _mm_cmpeq_epi16(number, most);
    __m128i half = _mm_or_si128(_mm_and_si128(bytes, _mm_set1_epi16(-0x8000)), _mm_slli_epi16(number, 7));
    half = _mm_or_si128(half, _mm_and_si128(nan, _mm_set1_epi16(0x7c00)));
    return mul(_mm256_cvtph_ps(half), splat(256.0f));
}
#endif

// Nearest number of MANTISSA bits, ties to even; no branch, so that a loop of it becomes vectors. SMALLEST is the
// bias of the exponent: 2^(1 - SMALLEST) is the least normal number.
template <int MANTISSA, int SMALLEST>
INLINE uint8_t to_8_bits(float x, float largest) {
    constexpr int SHIFT = 23 - MANTISSA;
    const uint32_t bits = __builtin_bit_cast(uint32_t, x);
    float magnitude = __builtin_bit_cast(float, bits & 0x7fffffffu);
    magnitude = magnitude > largest ? largest : magnitude;  // a NaN stays
    const uint32_t wide = __builtin_bit_cast(uint32_t, magnitude);
    const uint32_t normal = ((wide + (1u << (SHIFT - 1)) - 1 + (wide >> SHIFT & 1)) >> SHIFT) - ((127 - SMALLEST) << MANTISSA);
    // the least numbers are whole multiples of 2^(1 - SMALLEST - MANTISSA), the unit in the last place of 2^23 times it
    const float units = __builtin_bit_cast(float, static_cast<uint32_t>(1 - SMALLEST - MANTISSA + 23 + 127) << 23);
    const uint32_t least = __builtin_bit_cast(uint32_t, magnitude + units) - __builtin_bit_cast(uint32_t, units);
    const uint32_t is_normal = wide >= static_cast<uint32_t>(128 - SMALLEST) << 23;
    const uint32_t number = is_normal ? normal : least;
    return static_cast<uint8_t>((bits >> 24 & 0x80) | (magnitude != magnitude ? 0x7fu : number));
}
INLINE void narrow(float x, e4m3* to) { to->bits = to_8_bits<3, 7>(x, 448.0f); }
INLINE void narrow(float x, e5m2* to) { to->bits = to_8_bits<2, 15>(x, 57344.0f); }
// x is a whole number of at most 127 but for rounding; adding 1.5 · 2^23 leaves it in the low bits
INLINE void narrow(float x, i8* to) {
    to->bits = static_cast<int8_t>(__builtin_bit_cast(uint32_t, x + 12582912.0f) & 0xff);
}

// Calls body with a value of the C++ type that a QuireDtype of a cache names.
template <class F>
INLINE void with_cache_dtype(int32_t dtype, const F& body) {
    if (dtype == QUIRE_INT8) body(i8{});
    else if (dtype == QUIRE_E4M3) body(e4m3{});
    else if (dtype == QUIRE_E5M2) body(e5m2{});
    else with_dtype(dtype, body);
}

}  // namespace quire::QUIRE_NAMESPACE
