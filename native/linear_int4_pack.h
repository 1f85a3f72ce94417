// linear_int4_pack: weights of 4 bits with a scale for each group of inputs; packing, and rows back.
//
// A group is G = 32, 64 or 128 inputs of one output: whole numbers q from -8 to 7, kept as u = q + 8, times a bfloat16
// scale. A last group that is not whole is filled up with zeros.
//
// Packed layout: panels of 32 outputs as in linear.h, each of whole groups. A line holds four k of the first half of the
// group in its low nibbles and four of the second half in its high ones, as linear_int8's steps have them:
//
//     group, line j of G/8:   [n0:k4j … k4j+3] [n1:…] … [n31:…]   128 bytes; high nibbles: G/2 further on
//
// So 16 lines of a group of 128 are four AMX tiles. Scales follow all panels: 32 for each group of each panel.
//
// Rounding: of a few scales, the one with the least sum of squared errors, summed along the group in float32; the order
// is that of ops/linear_int4.py, and so are the bits.
#pragma once

#include "linear.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t INT4_LINE = PANEL * 4;  // bytes
constexpr float INT4_EXTREMES[] = {-8.0f, -7.5f, -7.0f, -8.5f, -9.0f, 7.0f, 6.5f, 7.5f, 8.0f};
constexpr int64_t INT4_MAX_GROUP = 128;

INLINE int64_t int4_groups(const QuireLinearInt4& weight) { return up(weight.inputs, weight.group_size); }
INLINE int64_t int4_panel_bytes(const QuireLinearInt4& weight) {
    return int4_groups(weight) * weight.group_size / 8 * INT4_LINE;
}
INLINE const bf16* int4_scales(const QuireLinearInt4& weight, int64_t panel) {
    return reinterpret_cast<const bf16*>(weight.scales) + panel * int4_groups(weight) * PANEL;
}

// Where the number (output, k) lies, and by how many bits its nibble is shifted.
struct Int4Place {
    int64_t byte;
    int shift;
};
INLINE Int4Place int4_place(const QuireLinearInt4& weight, int64_t n, int64_t k) {
    const int64_t half = weight.group_size / 2, in_half = k % half, line = k / (2 * half) * (half / 4) + in_half / 4;
    return {n / PANEL * int4_panel_bytes(weight) + line * INT4_LINE + n % PANEL * 4 + in_half % 4, k / half % 2 ? 4 : 0};
}

// A group of a panel's 32 outputs, [k][output].
using Int4Group = float[INT4_MAX_GROUP][PANEL];

// q in float32, for the outputs of one vector.
INLINE Vec int4_rounded(Vec x, Vec inverse) { return min(max(round(mul(x, inverse)), splat(-8.0f)), splat(7.0f)); }

INLINE float int4_inverse(float scale) {
    const float inverse = 1.0f / scale;
    return inverse - inverse == 0.0f ? inverse : 0.0f;  // neither infinite nor NaN
}

// The best scales of a group, NaN for outputs with a NaN or an infinity, whose numbers become 0.
static void int4_search(Int4Group& x, int64_t size, bf16* scales) {
    float farthest[PANEL], best[PANEL], best_error[PANEL], scale[PANEL], inverse[PANEL], error[PANEL];
    for (int64_t n = 0; n < PANEL; ++n) {
        float high = x[0][n], low = x[0][n], spoiled = 0.0f;
        for (int64_t k = 0; k < size; ++k) {
            high = x[k][n] > high ? x[k][n] : high;
            low = x[k][n] < low ? x[k][n] : low;
            spoiled += x[k][n] * 0.0f;
        }
        farthest[n] = high >= -low ? high : low;
        best[n] = 0.0f;
        best_error[n] = __builtin_inff();
        if (spoiled == 0.0f) continue;
        best[n] = __builtin_nanf("");
        farthest[n] = 0.0f;
        for (int64_t k = 0; k < size; ++k) x[k][n] = 0.0f;
    }
    for (float extreme : INT4_EXTREMES) {
        for (int n = 0; n < PANEL; ++n) {
            bf16 rounded;
            narrow(farthest[n] / extreme, &rounded);
            scale[n] = widen(rounded);
            inverse[n] = int4_inverse(scale[n]);
        }
        for (int v = 0; v < PANEL; v += WIDTH) {
            Vec sum = splat(0.0f);
            const Vec s = load(scale + v), i = load(inverse + v);
            for (int64_t k = 0; k < size; ++k) {
                const Vec w = load(x[k] + v), missed = sub(w, mul(int4_rounded(w, i), s));
                sum = add(sum, mul(missed, missed));
            }
            store(error + v, sum);
        }
        for (int n = 0; n < PANEL; ++n) {
            const bool better = error[n] < best_error[n] && best[n] == best[n];
            best_error[n] = better ? error[n] : best_error[n];
            best[n] = better ? scale[n] : best[n];
        }
    }
    for (int n = 0; n < PANEL; ++n) narrow(best[n], scales + n);
}

