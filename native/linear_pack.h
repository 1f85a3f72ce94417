// linear_pack: a row-major weight into the panels of linear.h, and rows of it back (for embeddings tied to the head).
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

// Where the element (output, k) lies, counted in elements; K is the group of k that lie side by side.
INLINE int64_t packed_place(int64_t output, int64_t k, int64_t inputs, int64_t K) {
    int64_t panel = output / PANEL, in_panel = output % PANEL;
    return ((panel * panel_steps(inputs, K) + k / K) * PANEL + in_panel) * K + k % K;
}

template <class E>
static void pack_typed(const E* weight, int64_t row_stride, const QuireLinear& to, int64_t K) {
    E* packed = const_cast<E*>(static_cast<const E*>(to.packed));
    int64_t steps = panel_steps(to.inputs, K);
    share(up(to.outputs, PANEL), steps * PANEL, [&](int64_t first, int64_t last) {
        for (int64_t panel = first; panel < last; ++panel) {
            E* write = packed + panel * steps * PANEL * K;
            for (int64_t step = 0; step < steps; ++step)
                for (int64_t n = panel * PANEL; n < (panel + 1) * PANEL; ++n)
                    for (int64_t k = step * K; k < (step + 1) * K; ++k)
                        *write++ = n < to.outputs && k < to.inputs ? weight[n * row_stride + k] : E{};
        }
    });
}

static void linear_pack(const void* weight, int64_t row_stride, const QuireLinear* to) {
    if (to->dtype == QUIRE_FLOAT32) pack_typed(static_cast<const uint32_t*>(weight), row_stride, *to, 1);
    else pack_typed(static_cast<const uint16_t*>(weight), row_stride, *to, to->dtype == QUIRE_BFLOAT16 ? 2 : 1);
}

template <class E>
static void rows_typed(const QuireRowsCall& call, int64_t K) {
    const auto& weight = *static_cast<const QuireLinear*>(call.weight);
    const E* packed = static_cast<const E*>(weight.packed);
    E* out = static_cast<E*>(call.out);
    share(call.rows, weight.inputs, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row)
            for (int64_t k = 0; k < weight.inputs; ++k)
                out[row * weight.inputs + k] = packed[packed_place(call.indices[row], k, weight.inputs, K)];
    });
}

static void linear_rows(const QuireRowsCall* call) {
    const int32_t dtype = static_cast<const QuireLinear*>(call->weight)->dtype;
    if (dtype == QUIRE_FLOAT32) rows_typed<uint32_t>(*call, 1);
    else rows_typed<uint16_t>(*call, dtype == QUIRE_BFLOAT16 ? 2 : 1);
}

}  // namespace quire::QUIRE_NAMESPACE
