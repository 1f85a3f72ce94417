// The attention kernel over vectors of float32: any instruction set, types and head up to 512 wide.
//
// Order of accumulation of a row: a score is added up in WIDTH lanes along the head, the lanes in a fixed tree;
// weights of a tile are added in lanes by place, values token after token.
//
// State of an item: highest score and total weight of each row, then `dims` weighted values of each row. Rows of all
// its key heads follow each other.
#pragma once

#include "attention_items.h"

namespace quire::QUIRE_NAMESPACE {

// One row's state: its scores' maximum and the sum of its weights.
struct Softmax {
    float highest, total;
};

// Scores of ROWS rows against WIDTH / ROWS keys each; every score has its own WIDTH lanes.
template <class C, int ROWS>
INLINE void score_block(const float* query, const C* const* keys, int64_t stride, float* scores) {
    constexpr int KEYS = WIDTH / ROWS;
    Vec lanes[WIDTH];
    UNROLL for (int i = 0; i < WIDTH; ++i) lanes[i] = splat(0.0f);
    for (int64_t h = 0; h < stride; h += WIDTH) {
        Vec key[KEYS];
        UNROLL for (int c = 0; c < KEYS; ++c) key[c] = load(keys[c] + h);
        UNROLL for (int r = 0; r < ROWS; ++r) {
            Vec q = load(query + r * stride + h);
            UNROLL for (int c = 0; c < KEYS; ++c) lanes[r * KEYS + c] = fma(q, key[c], lanes[r * KEYS + c]);
        }
    }
    float sums_of_lanes[WIDTH];
    store(sums_of_lanes, sums(lanes));
    UNROLL for (int r = 0; r < ROWS; ++r)
        memcpy(scores + r * TILE, sums_of_lanes + r * KEYS, KEYS * sizeof(float));
}

template <class C, int ROWS>
static void score_rows(const float* query, const C* const* keys, int64_t stride, int64_t low, int64_t high,
                       float* scores) {
    constexpr int64_t KEYS = WIDTH / ROWS;
    for (int64_t t = low / KEYS * KEYS; t < high; t += KEYS)
        score_block<C, ROWS>(query, keys + t, stride, scores + t);
}

// scores[row][place] for the places low .. high-1 of a tile.
template <class C>
static void score_tile(const float* query, const C* const* keys, int64_t rows, int64_t stride, int64_t low,
                       int64_t high, float* scores) {
    int64_t row = 0;
    if constexpr (WIDTH >= 4)
        for (; row + 4 <= rows; row += 4)
            score_rows<C, 4>(query + row * stride, keys, stride, low, high, scores + row * TILE);
    if constexpr (WIDTH >= 2)
        for (; row + 2 <= rows; row += 2)
            score_rows<C, 2>(query + row * stride, keys, stride, low, high, scores + row * TILE);
    for (; row < rows; ++row) score_rows<C, 1>(query + row * stride, keys, stride, low, high, scores + row * TILE);
}

// What scores are before they become weights: soft cap, then a bias that falls with the distance.
struct Bend {
    float soft_cap, slope;
    bool is_none() const { return soft_cap == 0.0f && slope == 0.0f; }
};

// `distance` is that of place 0 of the tile from the row's token, negative in the past.
INLINE void bend_scores(float* scores, const Bend& bend, int64_t distance) {
    if (bend.is_none()) return;
    float steps[WIDTH];
    UNROLL for (int i = 0; i < WIDTH; ++i) steps[i] = static_cast<float>(i);
    const Vec cap = splat(bend.soft_cap);
    for (int64_t t = 0; t < TILE; t += WIDTH) {
        Vec s = load(scores + t);
        if (bend.soft_cap != 0.0f) s = mul(cap, tanh(div(s, cap)));
        if (bend.slope != 0.0f)
            s = fma(splat(bend.slope), add(load(steps), splat(static_cast<float>(distance + t))), s);
        store(scores + t, s);
    }
}

// Turns a row's scores into weights and brings its state up to date; the values so far are rescaled. Places outside
// low .. high-1 get weight 0.
INLINE void weigh(float* scores, int64_t low, int64_t high, const Bend& bend, int64_t distance, Softmax& state,
                  float* values, int64_t dims) {
    if (low >= high) {
        memset(scores, 0, TILE * sizeof(float));
        return;
    }
    bend_scores(scores, bend, distance);
    for (int64_t t = 0; t < low; ++t) scores[t] = -__builtin_inff();
    for (int64_t t = high; t < TILE; ++t) scores[t] = -__builtin_inff();
    Vec top = splat(-__builtin_inff());
    for (int64_t t = 0; t < TILE; t += WIDTH) top = max(top, load(scores + t));
    const float highest_here = highest(top), before = state.highest;
    if (highest_here > before) {
        float keep[WIDTH];
        store(keep, exp(splat(before - highest_here)));  // exp(-inf) is 0
        state.highest = highest_here;
        state.total *= keep[0];
        for (int64_t h = 0; h < dims; h += WIDTH) store(values + h, mul(load(values + h), splat(keep[0])));
    }
    Vec total = splat(0.0f);
    for (int64_t t = 0; t < TILE; t += WIDTH) {
        Vec weight = exp(sub(load(scores + t), splat(state.highest)));
        store(scores + t, weight);
        total = add(total, weight);
    }
    state.total += sum(total);
}

// values[row] += weight · value, token after token, for ROWS rows and STRIP vectors of the head.
template <class C, int ROWS, int STRIP>
INLINE void add_values(const float* weights, const C* const* rows_of_values, int64_t low, int64_t high, int64_t stride,
                       int64_t h, float* values) {
    Vec total[ROWS][STRIP];
    UNROLL for (int r = 0; r < ROWS; ++r)
        UNROLL for (int s = 0; s < STRIP; ++s) total[r][s] = load(values + r * stride + h + s * WIDTH);
    for (int64_t t = low; t < high; ++t) {
        Vec value[STRIP];
        UNROLL for (int s = 0; s < STRIP; ++s) value[s] = load(rows_of_values[t] + h + s * WIDTH);
        UNROLL for (int r = 0; r < ROWS; ++r) {
            Vec weight = splat(weights[r * TILE + t]);
            UNROLL for (int s = 0; s < STRIP; ++s) total[r][s] = fma(weight, value[s], total[r][s]);
        }
    }
    UNROLL for (int r = 0; r < ROWS; ++r)
        UNROLL for (int s = 0; s < STRIP; ++s) store(values + r * stride + h + s * WIDTH, total[r][s]);
}

template <class C, int ROWS>
static void add_values_of_rows(const float* weights, const C* const* rows_of_values, int64_t low, int64_t high,
                               int64_t stride, float* values) {
    constexpr int STRIP = WIDTH == 16 ? 4 : 2;
    int64_t h = 0;
    for (; h + STRIP * WIDTH <= stride; h += STRIP * WIDTH)
        add_values<C, ROWS, STRIP>(weights, rows_of_values, low, high, stride, h, values);
    for (; h < stride; h += WIDTH) add_values<C, ROWS, 1>(weights, rows_of_values, low, high, stride, h, values);
}

template <class C>
static void add_values_of_tile(const float* weights, const C* const* rows_of_values, int64_t rows, int64_t low,
                               int64_t high, int64_t stride, float* values) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4)
        add_values_of_rows<C, 4>(weights + row * TILE, rows_of_values, low, high, stride, values + row * stride);
    for (; row + 2 <= rows; row += 2)
        add_values_of_rows<C, 2>(weights + row * TILE, rows_of_values, low, high, stride, values + row * stride);
    for (; row < rows; ++row)
        add_values_of_rows<C, 1>(weights + row * TILE, rows_of_values, low, high, stride, values + row * stride);
}

