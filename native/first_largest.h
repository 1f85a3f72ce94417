// first_largest: each row's largest number and the lowest place that has it, by comparisons alone. A row that holds a
// NaN gives NaN and the first NaN's place.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t SEARCH_BLOCK = 1024;  // the largest is looked for again in one block only

template <class T>
static void first_largest_row(const T* x, int64_t width, float* value, int64_t* place) {
    float best = -__builtin_inff();
    int64_t best_block = 0;
    Vec nans = splat(0.0f);
    for (int64_t start = 0; start < width; start += SEARCH_BLOCK) {
        const int64_t end = least(width, start + SEARCH_BLOCK);
        Vec lanes = splat(-__builtin_inff());
        int64_t i = start;
        for (; i + WIDTH <= end; i += WIDTH) {
            Vec v = load(x + i);
            lanes = max(v, lanes);
            nans = keep_nan(v, nans);
        }
        float block_best = highest(lanes);
        for (; i < end; ++i) {
            float v = widen(x[i]);
            if (v > block_best) block_best = v;
            if (v != v) nans = splat(v);
        }
        if (block_best > best) best = block_best, best_block = start;
    }
    const float nan = sum(nans);
    int64_t i = nan != nan ? 0 : best_block;
    for (; i < width; ++i) {
        float v = widen(x[i]);
        if (nan != nan ? v != v : v == best) break;
    }
    *value = widen(x[i]);
    *place = i;
}

static void first_largest(const QuireFirstLargestCall* call) {
    with_dtype(call->dtype, [&](auto type) {
        using T = decltype(type);
        const T* x = static_cast<const T*>(call->x);
        share(call->rows, call->width / 8, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; ++row)
                first_largest_row(x + row_place(call->index, row) * call->row_stride, call->width, call->values + row,
                                  call->places + row);
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
