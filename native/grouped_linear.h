// grouped_linear: each row of inputs against the weight of the expert that it names.
//
//     out[r][n] = sum over k of x[r / rows_per_input][k] · weight[experts[r]][n][k]
//
// Rows are sorted by expert, those of one expert stay in their order. Each expert is then a linear of its own over its
// rows, with the panels, the tiles and the order of accumulation of linear, linear_int8 or linear_int4: so a row has the
// bits that those give it, whatever the other rows chose.
//
// Threads claim items: a range of panels of one expert with all its rows, which the item brings together for itself.
// A single row is read where it lies. Experts that nobody chose are not read.
#pragma once

#include "linear_int4_exact.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t ITEM_PANELS = 8;  // of an item at least: bringing its rows together takes as long as about one
#if QUIRE_LEVEL < 4
constexpr int64_t PLACES_PADDING = 0;
#endif

struct GroupedItem {
    int64_t expert, first, last;  // panels
};

// The rows by expert: those of expert e are order[starts[e]] .. order[starts[e + 1] - 1].
struct RowGroups {
    int64_t* starts;  // num_experts + 1
    int64_t* order;   // rows, and PLACES_PADDING zeros

    int64_t rows(int64_t expert) const { return starts[expert + 1] - starts[expert]; }
};

INLINE int64_t* new_numbers(int64_t count) {
    return static_cast<int64_t*>(__builtin_malloc(static_cast<size_t>(count) * sizeof(int64_t)));
}

static RowGroups sort_by_expert(const QuireGroupedLinearCall& call) {
    const int64_t experts = call.num_experts;
    RowGroups groups{new_numbers(experts + 1), new_numbers(call.rows + PLACES_PADDING)};
    memset(groups.starts, 0, static_cast<size_t>(experts + 1) * sizeof(int64_t));
    memset(groups.order + call.rows, 0, PLACES_PADDING * sizeof(int64_t));
    for (int64_t row = 0; row < call.rows; ++row) ++groups.starts[call.experts[row] + 1];
    for (int64_t e = 0; e < experts; ++e) groups.starts[e + 1] += groups.starts[e];
    for (int64_t row = 0; row < call.rows; ++row) groups.order[groups.starts[call.experts[row]]++] = row;
    for (int64_t e = experts; e > 0; --e) groups.starts[e] = groups.starts[e - 1];  // each had become its end
    groups.starts[0] = 0;
    return groups;
}

// Up to four rows take the time of reading the weights.
INLINE int64_t panel_cost(int64_t rows) { return rows ? most(4, rows) : 0; }

// Cuts the work into about eight items of one size for each thread; returns their number.
static int64_t cut_into_items(const QuireGroupedLinearCall& call, const RowGroups& groups, GroupedItem* items) {
    const int64_t panels = up(call.outputs, PANEL);
    int64_t cost = 0, count = 0;
    for (int64_t e = 0; e < call.num_experts; ++e) cost += panel_cost(groups.rows(e)) * panels;
    const int64_t item_cost = up(cost, threads() * 8);
    for (int64_t e = 0; e < call.num_experts; ++e) {
        if (!groups.rows(e)) continue;
        const int64_t at_once = most(ITEM_PANELS, up(item_cost, panel_cost(groups.rows(e))));
        for (int64_t first = 0; first < panels; first += at_once)
            items[count++] = {e, first, least(first + at_once, panels)};
    }
    return count;
}

template <class F>
static void with_expert(const QuireGroupedLinearCall& call, int64_t expert, const void* x, int64_t x_stride, int64_t rows,
                        const F& body) {
    const void* weight = call.weights[expert];
    if (call.kind == QUIRE_EXPERTS_INT8)
        with_linear(*static_cast<const QuireLinearInt8*>(weight), call.dtype, x, x_stride, rows, nullptr, body);
    else if (call.kind == QUIRE_EXPERTS_INT4)
        with_linear(*static_cast<const QuireLinearInt4*>(weight), call.dtype, call.rounds_inputs, x, x_stride, rows,
                    nullptr, body);
    else with_linear(*static_cast<const QuireLinear*>(weight), x, x_stride, rows, nullptr, body);
}

static void run_item(const QuireGroupedLinearCall& call, const RowGroups& groups, const GroupedItem& item) {
    const int64_t rows = groups.rows(item.expert), *places = groups.order + groups.starts[item.expert];
    const int64_t size = call.dtype == QUIRE_FLOAT32 ? 4 : 2;
    const auto input = [&](int64_t m) {
        return static_cast<const char*>(call.x) + places[m] / call.rows_per_input * call.x_stride * size;
    };
    int64_t x_stride = call.x_stride;
    const void* x = input(0);
    void* together = nullptr;
    if (rows > 1) {
        x_stride = up(call.inputs, 32) * 32;
        if (x_stride * size % COLLISION_BYTES == 0) x_stride += 32;
        x = together = __builtin_malloc(static_cast<size_t>(rows * x_stride * size));
        for (int64_t m = 0; m < rows; ++m)
            memcpy(static_cast<char*>(together) + m * x_stride * size, input(m), static_cast<size_t>(call.inputs * size));
    }
    with_expert(call, item.expert, x, x_stride, rows, [&](auto& linear) {
        linear.out = call.out;
        linear.out_stride = call.outputs;
        linear.places = places;
        linear_range(linear, item.first, item.last);
    });
    __builtin_free(together);
}

static void grouped_linear(const QuireGroupedLinearCall* call) {
    if (call->rows == 0) return;
    const RowGroups groups = sort_by_expert(*call);
    const int64_t active = least(call->num_experts, call->rows);
    auto* items = static_cast<GroupedItem*>(
        __builtin_malloc(static_cast<size_t>(threads() * 8 + active) * sizeof(GroupedItem)));
    const int64_t count = cut_into_items(*call, groups, items);
    share_each(count, up(call->inputs * up(call->outputs, PANEL) * most(4, call->rows), count),
               [&](int64_t item) { run_item(*call, groups, items[item]); });
    __builtin_free(items);
    __builtin_free(groups.order);
    __builtin_free(groups.starts);
}

}  // namespace quire::QUIRE_NAMESPACE