// A float32 copy of a tile's rows, padded with zeros to whole vectors, times their scales where they have any.
template <class C>
static void widen_rows(const C* const* rows, const float* scales, const Places& places, int64_t head_dim, int64_t dims,
                       float* wide, const float** wide_rows) {
    for (int64_t t = places.low; t < places.high; ++t) {
        float* to = wide + t * dims;
        const Vec scale = splat(scales ? scales[t] : 1.0f);
        int64_t h = 0;
        for (; h + WIDTH <= head_dim; h += WIDTH) store(to + h, mul(load(rows[t] + h), scale));
        if (h < head_dim) store(to + h, mul(load_part(rows[t] + h, head_dim - h), scale));
    }
    for (int64_t t = 0; t < TILE; ++t) wide_rows[t] = wide + least(most(t, places.low), places.high - 1) * dims;
}

template <class C>
struct RowsKernel {
    static constexpr int64_t MAX_ROWS = 32, MAX_DIMS = 512;
    static constexpr bool IS_NARROW = sizeof(C) == 1;  // read as float32 copies always, other types by many rows only

    alignas(64) float query[MAX_ROWS * MAX_DIMS];
    alignas(64) float scores[MAX_ROWS * TILE];
    alignas(64) float wide[TILE * MAX_DIMS];
    alignas(64) float states[2][MAX_ROWS * (2 + MAX_DIMS)];

