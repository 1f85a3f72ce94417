// One vocabulary of vectors of floats for every instruction set; kernels are written once over it.
//
// This header is compiled once per instruction set, into a namespace of its own. Nothing here or in a kernel may
// call inline functions of the C++ library: the linker would keep one copy of them, perhaps one that needs
// instructions the machine lacks.
//
//   QUIRE_LEVEL   0 scalar   1 avx2 (+fma, f16c)   2 avx512 (f, bw, vl, dq)   3 avx512_bf16 (+bf16, vnni)   4 amx (+tiles)
#pragma once

#include <stdint.h>
#include <string.h>

#if QUIRE_LEVEL > 0
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define INLINE_LAMBDA __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

namespace quire::QUIRE_NAMESPACE {

struct bf16 {
    uint16_t bits;
};
using f16 = _Float16;

template <bool, class A, class B>
struct Either {
    using Type = A;
};
template <class A, class B>
struct Either<false, A, B> {
    using Type = B;
};

INLINE float widen(float x) { return x; }
INLINE float widen(f16 x) { return static_cast<float>(x); }
INLINE float widen(bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }

INLINE void narrow(float x, float* to) { *to = x; }
INLINE void narrow(float x, f16* to) { *to = static_cast<f16>(x); }
INLINE void narrow(float x, bf16* to) {
    uint32_t bits = __builtin_bit_cast(uint32_t, x);
    if (x != x) {
        to->bits = static_cast<uint16_t>((bits >> 16) | 0x40);  // stays a NaN
    } else {
        to->bits = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // nearest, ties to even
    }
}

}  // namespace quire::QUIRE_NAMESPACE

#if QUIRE_LEVEL >= 2
#include "vec_avx512.h"
#elif QUIRE_LEVEL == 1
#include "vec_avx2.h"
#else
#include "vec_scalar.h"
#endif

namespace quire::QUIRE_NAMESPACE {

// The first `count` of WIDTH elements; the others read as zero and are not written.
template <class T>
INLINE Vec load_part(const T* from, int64_t count) {
    T padded[WIDTH] = {};
    memcpy(padded, from, static_cast<size_t>(count) * sizeof(T));
    return load(padded);
}

template <class T>
INLINE void store_part(T* to, Vec x, int64_t count) {
    T padded[WIDTH];
    store(padded, x);
    memcpy(to, padded, static_cast<size_t>(count) * sizeof(T));
}

// Calls body with a value of the C++ type that a QuireDtype names.
template <class F>
INLINE void with_dtype(int32_t dtype, const F& body) {
    if (dtype == 1) body(bf16{});
    else if (dtype == 2) body(f16{});
    else body(float{});
}

// e^x to about 1 unit in the last place: x = n·ln 2 + r, a polynomial for e^r, scaled by 2^n. Exactly 1 at 0,
// exactly 0 below -87, infinite above 89, NaN for NaN.
INLINE Vec exp(Vec x) {
    Vec bounded = min(max(x, splat(-87.5f)), splat(89.0f));  // min and max give their second operand for NaN
    Vec n = round(mul(bounded, splat(1.44269504f)));
    Vec r = fma(n, splat(-0.693359375f), bounded);
    r = fma(n, splat(2.12194440e-4f), r);
    Vec p = splat(1.9875691500e-4f);
    p = fma(p, r, splat(1.3981999507e-3f));
    p = fma(p, r, splat(8.3334519073e-3f));
    p = fma(p, r, splat(4.1665795894e-2f));
    p = fma(p, r, splat(1.6666665459e-1f));
    p = fma(p, r, splat(5.0000001201e-1f));
    p = fma(mul(p, r), r, add(r, splat(1.0f)));
    return keep_nan(x, zero_below(x, -87.0f, scale_by_power_of_two(p, n)));
}

INLINE Vec tanh(Vec x) {
    Vec twice = exp(add(x, x));
    return sub(splat(1.0f), div(splat(2.0f), add(twice, splat(1.0f))));
}

}  // namespace quire::QUIRE_NAMESPACE
