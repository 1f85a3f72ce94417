// The attention kernel over vectors of float32: any instruction set, types and head up to 512 wide.
//
// Order of accumulation of a row: a score is added up in WIDTH lanes along the head, the lanes in a fixed tree;
// weights of a tile are added in lanes by place, values token after token. Where queries and cache are bfloat16 and the
// processor multiplies pairs of it, a lane of a score takes pairs, and values go by pairs of tokens, weights rounded.
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

#if QUIRE_LEVEL >= 3
// The same for values in bfloat16: weights are rounded to it, and tokens go by pairs. Unpacking two rows of 32 numbers gives
// pairs in an order of its own, which values keep until they are written: quarters 0 of the four eights, then quarters 1.
template <int ROWS, int BLOCKS>
INLINE void add_pairs(const uint32_t* weights, const bf16* const* rows_of_values, int64_t low, int64_t high, int64_t stride,
                      int64_t h, float* values) {
    Vec total[ROWS][BLOCKS][2];
    UNROLL for (int r = 0; r < ROWS; ++r)
        UNROLL for (int b = 0; b < 2 * BLOCKS; ++b) total[r][b / 2][b % 2] = load(values + r * stride + h + b * WIDTH);
    for (int64_t t = low / 2; 2 * t < high; ++t)
        UNROLL for (int b = 0; b < BLOCKS; ++b) {
            const __m512i even = _mm512_loadu_si512(rows_of_values[2 * t] + h + b * 2 * WIDTH);
            const __m512i odd = _mm512_loadu_si512(rows_of_values[2 * t + 1] + h + b * 2 * WIDTH);
            const __m512i first = _mm512_unpacklo_epi16(even, odd), second = _mm512_unpackhi_epi16(even, odd);
            UNROLL for (int r = 0; r < ROWS; ++r) {
                total[r][b][0] = pair_dot(total[r][b][0], first, weights[r * TILE + t]);
                total[r][b][1] = pair_dot(total[r][b][1], second, weights[r * TILE + t]);
            }
        }
    UNROLL for (int r = 0; r < ROWS; ++r)
        UNROLL for (int b = 0; b < 2 * BLOCKS; ++b) store(values + r * stride + h + b * WIDTH, total[r][b / 2][b % 2]);
}

template <int ROWS>
static void add_pairs_of_rows(const uint32_t* weights, const bf16* const* rows_of_values, int64_t low, int64_t high,
                              int64_t stride, float* values) {
    constexpr int BLOCKS = ROWS == 4 ? 2 : 4;
    int64_t h = 0;
    for (; h + BLOCKS * 2 * WIDTH <= stride; h += BLOCKS * 2 * WIDTH)
        add_pairs<ROWS, BLOCKS>(weights, rows_of_values, low, high, stride, h, values);
    for (; h < stride; h += 2 * WIDTH) add_pairs<ROWS, 1>(weights, rows_of_values, low, high, stride, h, values);
}

static void add_pairs_of_tile(const uint32_t* weights, const bf16* const* rows_of_values, int64_t rows, int64_t low,
                              int64_t high, int64_t stride, float* values) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4)
        add_pairs_of_rows<4>(weights + row * TILE, rows_of_values, low, high, stride, values + row * stride);
    for (; row + 2 <= rows; row += 2)
        add_pairs_of_rows<2>(weights + row * TILE, rows_of_values, low, high, stride, values + row * stride);
    for (; row < rows; ++row)
        add_pairs_of_rows<1>(weights + row * TILE, rows_of_values, low, high, stride, values + row * stride);
}

// A row's weights as bfloat16, in the first half of their own place.
INLINE void round_weights(float* weights) {
    for (int64_t t = 0; t < TILE; t += WIDTH) store(reinterpret_cast<bf16*>(weights) + t, load(weights + t));
}

// 32 values of a row, out of the order that pairs gave them, one half of them.
INLINE Vec in_order(const float* values, int half) {
    const __m512i places = half ? _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)
                                : _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    return _mm512_permutex2var_ps(load(values), places, load(values + WIDTH));
}
#else  // named, never called
void add_pairs_of_tile(const uint32_t*, const bf16* const*, int64_t, int64_t, int64_t, int64_t, float*);
void round_weights(float*);
Vec in_order(const float*, int);
#endif

template <class C>
struct RowsKernel {
    static constexpr bool HAS_PAIRS = is_bfloat16<C> && HAS_PAIR_DOT;
    static constexpr int64_t MAX_ROWS = 32, MAX_DIMS = 512;
    static constexpr int64_t STRETCH = 16;  // places that all heads of an item go through before the next ones
    static constexpr bool IS_NARROW = sizeof(C) == 1;  // read as float32 copies always, other types by many rows only

