// combine_experts: out[t] = sum over c of weights[t][c] · x[t][c], in float32 from the first c to the last, a product and
// a sum each, rounded once.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <class T>
static void combine_row(const T* x, const float* weights, T* out, int64_t count, int64_t width) {
    for (int64_t i = 0; i < width; i += WIDTH) {
        const int64_t left = width - i;
        Vec total = splat(0.0f);
        for (int64_t c = 0; c < count; ++c) {
            const T* from = x + c * width + i;
            total = add(total, mul(splat(weights[c]), left >= WIDTH ? load(from) : load_part(from, left)));
        }
        if (left >= WIDTH) store(out + i, total);
        else store_part(out + i, total, left);
    }
}

static void combine_experts(const QuireCombineExpertsCall* call) {
    with_dtype(call->dtype, [&](auto type) {
        using T = decltype(type);
        const int64_t count = call->count, width = call->width;
        share(call->rows, count * width / 8, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; ++row)
                combine_row(static_cast<const T*>(call->x) + row * count * width, call->weights + row * count,
                            static_cast<T*>(call->out) + row * width, count, width);
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