    static int64_t padded(int64_t rows) { return rows; }
    static int64_t state_floats(const AttentionCall& call) { return MAX_ROWS * (2 + call.dims); }
    static Softmax* softmax(float* state) { return reinterpret_cast<Softmax*>(state); }
    static float* values(float* state) { return state + 2 * MAX_ROWS; }

    void begin(const AttentionCall& call, const Item& item, const View& view) {
        with_dtype(call.layer->dtype, [&](auto type) { read_queries<decltype(type)>(call, item, view); });
    }

    template <class Q>
    void read_queries(const AttentionCall& call, const Item& item, const View& view) {
        const QuireAttentionCall& layer = *call.layer;
        const Vec scale = splat(layer.scale);
        for (int64_t row = 0; row < item.heads * view.rows; ++row) {
            const int64_t head = view.query_head(item.head + row / view.rows, row % view.rows);
            const Q* from = static_cast<const Q*>(layer.query) + view.token(row % view.rows) * layer.query_stride +
                            head * layer.head_dim;
            float* to = query + row * call.dims;
            int64_t h = 0;
            for (; h + WIDTH <= layer.head_dim; h += WIDTH) store(to + h, mul(load(from + h), scale));
            if (h < layer.head_dim) store(to + h, mul(load_part(from + h, layer.head_dim - h), scale));
        }
    }

    static void clear(const AttentionCall& call, const Item& item, float* state) {
        const int64_t rows = static_cast<int64_t>(item.heads) * item.rows;
        for (int64_t row = 0; row < rows; ++row) softmax(state)[row] = {-__builtin_inff(), 0.0f};
        memset(values(state), 0, static_cast<size_t>(rows * call.dims) * sizeof(float));
    }

    // Rows of one cache by place; places outside those written repeat the nearest.
    const float* const* as_floats(const AttentionCall& call, const C* const* found, const float* scales,
                                  const Places& places, const float** wide_rows) {
        widen_rows(found, scales, places, call.layer->head_dim, call.dims, wide, wide_rows);
        return wide_rows;
    }

    static void find_rows(const AttentionCall& call, const void* cache, const Places& places, int64_t head, const C** rows) {
        const QuireAttentionCall& layer = *call.layer;
        for (int64_t t = 0; t < TILE; ++t) {
            const int64_t slot = places.slots[least(most(t, places.low), places.high - 1)];
            rows[t] = static_cast<const C*>(cache) + (slot * layer.key_heads + head) * layer.head_dim;
        }
    }