    alignas(64) float query[MAX_ROWS * MAX_DIMS];
    alignas(64) float scores[MAX_ROWS * TILE];
    alignas(64) float wide[STRETCH * MAX_DIMS];
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
        const bool by_pairs = goes_by_pairs(call);
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

    static void find_rows(const AttentionCall& call, const Item& item, const void* cache, const int64_t* slots,
                          int64_t count, const C** rows) {
        const QuireAttentionCall& layer = *call.layer;
        const C* first = static_cast<const C*>(cache) + item.head * layer.head_dim;
        const int64_t slot_size = layer.key_heads * layer.head_dim;
        for (int64_t t = 0; t < count; ++t) rows[t] = first + slots[t] * slot_size;
    }

    // Keys of all heads, then values of all heads. In the lists of rows, which are those of the item's first head, the
    // tile's last keys are followed by its first values, its last values by the next tile's first keys.
    void attend(const AttentionCall& call, const Item& item, const View& view, const Places& places,
                const Places* next, float* state) {
        const QuireAttentionCall& layer = *call.layer;
        const int64_t begin = places.low / STRETCH * STRETCH, end = up(places.high, STRETCH) * STRETCH;
        const C *key_rows[TILE + STRETCH], *value_rows[TILE + STRETCH];
        find_rows(call, item, layer.key_cache, places.slots, end, key_rows);
        find_rows(call, item, layer.value_cache, places.slots, end, value_rows);
        memcpy(key_rows + end, value_rows + begin, STRETCH * sizeof(C*));
        find_rows(call, item, layer.key_cache, next ? next->slots : places.slots, STRETCH, value_rows + end);
        for_stretches(call, item, view, places, key_rows, layer.key_scales,
                      [&](int64_t head, int64_t first, int64_t low, int64_t high, auto keys) INLINE_LAMBDA {
                          score(call, view.rows, head, first, low, high, keys);
                      });
        for (int64_t head = 0; head < item.heads; ++head) weigh_head(call, item, view, places, head, state);
        for_stretches(call, item, view, places, value_rows, layer.value_scales,
                      [&](int64_t head, int64_t first, int64_t low, int64_t high, auto found) INLINE_LAMBDA {
                          add_values_of_head(call, view.rows, head, first, low, high, found, values(state));
                      });
    }

    // Calls body(head, first, low, high, rows) for one stretch of the tile after the other, all heads of each: `rows`
    // are the head's in the cache or float32 copies; they, `low` and `high` count from the stretch's first place.
    template <class F>
    void for_stretches(const AttentionCall& call, const Item& item, const View& view, const Places& places,
                       const C* const* rows, const float* scales, const F& body) {
        const bool widened = is_widened(call, view.rows) && !goes_by_pairs(call);
        for (int64_t t = places.low / STRETCH * STRETCH; t < places.high; t += STRETCH) {
            const int64_t low = most(places.low - t, 0), high = least(places.high - t, STRETCH);
            for (int64_t head = 0; head < item.heads; ++head) {
                const C* found[STRETCH];
                take_rows(call, rows + t, head, found);
                if (widened) {
                    const float* wide_rows[STRETCH];
                    const float* of_head = scales ? scales + item.head + head : nullptr;
                    widen(call, found, of_head, places.slots + t, low, high, wide_rows);
                    body(head, t, low, high, static_cast<const float* const*>(wide_rows));
                } else if constexpr (!IS_NARROW) {
                    body(head, t, low, high, static_cast<const C* const*>(found));
                }
            }
        }
    }

    // A head's part of a stretch's rows; asks for the same part of the rows that are read a stretch later. They are
    // asked into the second cache: the first can wait for too few lines at once to keep memory busy.
    static void take_rows(const AttentionCall& call, const C* const* rows, int64_t head, const C** found) {
        constexpr int64_t LINE = 64 / sizeof(C);
        const int64_t head_dim = call.layer->head_dim;
        for (int64_t t = 0; t < STRETCH; ++t) {
            found[t] = rows[t] + head * head_dim;
            const C* later = rows[t + STRETCH] + head * head_dim;
            for (int64_t h = 0; h < head_dim; h += LINE) __builtin_prefetch(later + h, 0, 2);
        }
    }

