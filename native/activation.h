// activation: silu, gelu (either form), relu or tanh of each number; gated, the first half of a row passes it and is
// multiplied by the second half. Float32 inside; the activated number is rounded to the type before the product.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <int KIND>
INLINE Vec activate(Vec x) {
    Vec zero = splat(0.0f), one = splat(1.0f);
    if constexpr (KIND == QUIRE_TANH) return tanh(x);
    if constexpr (KIND == QUIRE_RELU) return max(zero, x);  // the second operand for NaN
    if constexpr (KIND == QUIRE_SILU) return div(x, add(one, exp(sub(zero, x))));
    if constexpr (KIND == QUIRE_GELU_ERF) {
        // x · Φ(x) = max(x, 0) - |x| · (1 - Φ(|x|)); the tail is Abramowitz and Stegun's 7.1.26, to 1e-7
        Vec size = max(sub(zero, x), x), z = mul(size, splat(0.70710678f));
        Vec t = div(one, fma(z, splat(0.3275911f), one));
        Vec p = fma(t, splat(1.061405429f), splat(-1.453152027f));
        p = fma(p, t, splat(1.421413741f));
        p = fma(p, t, splat(-0.284496736f));
        p = mul(fma(p, t, splat(0.254829592f)), t);
        Vec tail = mul(mul(splat(0.5f), p), exp(sub(zero, mul(z, z))));
        return sub(max(zero, x), mul(size, tail));
    }
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
static void activation_rows(const QuireActivationCall& call) {
    const int64_t width = call.width, stride = call.gated ? 2 * width : width;
    const T* x = static_cast<const T*>(call.x);
    T* out = static_cast<T*>(call.out);
    share(call.rows, width * 3, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
            const T* from = x + row * stride;
            activation_row<T, KIND>(from, call.gated ? from + width : nullptr, out + row * width, width);
        }
    });
}

static void activation(const QuireActivationCall* call) {
    with_dtype(call->dtype, [&](auto type) {
        using T = decltype(type);
        if (call->kind == QUIRE_SILU) activation_rows<T, QUIRE_SILU>(*call);
        else if (call->kind == QUIRE_GELU_TANH) activation_rows<T, QUIRE_GELU_TANH>(*call);
        else if (call->kind == QUIRE_GELU_ERF) activation_rows<T, QUIRE_GELU_ERF>(*call);
        else if (call->kind == QUIRE_TANH) activation_rows<T, QUIRE_TANH>(*call);
        else activation_rows<T, QUIRE_RELU>(*call);
    });
}

}  // namespace quire::QUIRE_NAMESPACE
