// Vectors of one float: the readable reference of the other instruction sets, and the path of any CPU.
#pragma once

namespace quire::QUIRE_NAMESPACE {

constexpr int WIDTH = 1;
constexpr int MAX_ROWS = 4;  // rows a linear tile computes at once
constexpr bool HAS_PAIR_DOT = false;

using Vec = float;

INLINE Vec splat(float x) { return x; }
template <class T>
INLINE Vec load(const T* from) {
    return widen(*from);
}
template <class T>
INLINE void store(T* to, Vec x) {
    narrow(x, to);
}
// Pairs of bfloat16 side by side.
INLINE void store_pairs(uint32_t* to, Vec even, Vec odd) {
    bf16 pair[2];
    narrow(even, pair);
    narrow(odd, pair + 1);
    memcpy(to, pair, sizeof pair);
}
INLINE Vec load_even(const uint32_t* pairs) { return __builtin_bit_cast(float, *pairs << 16); }
INLINE Vec load_odd(const uint32_t* pairs) { return __builtin_bit_cast(float, *pairs & 0xffff0000u); }

INLINE Vec add(Vec a, Vec b) { return a + b; }
INLINE Vec sub(Vec a, Vec b) { return a - b; }
INLINE Vec mul(Vec a, Vec b) { return a * b; }
INLINE Vec div(Vec a, Vec b) { return a / b; }
INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
INLINE Vec round(Vec x) { return __builtin_rintf(x); }
INLINE Vec scale_by_power_of_two(Vec x, Vec n) { return __builtin_ldexpf(x, static_cast<int>(n)); }
INLINE Vec zero_below(Vec x, float limit, Vec y) { return x < limit ? 0.0f : y; }
INLINE Vec keep_nan(Vec x, Vec y) { return x != x ? x : y; }
INLINE float sum(Vec x) { return x; }

using Whole = int32_t;

INLINE Whole splat_whole(int32_t x) { return x; }
INLINE Whole load_whole(const int32_t* from) { return *from; }
INLINE Whole count_from(int32_t first) { return first; }
INLINE Whole add(Whole a, Whole b) { return a + b; }
INLINE int32_t sum(Whole x) { return x; }
INLINE Whole truncate(Vec x) { return static_cast<int32_t>(x); }
INLINE Vec to_floats(Whole x) { return static_cast<float>(x); }
// Bit i says that low <= x[i] < high.
INLINE uint32_t within(Vec x, float low, float high) { return x >= low && x < high; }
// Writes the elements whose bits are set one after the other, and perhaps others up to WIDTH; says how many they are.
INLINE int64_t pick_out(uint32_t bits, Vec x, Whole ids, float* to, int32_t* to_ids) {
    *to = x;
    *to_ids = ids;
    return bits;
}

INLINE float highest(Vec x) { return x; }
INLINE Vec sums(const Vec* x) { return x[0]; }

}  // namespace quire::QUIRE_NAMESPACE