// The group's numbers to its lines.
static void int4_write(const Int4Group& x, int64_t size, const bf16* scales, uint8_t* to) {
    const int64_t half = size / 2;
    float inverse[PANEL], low[PANEL], high[PANEL];
    for (int n = 0; n < PANEL; ++n) inverse[n] = int4_inverse(widen(scales[n]));
    for (int64_t k = 0; k < half; ++k) {
        for (int v = 0; v < PANEL; v += WIDTH) {
            store(low + v, int4_rounded(load(x[k] + v), load(inverse + v)));
            store(high + v, int4_rounded(load(x[k + half] + v), load(inverse + v)));
        }
        uint8_t* bytes = to + k / 4 * INT4_LINE + k % 4;
        for (int n = 0; n < PANEL; ++n)
            bytes[n * 4] = static_cast<uint8_t>((static_cast<int>(high[n]) + 8) << 4 | (static_cast<int>(low[n]) + 8));
    }
}

// Rounds a weight of `dtype` into the packed form. The arrays of `to` are written.
static void linear_int4_pack(int32_t dtype, const void* weight, int64_t row_stride, const QuireLinearInt4* to) {
    const int64_t size = to->group_size, groups = int4_groups(*to);
    with_dtype(dtype, [&](auto type) {
        const auto* from = static_cast<const decltype(type)*>(weight);
        share(up(to->outputs, PANEL), to->inputs * PANEL, [&](int64_t first, int64_t last) {
            Int4Group x;
            for (int64_t panel = first; panel < last; ++panel)
                for (int64_t group = 0; group < groups; ++group) {
                    for (int64_t n = 0; n < PANEL; ++n) {
                        const int64_t output = panel * PANEL + n;
                        const int64_t left = output < to->outputs ? least(size, to->inputs - group * size) : 0;
                        const auto* row = from + output * row_stride + group * size;
                        for (int64_t k = 0; k < left; ++k) x[k][n] = widen(row[k]);
                        for (int64_t k = left; k < size; ++k) x[k][n] = 0.0f;
                    }
                    auto* scales = const_cast<bf16*>(int4_scales(*to, panel)) + group * PANEL;
                    int4_search(x, size, scales);
                    int4_write(x, size, scales,
                               const_cast<uint8_t*>(to->packed) + panel * int4_panel_bytes(*to) + group * size / 8 * INT4_LINE);
                }
        });
    });
}

// Rows of the weight by index, q · scale in the call's dtype.
static void linear_int4_rows(const QuireRowsCall* call) {
    const auto& weight = *static_cast<const QuireLinearInt4*>(call->weight);
    with_dtype(call->dtype, [&](auto type) {
        auto* to = static_cast<decltype(type)*>(call->out);
        share(call->rows, weight.inputs, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; ++row)
                for (int64_t k = 0; k < weight.inputs; ++k) {
                    const int64_t n = call->indices[row];
                    const Int4Place place = int4_place(weight, n, k);
                    const int q = (weight.packed[place.byte] >> place.shift & 15) - 8;
                    const bf16 scale = int4_scales(weight, n / PANEL)[k / weight.group_size * PANEL + n % PANEL];
                    narrow(static_cast<float>(q) * widen(scale), to + row * weight.inputs + k);
                }
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
