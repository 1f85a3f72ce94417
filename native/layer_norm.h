// layer_norm: (x - mean) / sqrt(variance + eps) · weight + bias over rows of `width`, float32 inside, rounded once.
//
// Sums run in WIDTH lanes along the row, the lanes in a fixed tree; the variance is that of the differences from the
// mean, in a second pass. A row's bits are its own.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <class T>
static void layer_norm_row(const T* x, const T* weight, const T* bias, T* out, int64_t width, float eps) {
    const int64_t whole = width / WIDTH * WIDTH, left = width - whole;
    const float count = static_cast<float>(width);
    Vec total = splat(0.0f);
    for (int64_t i = 0; i < whole; i += WIDTH) total = add(total, load(x + i));
    if (left) total = add(total, load_part(x + whole, left));
    const Vec mean = splat(sum(total) / count);

    Vec squares = splat(0.0f);
    for (int64_t i = 0; i < whole; i += WIDTH) {
        Vec v = sub(load(x + i), mean);
        squares = fma(v, v, squares);
    }
    float rest = 0.0f;  // lanes past the row's end would count as -mean
    for (int64_t i = whole; i < width; ++i) {
        float v = widen(x[i]) - sum(total) / count;
        rest += v * v;
    }
    const Vec scale = splat(1.0f / __builtin_sqrtf((sum(squares) + rest) / count + eps));

    auto normalise = [&](Vec v, Vec w, Vec b) INLINE_LAMBDA { return fma(mul(sub(v, mean), scale), w, b); };
    const Vec none = splat(0.0f);
    for (int64_t i = 0; i < whole; i += WIDTH)
        store(out + i, normalise(load(x + i), load(weight + i), bias ? load(bias + i) : none));
    if (left) {
        Vec b = bias ? load_part(bias + whole, left) : none;
        store_part(out + whole, normalise(load_part(x + whole, left), load_part(weight + whole, left), b), left);
    }
}

static void layer_norm(const QuireLayerNormCall* call) {
    with_dtype(call->dtype, [&](auto type) {
        using T = decltype(type);
        share(call->rows, call->width * 2, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; ++row)
                layer_norm_row(static_cast<const T*>(call->x) + row * call->width, static_cast<const T*>(call->weight),
                               static_cast<const T*>(call->bias), static_cast<T*>(call->out) + row * call->width,
                               call->width, call->eps);
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
