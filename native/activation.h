// activation: silu, gelu (tanh form) or relu of each number; gated, the first half of a row passes it and is
// multiplied by the second half. Float32 inside; the activated number is rounded to the type before the product.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <int KIND>
INLINE Vec activate(Vec x) {
    Vec zero = splat(0.0f), one = splat(1.0f);
    if constexpr (KIND == QUIRE_RELU) return max(zero, x);  // the second operand for NaN
    if constexpr (KIND == QUIRE_SILU) return div(x, add(one, exp(sub(zero, x))));
    Vec cubic = mul(mul(x, x), x);
    Vec inner = mul(splat(0.7978845608f), fma(splat(0.044715f), cubic, x));
    return mul(mul(splat(0.5f), x), add(one, tanh(inner)));
}

template <class T, int KIND>
static void activation_row(const T* x, const T* gated_by, T* out, int64_t width) {
    for (int64_t i = 0; i < width; i += WIDTH) {
        int64_t count = least(WIDTH, width - i);
        bool whole = count == WIDTH;
        Vec y = activate<KIND>(whole ? load(x + i) : load_part(x + i, count));
        if (gated_by) {
            T rounded[WIDTH];
            store(rounded, y);
            y = mul(load(rounded), whole ? load(gated_by + i) : load_part(gated_by + i, count));
        }
        if (whole) store(out + i, y);
        else store_part(out + i, y, count);
    }
}

template <class T, int KIND>
static void activation_rows(const T* x, T* out, int64_t rows, int64_t width, bool gated) {
    int64_t stride = gated ? 2 * width : width;
    share(rows, width / 2, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
            const T* from = x + row * stride;
            activation_row<T, KIND>(from, gated ? from + width : nullptr, out + row * width, width);
        }
    });
}

static void activation(int32_t dtype, const void* x, void* out, int64_t rows, int64_t width, int32_t kind,
                       int32_t gated) {
    with_dtype(dtype, [&](auto type) {
        using T = decltype(type);
        const T* from = static_cast<const T*>(x);
        T* to = static_cast<T*>(out);
        if (kind == QUIRE_SILU) activation_rows<T, QUIRE_SILU>(from, to, rows, width, gated);
        else if (kind == QUIRE_GELU_TANH) activation_rows<T, QUIRE_GELU_TANH>(from, to, rows, width, gated);
        else activation_rows<T, QUIRE_RELU>(from, to, rows, width, gated);
    });
}

}  // namespace quire::QUIRE_NAMESPACE
