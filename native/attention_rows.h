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

#if QUIRE_LEVEL >= 3
// The same for queries and keys in bfloat16, by pairs: nothing is widened, and products of pairs are added at once.
template <class C, int ROWS>
INLINE void score_block(const bf16* query, const C* const* keys, int64_t stride, float* scores) {
    constexpr int KEYS = WIDTH / ROWS;
    Vec lanes[WIDTH];
    UNROLL for (int i = 0; i < WIDTH; ++i) lanes[i] = splat(0.0f);
    for (int64_t h = 0; h < stride; h += 2 * WIDTH) {
        __m512bh key[KEYS];
        UNROLL for (int c = 0; c < KEYS; ++c) key[c] = (__m512bh)_mm512_loadu_si512(keys[c] + h);
        UNROLL for (int r = 0; r < ROWS; ++r) {
            const auto q = (__m512bh)_mm512_loadu_si512(query + r * stride + h);
            UNROLL for (int c = 0; c < KEYS; ++c)
                lanes[r * KEYS + c] = _mm512_dpbf16_ps(lanes[r * KEYS + c], q, key[c]);
        }
    }
    float sums_of_lanes[WIDTH];
    store(sums_of_lanes, sums(lanes));
    UNROLL for (int r = 0; r < ROWS; ++r)
        memcpy(scores + r * TILE, sums_of_lanes + r * KEYS, KEYS * sizeof(float));
}
#endif

template <class C, int ROWS, class Q>
static void score_rows(const Q* query, const C* const* keys, int64_t stride, int64_t low, int64_t high,
                       float* scores) {
    constexpr int64_t KEYS = WIDTH / ROWS;
    for (int64_t t = low / KEYS * KEYS; t < high; t += KEYS)
        score_block<C, ROWS>(query, keys + t, stride, scores + t);
}

