// linear_top: the highest results of each row and where they stand, without writing the rows out.
//
// Panels are multiplied a strip at a time, by linear's own kernels, into a buffer that stays in the cache. So a value has the
// bits that linear gives in float32. Higher comes first, the lower output of equals, and NaN before all numbers.
#pragma once

#include "linear.h"
#include "linear_int8.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t STRIP_PANELS = 8;
constexpr int64_t STRIP = STRIP_PANELS * PANEL;

struct Candidate {
    float value;
    int64_t output;
};

INLINE bool is_higher(float a, float b) { return a > b || (a != a && b == b); }

// The best candidates so far, `held` of at most `count`, in order. Candidates are offered with rising outputs.
struct Best {
    Candidate* best;
    int64_t count, held;

    void offer(float value, int64_t output) {
        if (held == count && !is_higher(value, best[count - 1].value)) return;
        int64_t place = held < count ? held++ : count - 1;
        for (; place > 0 && is_higher(value, best[place - 1].value); --place) best[place] = best[place - 1];
        best[place] = {value, output};
    }
};

// The best of one row of a strip into `to`; places that stay empty get the output -1.
static void best_of_strip(const float* row, int64_t first, int64_t width, int64_t count, Candidate* to) {
    Best best{to, count, 0};
    for (int64_t n = 0; n < width; n += PANEL) {
        const int64_t end = least(n + PANEL, width);
        if (best.held == count) {
            const float lowest = to[count - 1].value;
            bool any = false;
            for (int64_t i = n; i < end; ++i) any |= !(row[i] <= lowest);
            if (!any) continue;
        }
        for (int64_t i = n; i < end; ++i) best.offer(row[i], first + i);
    }
    for (int64_t i = best.held; i < count; ++i) to[i].output = -1;
}

template <class Call>
static void top_of(const Call& whole, int64_t outputs, const QuireLinearTopCall& asked) {
    const int64_t panels = up(outputs, PANEL), strips = up(panels, STRIP_PANELS), count = asked.count;
    auto* found = static_cast<Candidate*>(
        __builtin_malloc(static_cast<size_t>(strips * asked.rows * count) * sizeof(Candidate)));
    share(strips, linear_cost(whole) * STRIP_PANELS, [&](int64_t first, int64_t last) {
        auto* buffer = static_cast<float*>(__builtin_malloc(static_cast<size_t>(asked.rows * STRIP) * sizeof(float)));
        Call call = whole;
        call.out_stride = STRIP;
        call.out_is_float = true;
        for (int64_t strip = first; strip < last; ++strip) {
            const int64_t begin = strip * STRIP_PANELS, end = least(begin + STRIP_PANELS, panels);
            call.out = buffer - begin * PANEL;  // where output 0 would be
            linear_range(call, begin, end);
            for (int64_t row = 0; row < asked.rows; ++row)
                best_of_strip(buffer + row * STRIP, begin * PANEL, least(outputs - begin * PANEL, STRIP), count,
                              found + (strip * asked.rows + row) * count);
        }
        __builtin_free(buffer);
    });
    auto* best = static_cast<Candidate*>(__builtin_malloc(static_cast<size_t>(count) * sizeof(Candidate)));
    for (int64_t row = 0; row < asked.rows; ++row) {
        Best merged{best, count, 0};
        for (int64_t strip = 0; strip < strips; ++strip) {
            const Candidate* from = found + (strip * asked.rows + row) * count;
            for (int64_t i = 0; i < count && from[i].output >= 0; ++i) merged.offer(from[i].value, from[i].output);
        }
        for (int64_t i = 0; i < count; ++i) {
            asked.values[row * count + i] = best[i].value;
            asked.indices[row * count + i] = best[i].output;
        }
    }
    __builtin_free(best);
    __builtin_free(found);
}

static void linear_top(const QuireLinearTopCall* asked) {
    if (asked->rows == 0) return;
    const auto& weight = *static_cast<const QuireLinear*>(asked->weight);
    with_linear(weight, asked->x, asked->x_stride, asked->rows, asked->bias,
                [&](auto& call) { top_of(call, weight.outputs, *asked); });
}

static void linear_int8_top(const QuireLinearTopCall* asked) {
    if (asked->rows == 0) return;
    const auto& weight = *static_cast<const QuireLinearInt8*>(asked->weight);
    with_linear(weight, asked->dtype, asked->x, asked->x_stride, asked->rows, asked->bias,
                [&](auto& call) { top_of(call, weight.outputs, *asked); });
}

}  // namespace quire::QUIRE_NAMESPACE
