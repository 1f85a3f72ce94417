// attention: softmax(scale · q·k) v over keys and values that lie in cache blocks, for chunks of any length.
//
// Work is cut into items: one key head, a *row block* (consecutive tokens of one sequence with the query heads that
// share the key head folded in, at most MAX_FOLDED rows), one *segment* of the context. Segments of 1024 tokens and
// the tiles of 128 tokens within them lie at fixed positions counted from 0.
//
// Order of accumulation, for each row on its own: a score is added up in WIDTH lanes along the head, the lanes in a
// fixed tree; within a segment tiles follow each other, each rescaling the running sum by its new maximum (online
// softmax); weights of a tile are added in lanes by place, values token after token; segments are merged from the
// first to the last. A tile or segment in which a row sees nothing leaves the row's numbers as they are. So a row's
// bits depend neither on the chunk it came in nor on its neighbours. Only slots of written tokens are read.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t TILE = 128;
constexpr int64_t SEGMENT = 1024;
constexpr int64_t MAX_FOLDED = 32;  // rows of an item; more query heads to a key head take several passes
constexpr int64_t MAX_HEAD = 256;

struct Item {
    int32_t sequence, head, first, segment;  // `first` row block token, counted within the chunk
    int32_t folded_from;                     // first of the query heads (within the group) it takes
    int64_t partial;                         // index of its first partial result, -1 when it is the only segment
};

// One row's state within a segment: its scores' maximum, the sum of its weights; the weighted values lie apart.
struct Softmax {
    float highest, total;
};

struct Scratch {
    alignas(64) float query[MAX_FOLDED * MAX_HEAD];
    alignas(64) float values[MAX_FOLDED * MAX_HEAD];
    alignas(64) float scores[MAX_FOLDED * TILE];
    alignas(64) float keys_wide[TILE * MAX_HEAD];  // a tile's keys, then its values, where they serve many rows
    Softmax state[MAX_FOLDED];
};

// What the items of a call share.
struct AttentionCall {
    const QuireAttentionCall* layer;
    const QuireBatch* batch;
    int64_t group;         // query heads to a key head
    int64_t head_rows;     // query heads an item takes, at most MAX_FOLDED
    int64_t block_tokens;  // tokens of a row block
    int64_t stride;        // head_dim rounded up to whole vectors
    float* partials;       // (partial, row) of Softmax and values
};

