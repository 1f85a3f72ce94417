// rope: turns the pairs (x[i], x[i + half]) of each head by the token's angles; numbers past 2·half stay as they are.
//
// x (tokens, heads, head_dim) with `token_stride` between tokens, out contiguous; cos and sin (tokens, half) in x's
// type. Products and their difference are float32, rounded once.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <class T>
static void rope_head(const T* x, const T* cos, const T* sin, T* out, int64_t head_dim, int64_t half) {
    for (int64_t i = 0; i < half; i += WIDTH) {
        int64_t count = least(WIDTH, half - i);
        bool whole = count == WIDTH;
        Vec c = whole ? load(cos + i) : load_part(cos + i, count);
        Vec s = whole ? load(sin + i) : load_part(sin + i, count);
        Vec left = whole ? load(x + i) : load_part(x + i, count);
        Vec right = whole ? load(x + half + i) : load_part(x + half + i, count);
        Vec turned_left = sub(mul(left, c), mul(right, s)), turned_right = add(mul(right, c), mul(left, s));
        if (whole) {
            store(out + i, turned_left);
            store(out + half + i, turned_right);
        } else {
            store_part(out + i, turned_left, count);
            store_part(out + half + i, turned_right, count);
        }
    }
    memcpy(out + 2 * half, x + 2 * half, static_cast<size_t>(head_dim - 2 * half) * sizeof(T));
}

static void rope(const QuireRopeCall* call) {
    const int64_t heads = call->heads, head_dim = call->head_dim, half = call->half;
    with_dtype(call->dtype, [&](auto type) {
        using T = decltype(type);
        share(call->rows, heads * head_dim, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; ++t)
                for (int64_t h = 0; h < heads; ++h)
                    rope_head(static_cast<const T*>(call->x) + t * call->token_stride + h * head_dim,
                              static_cast<const T*>(call->cos) + t * half, static_cast<const T*>(call->sin) + t * half,
                              static_cast<T*>(call->out) + (t * heads + h) * head_dim, head_dim, half);
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
