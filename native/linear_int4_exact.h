// linear_int4 with exact inputs, and the choice between the two: a panel of weights becomes linear's panel of q · s in the
// inputs' type, and the rest is linear.h. So the bits are those of linear with the weight that linear_int4_rows gives.
#pragma once

#include "linear_int4.h"

namespace quire::QUIRE_NAMESPACE {

// Four k of 32 outputs at `to`, in linear's layout for T.
template <class T>
INLINE void int4_widen_line(const uint8_t* line, int shift, const Vec* scale, T* to) {
    UNROLL for (int v = 0; v < VECS; ++v) {
        const Quads quads = load_quads(line + v * WIDTH * 4);
        Vec x[4];
        UNROLL for (int k = 0; k < 4; ++k) x[k] = mul(nibble(quads, shift + 8 * k), scale[v]);
        if constexpr (Product<T>::K == 2) {
            auto* pairs = reinterpret_cast<uint32_t*>(to) + v * WIDTH;
            store_pairs(pairs, x[0], x[1]);
            store_pairs(pairs + PANEL, x[2], x[3]);
        } else {
            UNROLL for (int k = 0; k < 4; ++k) store(to + k * PANEL + v * WIDTH, x[k]);
        }
    }
}

template <class T>
static void int4_widen(const QuireLinearInt4& weight, int64_t panel, T* to) {
    const int64_t lines = weight.group_size / 8, half = weight.group_size / 2 * PANEL;
    const uint8_t* line = weight.packed + panel * int4_panel_bytes(weight);
    for (int64_t group = 0; group < int4_groups(weight); ++group, to += half) {
        Vec scale[VECS];
        UNROLL for (int v = 0; v < VECS; ++v) scale[v] = load(int4_scales(weight, panel) + group * PANEL + v * WIDTH);
        for (int64_t j = 0; j < lines; ++j, line += INT4_LINE, to += 4 * PANEL) {
            int4_widen_line(line, 0, scale, to);
            int4_widen_line(line, 4, scale, to + half);
        }
    }
}

// A call of linear whose panels are made as they are needed.
template <class T>
struct Int4ExactCall : LinearCall<T> {
    const QuireLinearInt4* weight;

    int64_t elements() const { return int4_groups(*weight) * weight->group_size * PANEL; }  // of a panel
};

// All rows against a range of panels.
template <class T>
static void linear_range(const Int4ExactCall<T>& call, int64_t first, int64_t last) {
    auto* wide = static_cast<T*>(__builtin_malloc(static_cast<size_t>(call.elements()) * sizeof(T)));
    LinearCall<T> part = call;
    for (int64_t panel = first; panel < last; ++panel) {
        int4_widen(*call.weight, panel, wide);
        // linear looks for panel number `panel` of a whole weight
        part.packed = reinterpret_cast<const typename Product<T>::Step*>(wide) - panel * call.steps * PANEL;
        linear_range(part, panel, panel + 1);
    }
    __builtin_free(wide);
}

template <class T>
INLINE int64_t linear_cost(const Int4ExactCall<T>& call) {
    return call.elements() / 8 * most(4, call.rows);
}

// Calls body(call) with the inputs in the form of their type and where results go left open.
template <class T, class F>
static void with_exact_int4(const QuireLinearInt4& weight, const T* x, int64_t x_stride, int64_t rows, const void* bias,
                            const F& body) {
    Int4ExactCall<T> call{};
    call.weight = &weight;
    call.bias = static_cast<const T*>(bias);
    call.rows = rows;
    call.outputs = weight.outputs;
    call.steps = panel_steps(weight.inputs, Product<T>::K);
    void* copy = convert_inputs(call, x, x_stride, weight.inputs);
    body(call);
    __builtin_free(copy);
}

// The same for the inputs that are asked for: rounded to 8 bits or as they are.
template <class F>
static void with_linear(const QuireLinearInt4& weight, int32_t dtype, bool rounds_inputs, const void* x,
                        int64_t x_stride, int64_t rows, const void* bias, const F& body) {
    if (rounds_inputs) return with_rounded_int4(weight, dtype, x, x_stride, rows, bias, body);
    with_dtype(dtype, [&](auto type) {
        with_exact_int4(weight, static_cast<const decltype(type)*>(x), x_stride, rows, bias, body);
    });
}

static void linear_int4(const QuireLinearInt4Call* asked) {
    if (asked->rows == 0) return;
    const QuireLinearInt4& weight = *asked->weight;
    with_linear(weight, asked->dtype, asked->rounds_inputs, asked->x, asked->x_stride, asked->rows, asked->bias,
                [&](auto& call) {
                    call.out = asked->out;
                    call.out_stride = weight.outputs;
                    call.out_is_float = asked->out_is_float;
                    share(up(weight.outputs, PANEL), linear_cost(call),
                          [&](int64_t first, int64_t last) { linear_range(call, first, last); });
                });
}

}  // namespace quire::QUIRE_NAMESPACE