// scores[row][place] for the places low .. high-1 of a tile.
template <class C, class Q>
static void score_tile(const Q* query, const C* const* keys, int64_t rows, int64_t stride, int64_t low,
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

// What scores become before they are weights: multiplied, soft cap, then a bias that falls with the distance.
struct Bend {
    float factor, soft_cap, slope;
    bool is_none() const { return factor == 1.0f && soft_cap == 0.0f && slope == 0.0f; }
};

// `distance` is that of place 0 of the tile from the row's token, negative in the past.
INLINE void bend_scores(float* scores, const Bend& bend, int64_t distance) {
    if (bend.is_none()) return;
    float steps[WIDTH];
    UNROLL for (int i = 0; i < WIDTH; ++i) steps[i] = static_cast<float>(i);
    const Vec cap = splat(bend.soft_cap);
    for (int64_t t = 0; t < TILE; t += WIDTH) {
        Vec s = mul(load(scores + t), splat(bend.factor));
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
constexpr bool is_bfloat16 = false;
template <>
constexpr bool is_bfloat16<bf16> = true;

template <class C>
struct RowsKernel {
    static constexpr bool HAS_PAIRS = is_bfloat16<C> && HAS_PAIR_DOT;
    static constexpr int64_t MAX_ROWS = 32, MAX_DIMS = 512, STRIP = 16;
    static constexpr bool IS_NARROW = sizeof(C) == 1;  // read as float32 copies always, other types by many rows only

    alignas(64) float query[MAX_ROWS * MAX_DIMS];
    alignas(64) float scores[MAX_ROWS * TILE];
    alignas(64) float wide[TILE * MAX_DIMS];
    alignas(64) float states[2][MAX_ROWS * (2 + MAX_DIMS)];
    NextRows ahead{};

    static int64_t padded(int64_t rows) { return rows; }
    static int64_t state_floats(const AttentionCall& call) { return MAX_ROWS * (2 + call.dims); }
    static Softmax* softmax(float* state) { return reinterpret_cast<Softmax*>(state); }
    static float* values(float* state) { return state + 2 * MAX_ROWS; }

    void begin(const AttentionCall& call, const Item& item, const View& view) {
        with_dtype(call.layer->dtype, [&](auto type) { read_queries<decltype(type)>(call, item, view); });
    }

    // Keys of the item's first tile: nothing could ask for them earlier.
    void expect(const AttentionCall& call, const Item& item, const Places& places) {
        const int64_t head_bytes = call.layer->head_dim * static_cast<int64_t>(sizeof(C));
        ahead.slot_bytes = call.layer->key_heads * head_bytes;
        ahead.begin = item.head * head_bytes;
        ahead.end = (item.head + item.heads) * head_bytes;
        ahead.aim(call.layer->key_cache, places);
        ahead.take(TILE * lines_of_slot());
    }
    int64_t lines_of_slot() const { return up(ahead.end - ahead.begin, 64); }

    template <class Q>
    void read_queries(const AttentionCall& call, const Item& item, const View& view) {
        const QuireAttentionCall& layer = *call.layer;
        const Vec scale = splat(layer.scale);
        const bool by_pairs = scores_by_pairs(call);
        for (int64_t row = 0; row < item.heads * view.rows; ++row) {
            const int64_t head = view.query_head(item.head + row / view.rows, row % view.rows);
            const Q* from = static_cast<const Q*>(layer.query) + view.token(row % view.rows) * layer.query_stride +
                            head * layer.head_dim;
            if (by_pairs) {
                memcpy(reinterpret_cast<Q*>(query) + row * call.dims, from, static_cast<size_t>(call.dims) * sizeof(Q));
                continue;
            }
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

    // Float32 copies of the rows of one cache; places outside those written repeat the nearest.
    void widen(const AttentionCall& call, const C* const* found, const float* scales, const Places& places, int64_t head,
               const float** wide_rows) {
        float own[TILE];
        if (scales) find_scales(scales, places, call.layer->key_heads, head, own);
        widen_rows(found, scales ? own : nullptr, places, call.layer->head_dim, call.dims, wide, wide_rows);
    }

    static void find_rows(const AttentionCall& call, const void* cache, const Places& places, int64_t head, const C** rows) {
        const QuireAttentionCall& layer = *call.layer;
        const C* first = static_cast<const C*>(cache) + head * layer.head_dim;
        const int64_t slot_size = layer.key_heads * layer.head_dim;
        for (int64_t t = 0; t < TILE; ++t) rows[t] = first + places.slots[t] * slot_size;
    }

    // While scores are computed values are on their way, while values are added up the next tile's keys.
    void attend(const AttentionCall& call, const Item& item, const View& view, const Places& places, const Places* next,
                float* state) {
        ahead.aim(call.layer->value_cache, places);
        for (int64_t head = 0; head < item.heads; ++head) weigh_head(call, item, view, places, head, state);
        if (next) ahead.aim(call.layer->key_cache, *next);
        for (int64_t head = 0; head < item.heads; ++head) add_head(call, item, view, places, head, state);
    }

    // Queries are as they are then, and scores are scaled afterwards.
    static bool scores_by_pairs(const AttentionCall& call) {
        return HAS_PAIRS && call.layer->dtype == QUIRE_BFLOAT16 && call.layer->head_dim % (2 * WIDTH) == 0;
    }

    static bool is_widened(const AttentionCall& call, int64_t rows) {
        return IS_NARROW || (sizeof(C) < sizeof(float) && rows > 4) || call.dims != call.layer->head_dim;
    }

    void weigh_head(const AttentionCall& call, const Item& item, const View& view, const Places& places,
                    int64_t head_of_item, float* state) {
        const QuireAttentionCall& layer = *call.layer;
        const int64_t head = item.head + head_of_item, rows = view.rows, dims = call.dims, first = head_of_item * rows;
        const C* found[TILE];
        const float* wide_rows[TILE];
        const bool widened = is_widened(call, rows);
        const bool by_pairs = scores_by_pairs(call);
        find_rows(call, layer.key_cache, places, head, found);
        if (widened && !by_pairs) widen(call, found, layer.key_scales, places, head, wide_rows);
        for_strips(item, places, [&](int64_t low, int64_t high) INLINE_LAMBDA {
            if constexpr (HAS_PAIRS) {
                const auto* pairs = reinterpret_cast<const bf16*>(query) + first * dims;
                if (by_pairs) return score_tile(pairs, found, rows, dims, low, high, scores + first * TILE);
            }
            const float* queries = query + first * dims;
            if (widened) score_tile(queries, wide_rows, rows, dims, low, high, scores + first * TILE);
            else if constexpr (!IS_NARROW) score_tile(queries, found, rows, dims, low, high, scores + first * TILE);
        });
        for (int64_t row = 0; row < rows; ++row) {
            const Bend bend{by_pairs ? layer.scale : 1.0f, layer.soft_cap, layer.slopes ? layer.slopes[view.query_head(head, row)] : 0.0f};
            weigh(scores + (first + row) * TILE, most(view.low(row) - places.tile, 0),
                  least(view.high(row) - places.tile, TILE), bend, places.tile - view.position(row),
                  softmax(state)[first + row], values(state) + (first + row) * dims, dims);
        }
    }

    void add_head(const AttentionCall& call, const Item& item, const View& view, const Places& places,
                  int64_t head_of_item, float* state) {
        const QuireAttentionCall& layer = *call.layer;
        const int64_t head = item.head + head_of_item, rows = view.rows, dims = call.dims, first = head_of_item * rows;
        const C* found[TILE];
        const float* wide_rows[TILE];
        const bool widened = is_widened(call, rows);
        find_rows(call, layer.value_cache, places, head, found);
        if (widened) widen(call, found, layer.value_scales, places, head, wide_rows);
        for_strips(item, places, [&](int64_t low, int64_t high) INLINE_LAMBDA {
            float* total = values(state) + first * dims;
            if (widened) add_values_of_tile(scores + first * TILE, wide_rows, rows, low, high, dims, total);
            else if constexpr (!IS_NARROW)
                add_values_of_tile(scores + first * TILE, found, rows, low, high, dims, total);
        });
    }

    // Calls body(low, high) for STRIP places after the other, and asks for as much of what comes next as it reads.
    template <class F>
    void for_strips(const Item& item, const Places& places, const F& body) {
        const int64_t lines = up(STRIP * lines_of_slot(), item.heads);
        for (int64_t t = places.low / STRIP * STRIP; t < places.high; t += STRIP) {
            ahead.take(lines);
            body(most(t, places.low), least(t + STRIP, places.high));
        }
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