// The rows of an item and what they see.
struct Rows {
    int64_t tokens, heads;          // rows are token · heads + head
    int64_t first_token;            // in the step
    int64_t first_position;         // of the first token in its context
    int64_t window;
    INLINE int64_t count(const Rows& r) { return r.tokens * r.heads; }
    int64_t low(int64_t token) const { return window ? most(0, first_position + token - window + 1) : 0; }
    int64_t high(int64_t token) const { return first_position + token + 1; }
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

// Turns a row's scores into weights and brings its state up to date; the values so far are rescaled. Places outside
// low .. high-1 get weight 0.
INLINE void weigh(float* scores, int64_t low, int64_t high, float soft_cap, Softmax& state, float* values,
                  int64_t stride) {
    const Vec nothing = splat(-__builtin_inff());
    if (low >= high) {
        memset(scores, 0, TILE * sizeof(float));
        return;
    }
    for (int64_t t = 0; t < low; ++t) scores[t] = -__builtin_inff();
    for (int64_t t = high; t < TILE; ++t) scores[t] = -__builtin_inff();
    Vec top = nothing;
    for (int64_t t = 0; t < TILE; t += WIDTH) {
        Vec s = load(scores + t);
        if (soft_cap != 0.0f) {
            s = mul(splat(soft_cap), tanh(div(s, splat(soft_cap))));
            store(scores + t, s);
        }
        top = max(top, s);
    }
    if (soft_cap != 0.0f) {
        for (int64_t t = 0; t < low; ++t) scores[t] = -__builtin_inff();
        for (int64_t t = high; t < TILE; ++t) scores[t] = -__builtin_inff();
    }
    float highest_here = highest(top);
    float before = state.highest;
    if (highest_here > before) {
        float keep[WIDTH];
        store(keep, exp(splat(before - highest_here)));  // exp(-inf) is 0
        state.highest = highest_here;
        state.total *= keep[0];
        for (int64_t h = 0; h < stride; h += WIDTH) store(values + h, mul(load(values + h), splat(keep[0])));
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

// Pointers to a tile's rows of one cache; places outside low .. high-1 repeat the nearest written token.
template <class C>
INLINE void find_rows(const AttentionCall& call, const void* cache, const Item& item, int64_t tile, int64_t low,
                      int64_t high, const C** rows) {
    const QuireAttentionCall& layer = *call.layer;
    const int32_t* table = call.batch->tables + call.batch->table_starts[item.sequence];
    const int64_t block_size = call.batch->block_size;
    for (int64_t t = 0; t < TILE; ++t) {
        int64_t place = tile + least(most(t, low), high - 1);
        int64_t slot = table[place / block_size] * block_size + place % block_size;
        rows[t] = static_cast<const C*>(cache) + (slot * layer.key_heads + item.head) * layer.head_dim;
    }
}

// A float32 copy of a tile, rows padded with zeros to whole vectors.
template <class C>
static void widen_rows(const C* const* rows, int64_t low, int64_t high, int64_t head_dim, int64_t stride, float* wide,
                       const float** wide_rows) {
    for (int64_t t = low; t < high; ++t) {
        float* to = wide + t * stride;
        int64_t h = 0;
        for (; h + WIDTH <= head_dim; h += WIDTH) store(to + h, load(rows[t] + h));
        if (h < head_dim) store(to + h, load_part(rows[t] + h, head_dim - h));
    }
    for (int64_t t = 0; t < TILE; ++t) wide_rows[t] = wide + least(most(t, low), high - 1) * stride;
}

template <class C>
static void attend_tile(const AttentionCall& call, const Item& item, const Rows& rows, int64_t tile, Scratch& scratch) {
    const int64_t low = most(rows.low(0) - tile, 0), high = least(rows.high(rows.tokens - 1) - tile, TILE);
    if (low >= high) return;
    const int64_t count = Rows::count(rows), stride = call.stride, head_dim = call.layer->head_dim;
    const bool widened = (sizeof(C) < sizeof(float) && count > 4) || stride != head_dim;
    const C* found[TILE];
    const float* wide[TILE];
    find_rows(call, call.layer->key_cache, item, tile, low, high, found);
    if (widened) {
        widen_rows(found, low, high, head_dim, stride, scratch.keys_wide, wide);
        score_tile(scratch.query, wide, count, stride, low, high, scratch.scores);
    } else {
        score_tile(scratch.query, found, count, stride, low, high, scratch.scores);
    }
    for (int64_t row = 0; row < count; ++row) {
        int64_t token = row / rows.heads;
        weigh(scratch.scores + row * TILE, most(rows.low(token) - tile, 0), least(rows.high(token) - tile, TILE),
              call.layer->soft_cap, scratch.state[row], scratch.values + row * stride, stride);
    }
    find_rows(call, call.layer->value_cache, item, tile, low, high, found);
    if (widened) {
        widen_rows(found, low, high, head_dim, stride, scratch.keys_wide, wide);
        add_values_of_tile(scratch.scores, wide, count, low, high, stride, scratch.values);
    } else {
        add_values_of_tile(scratch.scores, found, count, low, high, stride, scratch.values);
    }
}

INLINE Rows rows_of(const AttentionCall& call, const Item& item) {
    const QuireBatch& batch = *call.batch;
    int64_t start = batch.query_starts[item.sequence], length = batch.query_starts[item.sequence + 1] - start;
    Rows rows;
    rows.tokens = least(call.block_tokens, length - item.first);
    rows.heads = least(call.head_rows, call.group - item.folded_from);
    rows.first_token = start + item.first;
    rows.first_position = batch.context_lens[item.sequence] - length + item.first;
    rows.window = call.layer->window;
    return rows;
}

template <class Q>
static void read_queries(const AttentionCall& call, const Item& item, const Rows& rows, float* query) {
    const QuireAttentionCall& layer = *call.layer;
    const Vec scale = splat(layer.scale);
    for (int64_t row = 0; row < Rows::count(rows); ++row) {
        int64_t head = item.head * call.group + item.folded_from + row % rows.heads;
        const Q* from = static_cast<const Q*>(layer.query) + (rows.first_token + row / rows.heads) * layer.query_stride +
                        head * layer.head_dim;
        int64_t h = 0;
        for (; h + WIDTH <= layer.head_dim; h += WIDTH) store(query + row * call.stride + h, mul(load(from + h), scale));
        if (h < layer.head_dim)
            store(query + row * call.stride + h, mul(load_part(from + h, layer.head_dim - h), scale));
    }
}

template <class Q>
static void write_typed(const AttentionCall& call, const Item& item, const Rows& rows, const Softmax* state,
                        const float* values) {
    const QuireAttentionCall& layer = *call.layer;
    for (int64_t row = 0; row < Rows::count(rows); ++row) {
        int64_t head = item.head * call.group + item.folded_from + row % rows.heads;
        Q* to = static_cast<Q*>(layer.output) +
                ((rows.first_token + row / rows.heads) * layer.heads + head) * layer.head_dim;
        const float* from = values + row * call.stride;
        Vec total = splat(state[row].total);
        int64_t h = 0;
        for (; h + WIDTH <= layer.head_dim; h += WIDTH) store(to + h, div(load(from + h), total));
        if (h < layer.head_dim) store_part(to + h, div(load(from + h), total), layer.head_dim - h);
    }
}

static void write_outputs(const AttentionCall& call, const Item& item, const Rows& rows, const Softmax* state,
                          const float* values) {
    with_dtype(call.layer->dtype,
               [&](auto type) { write_typed<decltype(type)>(call, item, rows, state, values); });
}

INLINE float* partial_of(const AttentionCall& call, int64_t partial) {
    return call.partials + partial * MAX_FOLDED * (2 + call.stride);
}

template <class C>
static void attend_item(const AttentionCall& call, const Item& item) {
    Scratch scratch;
    const Rows rows = rows_of(call, item);
    const int64_t count = Rows::count(rows), stride = call.stride;
    with_dtype(call.layer->dtype, [&](auto type) { read_queries<decltype(type)>(call, item, rows, scratch.query); });
    memset(scratch.values, 0, static_cast<size_t>(count * stride) * sizeof(float));
    for (int64_t row = 0; row < count; ++row) scratch.state[row] = {-__builtin_inff(), 0.0f};
    int64_t end = least((item.segment + 1) * SEGMENT, rows.high(rows.tokens - 1));
    int64_t begin = most(item.segment * SEGMENT, rows.low(0) / TILE * TILE);
    for (int64_t tile = begin; tile < end; tile += TILE) attend_tile<C>(call, item, rows, tile, scratch);
    if (item.partial < 0) return write_outputs(call, item, rows, scratch.state, scratch.values);
    float* partial = partial_of(call, item.partial);
    memcpy(partial, scratch.state, sizeof(Softmax) * static_cast<size_t>(count));
    memcpy(partial + 2 * MAX_FOLDED, scratch.values, static_cast<size_t>(count * stride) * sizeof(float));
}

// Adds up the partial results of a row block's segments, the first to the last, and writes its outputs.
static void merge_segments(const AttentionCall& call, const Item& item, int64_t segments) {
    const Rows rows = rows_of(call, item);
    const int64_t count = Rows::count(rows), stride = call.stride;
    float* first = partial_of(call, item.partial);
    auto* state = reinterpret_cast<Softmax*>(first);
    for (int64_t s = 1; s < segments; ++s) {
        float* partial = partial_of(call, item.partial + s);
        for (int64_t row = 0; row < count; ++row) {
            Softmax& a = state[row];
            const Softmax& b = reinterpret_cast<const Softmax*>(partial)[row];
            if (b.total == 0.0f) continue;  // it saw nothing there
            float top = a.highest > b.highest ? a.highest : b.highest, keep[WIDTH], take[WIDTH];
            store(keep, exp(splat(a.highest - top)));
            store(take, exp(splat(b.highest - top)));
            a = {top, a.total * keep[0] + b.total * take[0]};
            float* to = first + 2 * MAX_FOLDED + row * stride;
            const float* from = partial + 2 * MAX_FOLDED + row * stride;
            for (int64_t h = 0; h < stride; h += WIDTH)
                store(to + h, add(mul(load(to + h), splat(keep[0])), mul(load(from + h), splat(take[0]))));
        }
    }
    write_outputs(call, item, rows, state, first + 2 * MAX_FOLDED);
}

// Cuts the step into items; with `items` null only counts them. Returns items, row blocks with several segments and
// partial results. Items of one row block follow each other.
struct Counts {
    int64_t items, partials, cost;
};
static Counts list_items(const AttentionCall& call, Item* items) {
    Counts counts{};
    for (int64_t s = 0; s < call.batch->sequences; ++s) {
        int64_t length = call.batch->query_starts[s + 1] - call.batch->query_starts[s];
        for (int64_t first = 0; first < length; first += call.block_tokens)
            for (int64_t head = 0; head < call.layer->key_heads; ++head)
                for (int64_t folded = 0; folded < call.group; folded += call.head_rows) {
                    Item item{static_cast<int32_t>(s),      static_cast<int32_t>(head), static_cast<int32_t>(first), 0,
                              static_cast<int32_t>(folded), -1};
                    const Rows rows = rows_of(call, item);
                    int64_t high = rows.high(rows.tokens - 1);
                    int64_t segment = rows.low(0) / SEGMENT, last = (high - 1) / SEGMENT;
                    counts.cost += (high - rows.low(0)) * (Rows::count(rows) + 4) * call.stride / WIDTH;
                    bool several = last > segment;
                    for (; segment <= last; ++segment) {
                        item.segment = static_cast<int32_t>(segment);
                        item.partial = several ? counts.partials++ : -1;
                        if (items) items[counts.items] = item;
                        ++counts.items;
                    }
                }
    }
    return counts;
}

template <class C>
static void attention_typed(AttentionCall& call) {
    const Counts counts = list_items(call, nullptr);
    if (!counts.items) return;
    Item* items = static_cast<Item*>(__builtin_malloc(static_cast<size_t>(counts.items) * sizeof(Item)));
    list_items(call, items);
    call.partials = counts.partials ? static_cast<float*>(__builtin_malloc(
        static_cast<size_t>(counts.partials * MAX_FOLDED * (2 + call.stride)) * sizeof(float))) : nullptr;
    share(counts.items, counts.cost / counts.items + 1, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) attend_item<C>(call, items[i]);
    });
    for (int64_t i = 0, next; i < counts.items; i = next) {
        for (next = i + 1; next < counts.items && items[next].segment == items[next - 1].segment + 1 &&
                           items[next].partial > 0; ++next) {}
        if (items[i].partial >= 0) merge_segments(call, items[i], next - i);
    }
    __builtin_free(call.partials);
    __builtin_free(items);
}

static void attention(const QuireAttentionCall* layer) {
    AttentionCall call{};
    call.layer = layer;
    call.batch = layer->batch;
    call.group = layer->heads / layer->key_heads;
    call.head_rows = least(call.group, MAX_FOLDED);
    call.block_tokens = MAX_FOLDED / call.head_rows;
    call.stride = up(layer->head_dim, WIDTH) * WIDTH;
    with_dtype(layer->cache_dtype, [&](auto cached) { attention_typed<decltype(cached)>(call); });
}

}  // namespace quire::QUIRE_NAMESPACE
