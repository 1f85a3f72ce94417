// rms_norm: x / sqrt(mean(x²) + eps) · (weight + offset) over the last dimension, float32 inside.
//
// `rows` groups lie `row_stride` apart, each of `inner` contiguous vectors of `width`. Squares are added up in WIDTH
// lanes along the vector, the lanes in a fixed tree: a row's bits are its own. With offset 0 the normalised row is
// rounded to the type before it is multiplied, as Llama does.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <class T>
static void rms_norm_row(const T* x, const T* weight, T* out, int64_t width, float eps, float offset) {
    Vec squares = splat(0.0f);
    int64_t i = 0;
    for (; i + WIDTH <= width; i += WIDTH) {
        Vec v = load(x + i);
        squares = fma(v, v, squares);
    }
    if (i < width) {
        Vec v = load_part(x + i, width - i);
        squares = fma(v, v, squares);
    }
    Vec scale = splat(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(width) + eps));
    auto normalise = [&](Vec v, Vec w) INLINE_LAMBDA {
        v = mul(v, scale);
        if (offset != 0.0f) return mul(v, add(w, splat(offset)));
        T rounded[WIDTH];
        store(rounded, v);
        return mul(load(rounded), w);
    };
    for (i = 0; i + WIDTH <= width; i += WIDTH) store(out + i, normalise(load(x + i), load(weight + i)));
    if (i < width) {
        int64_t left = width - i;
        store_part(out + i, normalise(load_part(x + i, left), load_part(weight + i, left)), left);
    }
}

template <class T>
static void rms_norm_typed(const QuireRmsNormCall& call) {
    const T *x = static_cast<const T*>(call.x), *weight = static_cast<const T*>(call.weight);
    T* out = static_cast<T*>(call.out);
    share(call.rows, call.inner * call.width * 2, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row)
            for (int64_t i = 0; i < call.inner; ++i)
                rms_norm_row(x + row * call.row_stride + i * call.width, weight,
                             out + (row * call.inner + i) * call.width, call.width, call.eps, call.offset);
    });
}

static void rms_norm(const QuireRmsNormCall* call) {
    with_dtype(call->dtype, [&](auto type) { rms_norm_typed<decltype(type)>(*call); });
}

}  // namespace quire::QUIRE_NAMESPACE