    // Float32 copies of a head's rows at places low .. high-1, padded with zeros to whole vectors, times their scales
    // where they have any; other places repeat the nearest.
    void widen(const AttentionCall& call, const C* const* rows, const float* scales, const int64_t* slots,
               int64_t low, int64_t high, const float** wide_rows) {
        const int64_t head_dim = call.layer->head_dim;
        for (int64_t t = low; t < high; ++t) {
            float* to = wide + t * call.dims;
            const Vec scale = splat(scales ? scales[slots[t] * call.layer->key_heads] : 1.0f);
            int64_t h = 0;
            for (; h + WIDTH <= head_dim; h += WIDTH) store(to + h, mul(load(rows[t] + h), scale));
            if (h < head_dim) store(to + h, mul(load_part(rows[t] + h, head_dim - h), scale));
        }
        for (int64_t t = 0; t < STRETCH; ++t) wide_rows[t] = wide + least(most(t, low), high - 1) * call.dims;
    }

    // Queries stay as they are then, and scores are scaled afterwards.
    static bool goes_by_pairs(const AttentionCall& call) {
        return HAS_PAIRS && call.layer->dtype == QUIRE_BFLOAT16 && call.layer->head_dim % (2 * WIDTH) == 0;
    }

    static bool is_widened(const AttentionCall& call, int64_t rows) {
        return IS_NARROW || (sizeof(C) < sizeof(float) && rows > 4) || call.dims != call.layer->head_dim;
    }

    template <class T>
    void score(const AttentionCall& call, int64_t rows, int64_t head, int64_t first, int64_t low, int64_t high,
               const T* const* keys) {
        const int64_t row = head * rows;
        float* to = scores + row * TILE + first;
        if constexpr (HAS_PAIRS && is_bfloat16<T>) {
            const auto* pairs = reinterpret_cast<const bf16*>(query) + row * call.dims;
            if (goes_by_pairs(call)) return score_tile(pairs, keys, rows, call.dims, low, high, to);
        }
        score_tile(query + row * call.dims, keys, rows, call.dims, low, high, to);
    }

    void weigh_head(const AttentionCall& call, const Item& item, const View& view, const Places& places, int64_t head,
                    float* state) {
        const QuireAttentionCall& layer = *call.layer;
        const bool by_pairs = goes_by_pairs(call);
        for (int64_t r = 0; r < view.rows; ++r) {
            const int64_t row = head * view.rows + r;
            const float slope = layer.slopes ? layer.slopes[view.query_head(item.head + head, r)] : 0.0f;
            weigh(scores + row * TILE, most(view.low(r) - places.tile, 0), least(view.high(r) - places.tile, TILE),
                  Bend{by_pairs ? layer.scale : 1.0f, layer.soft_cap, slope}, places.tile - view.position(r),
                  softmax(state)[row], values(state) + row * call.dims, call.dims);
            if constexpr (HAS_PAIRS)
                if (by_pairs) round_weights(scores + row * TILE);
        }
    }

    template <class T>
    void add_values_of_head(const AttentionCall& call, int64_t rows, int64_t head, int64_t first, int64_t low,
                            int64_t high, const T* const* found, float* total) {
        const float* weights = scores + head * rows * TILE;
        total += head * rows * call.dims;
        if constexpr (HAS_PAIRS && is_bfloat16<T>) {
            const auto* pairs = reinterpret_cast<const uint32_t*>(weights) + first / 2;
            if (goes_by_pairs(call)) return add_pairs_of_tile(pairs, found, rows, low, high, call.dims, total);
        }
        add_values_of_tile(weights + first, found, rows, low, high, call.dims, total);
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
        [[maybe_unused]] const bool by_pairs = goes_by_pairs(call);
        for (int64_t row = 0; row < item.heads * view.rows; ++row) {
            const int64_t head = view.query_head(item.head + row / view.rows, row % view.rows);
            Q* to = static_cast<Q*>(layer.output) + (view.token(row % view.rows) * layer.heads + head) * layer.head_dim;
            const float* from = values(state) + row * call.dims;
            float sink[WIDTH] = {};  // what the head attends to beside the tokens, with a value of zero
            if (layer.sinks) store(sink, exp(splat(layer.sinks[head] - softmax(state)[row].highest)));
            const Vec total = splat(softmax(state)[row].total + sink[0]);
            int64_t h = 0;
            if constexpr (HAS_PAIRS)
                for (; by_pairs && h < layer.head_dim; h += 2 * WIDTH)
                    UNROLL for (int half = 0; half < 2; ++half)
                        store(to + h + half * WIDTH, div(in_order(from + h, half), total));
            for (; h + WIDTH <= layer.head_dim; h += WIDTH) store(to + h, div(load(from + h), total));
            if (h < layer.head_dim) store_part(to + h, div(load(from + h), total), layer.head_dim - h);
        }
    }
};

}  // namespace quire::QUIRE_NAMESPACE