    void attend(const AttentionCall& call, const Item& item, const View& view, const Places& places, int64_t head_of_item,
                float* state) {
        const QuireAttentionCall& layer = *call.layer;
        const int64_t head = item.head + head_of_item, rows = view.rows, dims = call.dims;
        const bool is_widened = IS_NARROW || (sizeof(C) < sizeof(float) && rows > 4) || dims != layer.head_dim;
        const float* queries = query + head_of_item * rows * dims;
        float* total = values(state) + head_of_item * rows * dims;
        const C* found[TILE];
        const float* wide_rows[TILE];
        float scales[TILE];
        find_rows(call, layer.key_cache, places, head, found);
        if (layer.key_scales) find_scales(layer.key_scales, places, layer.key_heads, head, scales);
        if (is_widened)
            score_tile(queries, as_floats(call, found, layer.key_scales ? scales : nullptr, places, wide_rows), rows, dims,
                       places.low, places.high, scores);
        else if constexpr (!IS_NARROW) score_tile(queries, found, rows, dims, places.low, places.high, scores);
        for (int64_t row = 0; row < rows; ++row) {
            const Bend bend{layer.soft_cap, layer.slopes ? layer.slopes[view.query_head(head, row)] : 0.0f};
            weigh(scores + row * TILE, most(view.low(row) - places.tile, 0), least(view.high(row) - places.tile, TILE),
                  bend, places.tile - view.position(row), softmax(state)[head_of_item * rows + row], total + row * dims, dims);
        }
        find_rows(call, layer.value_cache, places, head, found);
        if (layer.value_scales) find_scales(layer.value_scales, places, layer.key_heads, head, scales);
        if (is_widened)
            add_values_of_tile(scores, as_floats(call, found, layer.value_scales ? scales : nullptr, places, wide_rows),
                               rows, places.low, places.high, dims, total);
        else if constexpr (!IS_NARROW) add_values_of_tile(scores, found, rows, places.low, places.high, dims, total);
    }

    // Adds the result of a later segment to `into`.
    static void merge(const AttentionCall& call, const Item& item, float* into, float* from) {
        for (int64_t row = 0; row < static_cast<int64_t>(item.heads) * item.rows; ++row) {
            Softmax& a = softmax(into)[row];
            const Softmax& b = softmax(from)[row];
            if (b.total == 0.0f) continue;  // it saw nothing there
            float top = a.highest > b.highest ? a.highest : b.highest, keep[WIDTH], take[WIDTH];
            store(keep, exp(splat(a.highest - top)));
            store(take, exp(splat(b.highest - top)));
            a = {top, a.total * keep[0] + b.total * take[0]};
            float* to = values(into) + row * call.dims;
            const float* more = values(from) + row * call.dims;
            for (int64_t h = 0; h < call.dims; h += WIDTH)
                store(to + h, add(mul(load(to + h), splat(keep[0])), mul(load(more + h), splat(take[0]))));
        }
    }

    static void write(const AttentionCall& call, const Item& item, const View& view, float* state) {
        with_dtype(call.layer->dtype, [&](auto type) { write_typed<decltype(type)>(call, item, view, state); });
    }

    template <class Q>
    static void write_typed(const AttentionCall& call, const Item& item, const View& view, float* state) {
        const QuireAttentionCall& layer = *call.layer;
        for (int64_t row = 0; row < item.heads * view.rows; ++row) {
            const int64_t head = view.query_head(item.head + row / view.rows, row % view.rows);
            Q* to = static_cast<Q*>(layer.output) + (view.token(row % view.rows) * layer.heads + head) * layer.head_dim;
            const float* from = values(state) + row * call.dims;
            float sink[WIDTH] = {};  // what the head attends to beside the tokens, with a value of zero
            if (layer.sinks) store(sink, exp(splat(layer.sinks[head] - softmax(state)[row].highest)));
            const Vec total = splat(softmax(state)[row].total + sink[0]);
            int64_t h = 0;
            for (; h + WIDTH <= layer.head_dim; h += WIDTH) store(to + h, div(load(from + h), total));
            if (h < layer.head_dim) store_part(to + h, div(load(from + h), total), layer.head_dim - h);
        }
    }
};

}  // namespace quire::QUIRE_NAMESPACE
