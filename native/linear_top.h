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

// Whether any of these is higher than `lowest`. Most strips have nothing for the best so far and are left at that.
static bool any_higher(const float* row, int64_t width, float lowest) {
    Vec lanes = splat(-__builtin_inff()), nans = splat(0.0f);
    int64_t i = 0;
    for (; i + WIDTH <= width; i += WIDTH) {
        const Vec v = load(row + i);
        lanes = max(v, lanes);
        nans = keep_nan(v, nans);
    }
    bool any = highest(lanes) > lowest || (sum(nans) != sum(nans) && lowest == lowest);
    for (; i < width; ++i) any |= is_higher(row[i], lowest);
    return any;
}

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

    // Outputs from `first` on.
    void offer_all(const float* values, int64_t first, int64_t width) {
        if (held == count && !any_higher(values, width, best[count - 1].value)) return;
        for (int64_t i = 0; i < width; ++i) offer(values[i], first + i);
    }
};

template <class Call>
static void top_of(const Call& whole, int64_t outputs, const QuireLinearTopCall& asked) {
    const int64_t panels = up(outputs, PANEL), strips = up(panels, STRIP_PANELS), count = asked.count;
    auto* found = static_cast<Candidate*>(
        __builtin_malloc(static_cast<size_t>(strips * asked.rows * count) * sizeof(Candidate)));
    share(strips, linear_cost(whole) * STRIP_PANELS, [&](int64_t first, int64_t last) {
        auto* buffer = static_cast<float*>(__builtin_malloc(static_cast<size_t>(asked.rows * STRIP) * sizeof(float)));
        auto* best = static_cast<Best*>(__builtin_malloc(static_cast<size_t>(asked.rows) * sizeof(Best)));
        for (int64_t row = 0; row < asked.rows; ++row) best[row] = {found + (first * asked.rows + row) * count, count, 0};
        Call call = whole;
        call.out_stride = STRIP;
        call.out_is_float = true;
        for (int64_t strip = first; strip < last; ++strip) {
            const int64_t begin = strip * STRIP_PANELS, end = least(begin + STRIP_PANELS, panels);
            const int64_t output = begin * PANEL, width = least(outputs - output, STRIP);
            call.out = buffer - output;  // where output 0 would be
            linear_range(call, begin, end);
            for (int64_t row = 0; row < asked.rows; ++row) {
                best[row].offer_all(buffer + row * STRIP, output, width);
                if (strip > first) found[(strip * asked.rows + row) * count].output = -1;
            }
        }
        for (int64_t row = 0; row < asked.rows; ++row)
            for (int64_t i = best[row].held; i < count; ++i) best[row].best[i].output = -1;
        __builtin_free(best);
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
