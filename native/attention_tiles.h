// The attention kernel over AMX tiles: queries in bfloat16, keys, weights and values brought to bfloat16.
//
// Scores are turned on their side, so that 16 rows (query heads of tokens) are the 16 lanes of a vector:
//
//     scores  (keys x rows)  = K · Qᵀ    K as it lies, 16 keys to a tile; Qᵀ in pairs along the head, packed once
//     weights (keys x rows)              maximum, exponential and sum lane by lane, no lane meets another
//     values  (rows x dims) += Wᵀ · V    W turned, 32 keys at a time; V in pairs of keys, two rows at a time
//
// Pairs of keys are made by unpacking, which leaves the numbers of a head out of order: of 32, in the first tile stand
// the first, third, fifth and seventh four, in the second the others. `write` puts them back.
//
// Order of accumulation of a row: a score is the sum over pairs of the head's numbers in order; a tile's weights are
// added in four sums by place modulo 4; values over pairs of tokens in order. One decoding row goes the same way as
// 256 of a prompt, so their bits are the same. Scores are in units of log 2, weights are powers of two.
//
// State of an item: for each key head and block of 16 rows highest score and total weight of 16 rows, then 16 rows of
// `dims` weighted values.
#pragma once

#include "attention_items.h"

#if QUIRE_LEVEL >= 4
#include "amx.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t LANES = 16;
constexpr int64_t DEPTH = 32;  // numbers of bfloat16 in a row of a tile
constexpr float LOG2_E = 1.44269504f;

// 2^x within 3e-6; exactly 1 at 0, 0 for -inf.
INLINE Vec exp2(Vec x) {
    Vec r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // what is left of a whole number below
    Vec p = fma(r, splat(1.342623649e-2f), splat(5.224319223e-2f));
    p = fma(p, r, splat(2.412798720e-1f));
    p = fma(p, r, splat(6.930448858e-1f));
    p = fma(p, r, splat(1.0f));
    return _mm512_scalef_ps(p, x);
}

// 16 rows of 16 32-bit words become columns.
INLINE void transpose(__m512i* rows) {
    __m512i a[16], b[16];
    UNROLL for (int i = 0; i < 8; ++i) {
        a[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 4; ++i) {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    UNROLL for (int i = 0; i < 4; ++i) {
        a[i] = _mm512_shuffle_i32x4(b[i], b[4 + i], 0x88);
        a[4 + i] = _mm512_shuffle_i32x4(b[i], b[4 + i], 0xdd);
        a[8 + i] = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0x88);
        a[12 + i] = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0xdd);
    }
    UNROLL for (int i = 0; i < 8; ++i) {
        rows[i] = _mm512_shuffle_i32x4(a[i], a[8 + i], 0x88);
        rows[8 + i] = _mm512_shuffle_i32x4(a[i], a[8 + i], 0xdd);
    }
}

// 32 numbers as bfloat16, in order.
template <class C>
INLINE __m512i as_bf16(const C* from) {
    return (__m512i)_mm512_cvtne2ps_pbh(load(from + WIDTH), load(from));
}
INLINE __m512i as_bf16(const bf16* from) { return _mm512_loadu_si512(from); }

// The 32 of a row's `count` numbers from `at` on; zeros past the last.
template <class C>
INLINE __m512i numbers_at(const C* row, int64_t at, int64_t count) {
    if (at + DEPTH <= count) return as_bf16(row + at);
    C padded[DEPTH] = {};
    memcpy(padded, row + at, static_cast<size_t>(count - at) * sizeof(C));
    return as_bf16(padded);
}

template <class C>
INLINE void copy_row(const C* from, int64_t count, int64_t dims, bf16* to) {
    for (int64_t h = 0; h < dims; h += DEPTH) _mm512_store_si512(to + h, numbers_at(from, h, count));
}

// How scores become weights.
struct Weighing {
    float factor;    // to units of log 2
    float soft_cap;  // 0: none
    bool is_bent;    // scores change before they are weighed: soft cap, slopes or scales of keys
    const float* key_scales;
    const float* value_scales;
};

// The next tile's keys and values in all heads of an item, asked for into the second cache bit by bit while this tile is
// worked on: in the order in which they lie, which lets the machine fetch ahead on its own as well.
template <class C>
class NextTile {
    const C* caches[2];
    const int64_t* slots;
    int64_t slot_size, end, row_bytes;
    int64_t cache = 0, place, byte = 0;

  public:
    NextTile(const AttentionCall& call, const Item& item, const Places* next)
        : slots(next ? next->slots : nullptr), slot_size(call.layer->key_heads * call.layer->head_dim),
          end(next ? next->high : 0), row_bytes(item.heads * call.layer->head_dim * static_cast<int64_t>(sizeof(C))),
          place(next ? next->low : 0) {
        const int64_t first = item.head * call.layer->head_dim;
        caches[0] = static_cast<const C*>(call.layer->value_cache) + first;  // in the order of use
        caches[1] = static_cast<const C*>(call.layer->key_cache) + first;
    }

    INLINE_LAMBDA void ask(int64_t lines) {
        for (; lines && place < end; --lines) {
            __builtin_prefetch(reinterpret_cast<const char*>(caches[cache] + slots[place] * slot_size) + byte, 0, 2);
            byte += 64;
            if (byte < row_bytes) continue;
            byte = 0;
            place += cache;
            cache ^= 1;
        }
    }
};

template <class C>
struct TilesKernel {
    static constexpr int64_t MAX_ROWS = 256, MAX_DIMS = 256, BLOCKS = MAX_ROWS / LANES;

    alignas(64) bf16 query[MAX_ROWS * MAX_DIMS];    // by head and block: dims / 2 pairs by 16 rows
    alignas(64) bf16 keys[TILE * MAX_DIMS];         // by token, where they are copied
    alignas(64) bf16 values[TILE * MAX_DIMS];       // by 32 tokens and 16 dims: pairs of tokens by dims
    alignas(64) float scores[2][TILE * LANES];      // keys by rows
    alignas(64) bf16 weights[2][TILE * LANES];      // by 32 keys: rows by keys
    alignas(64) float states[2][MAX_ROWS * (2 + MAX_DIMS)];
    alignas(64) int32_t low[MAX_ROWS], high[MAX_ROWS];  // positions each row sees
    alignas(64) float slopes[MAX_ROWS];                 // by head and row, in units of log 2
    const bf16* key_rows[TILE / LANES];                 // of 16 keys each, which lie key_stride bytes apart
    int64_t key_stride;

    static int64_t padded(int64_t rows) { return up(rows, LANES) * LANES; }
    static int64_t blocks(const Item& item) { return up(item.rows, LANES); }
    static int64_t block_floats(const AttentionCall& call) { return LANES * (2 + call.dims); }
    static int64_t state_floats(const AttentionCall& call) { return BLOCKS * block_floats(call); }

    void begin(const AttentionCall& call, const Item& item, const View& view) {
        use_tiles();
        const QuireAttentionCall& layer = *call.layer;
        const int64_t padded_rows = padded(view.rows);
        for (int64_t row = 0; row < padded_rows; ++row) {
            const int64_t real = least(row, view.rows - 1);  // the others of a block see what the last one sees
            low[row] = static_cast<int32_t>(view.low(real));
            high[row] = static_cast<int32_t>(view.high(real));
        }
        for (int64_t head = 0; head < item.heads; ++head)
            for (int64_t row = 0; row < padded_rows; row += LANES)
                read_queries(call, item, view, head, row, query + (head * padded_rows + row) * call.dims);
        if (!layer.slopes) return;
        for (int64_t head = 0; head < item.heads; ++head)
            for (int64_t row = 0; row < padded_rows; ++row)
                slopes[head * padded_rows + row] =
                    row < view.rows ? layer.slopes[view.query_head(item.head + head, row)] * LOG2_E : 0.0f;
    }

    static void read_queries(const AttentionCall& call, const Item& item, const View& view, int64_t head, int64_t first,
                             bf16* packed) {
        const QuireAttentionCall& layer = *call.layer;
        alignas(64) bf16 rows[LANES][MAX_DIMS];
        const int64_t count = least(LANES, view.rows - first);
        for (int64_t r = 0; r < LANES; ++r) {
            if (r >= count) {
                memset(rows[r], 0, static_cast<size_t>(call.dims) * sizeof(bf16));
                continue;
            }
            const int64_t from = view.token(first + r) * layer.query_stride +
                                 view.query_head(item.head + head, first + r) * layer.head_dim;
            copy_row(static_cast<const bf16*>(layer.query) + from, layer.head_dim, call.dims, rows[r]);
        }
        for (int64_t h = 0; h < call.dims; h += DEPTH) {
            __m512i words[16];
            UNROLL for (int r = 0; r < 16; ++r) words[r] = _mm512_load_si512(rows[r] + h);
            transpose(words);
            UNROLL for (int r = 0; r < 16; ++r) _mm512_store_si512(packed + h * LANES + r * DEPTH, words[r]);
        }
    }

    static void clear(const AttentionCall& call, const Item& item, float* state) {
        for (int64_t block = 0; block < item.heads * blocks(item); ++block) {
            float* of = state + block * block_floats(call);
            store(of, splat(-__builtin_inff()));
            memset(of + LANES, 0, static_cast<size_t>((1 + call.dims) * LANES) * sizeof(float));
        }
    }

    static const C* row_of(const AttentionCall& call, const void* cache, const Places& places, int64_t head, int64_t t) {
        const QuireAttentionCall& layer = *call.layer;
        return static_cast<const C*>(cache) + (places.slots[t] * layer.key_heads + head) * layer.head_dim;
    }

    // Finds the keys where they are, if tiles can read them from there and few rows do so, or copies them.
    void read_keys(const AttentionCall& call, const Item& item, const Places& places, int64_t head) {
        const QuireAttentionCall& layer = *call.layer;
        if constexpr (is_bfloat16<C>) {
            const bool lie_together = call.batch->block_size % LANES == 0 && places.low == 0 && places.high == TILE;
            if (lie_together && blocks(item) <= 2 && layer.head_dim == call.dims) {
                for (int64_t i = 0; i < TILE / LANES; ++i)
                    key_rows[i] = row_of(call, layer.key_cache, places, head, i * LANES);
                key_stride = layer.key_heads * layer.head_dim * static_cast<int64_t>(sizeof(bf16));
                return;
            }
        }
        for (int64_t t = places.low; t < places.high; ++t)
            copy_row(row_of(call, layer.key_cache, places, head, t), layer.head_dim, call.dims, keys + t * call.dims);
        for (int64_t i = 0; i < TILE / LANES; ++i) key_rows[i] = keys + i * LANES * call.dims;
        key_stride = call.dims * static_cast<int64_t>(sizeof(bf16));
    }

    // Values in pairs of tokens; tokens nobody may look at are zeros.
    void pair_values(const AttentionCall& call, const Places& places, int64_t head, NextTile<C>& next) {
        static constexpr C NOTHING[MAX_DIMS] = {};
        const int64_t begin = places.low / DEPTH * DEPTH, end = up(places.high, DEPTH) * DEPTH;
        const int64_t head_dim = call.layer->head_dim;
        const auto row = [&](int64_t t) INLINE_LAMBDA {
            const bool is_seen = places.low <= t && t < places.high;
            return is_seen ? row_of(call, call.layer->value_cache, places, head, t) : NOTHING;
        };
        for (int64_t t = begin; t < end; t += 2) {
            const C *even = row(t), *odd = row(t + 1);
            bf16* to = values + t / DEPTH * DEPTH * call.dims + t % DEPTH / 2 * DEPTH;
            for (int64_t d = 0; d < call.dims; d += DEPTH, to += DEPTH * DEPTH) {
                const __m512i first = numbers_at(even, d, head_dim), second = numbers_at(odd, d, head_dim);
                _mm512_store_si512(to, _mm512_unpacklo_epi16(first, second));
                _mm512_store_si512(to + LANES * DEPTH, _mm512_unpackhi_epi16(first, second));
            }
            next.ask(call.dims / LANES + 1);
        }
    }

    void attend(const AttentionCall& call, const Item& item, const View&, const Places& places, const Places* next,
                float* state) {
        NextTile<C> coming(call, item, next);
        for (int64_t head = 0; head < item.heads; ++head) attend_head(call, item, places, head, coming, state);
    }

    void attend_head(const AttentionCall& call, const Item& item, const Places& places, int64_t head, NextTile<C>& next,
                     float* state) {
        const QuireAttentionCall& layer = *call.layer;
        float key_scales[TILE], value_scales[TILE];
        Weighing how{layer.scale * LOG2_E, layer.soft_cap, false, nullptr, nullptr};
        if (layer.key_scales) {
            find_scales(layer.key_scales, places, layer.key_heads, item.head + head, key_scales);
            find_scales(layer.value_scales, places, layer.key_heads, item.head + head, value_scales);
            how.key_scales = key_scales;
            how.value_scales = value_scales;
            const int64_t begin = places.low / DEPTH * DEPTH, end = up(places.high, DEPTH) * DEPTH;
            for (int64_t t = begin; t < places.low; ++t) key_scales[t] = value_scales[t] = 0.0f;
            for (int64_t t = places.high; t < end; ++t) key_scales[t] = value_scales[t] = 0.0f;
        }
        how.is_bent = layer.soft_cap != 0.0f || layer.slopes || layer.key_scales;
        pair_values(call, places, item.head + head, next);
        read_keys(call, item, places, item.head + head);
        const int64_t count = blocks(item);
        int64_t block = 0;
        for (; block + 2 <= count; block += 2)
            attend_blocks<2>(call, places, how, head * count + block, block * LANES, next, state);
        if (block < count) attend_blocks<1>(call, places, how, head * count + block, block * LANES, next, state);
    }

    // `block` counts over all heads, `row` over the rows of one.
    template <int N>
    void attend_blocks(const AttentionCall& call, const Places& places, const Weighing& how, int64_t block, int64_t row,
                       NextTile<C>& next, float* state) {
        const int64_t from = most(low[row] - places.tile, 0) / DEPTH * DEPTH;
        const int64_t to = up(least(high[row + N * LANES - 1] - places.tile, TILE), DEPTH) * DEPTH;
        if (from >= to) return;
        float* states_of[N];
        UNROLL for (int n = 0; n < N; ++n) states_of[n] = state + (block + n) * block_floats(call);
        score<N>(call, block, from, to, next);
        UNROLL for (int n = 0; n < N; ++n) {
            const int64_t first = row + n * LANES;
            const bool is_hidden = low[first + LANES - 1] > places.tile + from || high[first] < places.tile + to;
            if (how.is_bent) bend(call, how, places.tile, from, to, block + n, first, scores[n]);
            if (is_hidden) hide(places.tile, from, to, first, scores[n]);
            weigh(call, how, from, to, scores[n], weights[n], states_of[n]);
        }
        add_values<N>(call, from, to, next, states_of);
    }

    template <int N>
    void score(const AttentionCall& call, int64_t block, int64_t from, int64_t to, NextTile<C>& next) {
        const bf16* packed = query + block * LANES * call.dims;
        for (int64_t t = from; t < to; t += DEPTH) {
            const bf16 *first = key_rows[t / LANES], *second = key_rows[t / LANES + 1];
            next.ask(call.dims / 2);
            _tile_zero(0);
            _tile_zero(1);
            if constexpr (N == 2) {
                _tile_zero(2);
                _tile_zero(3);
            }
            for (int64_t h = 0; h < call.dims; h += DEPTH) {
                _tile_loadd(4, first + h, key_stride);
                _tile_loadd(5, second + h, key_stride);
                _tile_loadd(6, packed + h * LANES, TILE_BYTES);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 5, 6);
                if constexpr (N == 2) {
                    _tile_loadd(7, packed + (call.dims + h) * LANES, TILE_BYTES);
                    _tile_dpbf16ps(2, 4, 7);
                    _tile_dpbf16ps(3, 5, 7);
                }
            }
            _tile_stored(0, scores[0] + t * LANES, TILE_BYTES);
            _tile_stored(1, scores[0] + (t + LANES) * LANES, TILE_BYTES);
            if constexpr (N == 2) {
                _tile_stored(2, scores[1] + t * LANES, TILE_BYTES);
                _tile_stored(3, scores[1] + (t + LANES) * LANES, TILE_BYTES);
            }
        }
    }

    // Scales of keys, soft cap and slopes; scores leave in units of log 2.
    void bend(const AttentionCall& call, const Weighing& how, int64_t tile, int64_t from, int64_t to, int64_t block,
              int64_t row, float* of) {
        const Vec slope = call.layer->slopes ? load(slopes + block * LANES) : splat(0.0f);
        const Vec position = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(high + row), _mm512_set1_epi32(1)));
        const Vec cap = splat(how.soft_cap * LOG2_E);
        for (int64_t t = from; t < to; ++t) {
            Vec s = mul(load(of + t * LANES), splat(how.key_scales ? how.factor * how.key_scales[t] : how.factor));
            if (how.soft_cap != 0.0f) s = mul(cap, tanh(div(s, cap)));
            if (call.layer->slopes) s = fma(slope, sub(splat(static_cast<float>(tile + t)), position), s);
            store(of + t * LANES, s);
        }
    }

    void hide(int64_t tile, int64_t from, int64_t to, int64_t row, float* of) {
        const __m512i lows = _mm512_load_si512(low + row), highs = _mm512_load_si512(high + row);
        const Vec nothing = splat(-__builtin_inff());
        for (int64_t t = from; t < to; ++t) {
            const __m512i place = _mm512_set1_epi32(static_cast<int>(tile + t));
            const __mmask16 is_seen = _mm512_cmplt_epi32_mask(place, highs) & _mm512_cmple_epi32_mask(lows, place);
            store(of + t * LANES, _mm512_mask_mov_ps(nothing, is_seen, load(of + t * LANES)));
        }
    }

    // Scores become weights, row by row; the state's maximum, total and values are brought up to date.
    static void weigh(const AttentionCall& call, const Weighing& how, int64_t from, int64_t to, const float* of,
                      bf16* rows, float* state) {
        const Vec nothing = splat(-__builtin_inff()), before = load(state);
        const Vec factor = splat(how.is_bent ? 1.0f : how.factor);
        Vec top[4] = {nothing, nothing, nothing, nothing};
        for (int64_t t = from; t < to; t += 4)
            UNROLL for (int i = 0; i < 4; ++i) top[i] = max(top[i], load(of + (t + i) * LANES));
        const Vec highest = max(before, mul(factor, max(max(top[0], top[1]), max(top[2], top[3]))));
        const Vec base = _mm512_mask_mov_ps(highest, _mm512_cmp_ps_mask(highest, nothing, _CMP_EQ_OQ), splat(0.0f));
        if (_mm512_cmp_ps_mask(highest, before, _CMP_NEQ_UQ)) {
            const Vec keep = exp2(sub(before, base));
            store(state, highest);
            store(state + LANES, mul(load(state + LANES), keep));
            float keeps[LANES];
            store(keeps, keep);
            for (int64_t r = 0; r < LANES; ++r) {
                float* row = values_of(call, state, r);
                for (int64_t d = 0; d < call.dims; d += LANES) store(row + d, mul(load(row + d), splat(keeps[r])));
            }
        }
        const __m512i by_pairs = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                                  6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        Vec total[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
        for (int64_t t = from; t < to; t += DEPTH) {
            __m512i words[16];  // pairs of keys by rows, then rows by pairs of keys
            UNROLL for (int i = 0; i < DEPTH; i += 2) {
                Vec weight[2];
                UNROLL for (int j = 0; j < 2; ++j) {
                    const int64_t key = t + i + j;
                    weight[j] = exp2(_mm512_fmsub_ps(load(of + key * LANES), factor, base));
                    total[(i + j) % 4] = add(total[(i + j) % 4], weight[j]);
                    if (how.value_scales) weight[j] = mul(weight[j], splat(how.value_scales[key]));
                }
                const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(weight[1], weight[0]);
                words[i / 2] = _mm512_permutexvar_epi16(by_pairs, both);
            }
            transpose(words);
            UNROLL for (int r = 0; r < 16; ++r) _mm512_store_si512(rows + t * LANES + r * DEPTH, words[r]);
        }
        store(state + LANES, add(load(state + LANES), add(add(total[0], total[1]), add(total[2], total[3]))));
    }

    template <int N>
    void add_values(const AttentionCall& call, int64_t from, int64_t to, NextTile<C>& next, float* const* states_of) {
        const int64_t stride = call.dims * static_cast<int64_t>(sizeof(float));
        for (int64_t d = 0; d < call.dims; d += DEPTH) {
            float* total[N];
            UNROLL for (int n = 0; n < N; ++n) total[n] = values_of(call, states_of[n], 0) + d;
            next.ask(call.dims / 2);
            _tile_loadd(0, total[0], stride);
            _tile_loadd(1, total[0] + LANES, stride);
            if constexpr (N == 2) {
                _tile_loadd(2, total[1], stride);
                _tile_loadd(3, total[1] + LANES, stride);
            }
            for (int64_t t = from; t < to; t += DEPTH) {
                const bf16* value = values + t * call.dims + d * DEPTH;
                _tile_loadd(4, weights[0] + t * LANES, TILE_BYTES);
                _tile_loadd(6, value, TILE_BYTES);
                _tile_loadd(7, value + LANES * DEPTH, TILE_BYTES);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                if constexpr (N == 2) {
                    _tile_loadd(5, weights[1] + t * LANES, TILE_BYTES);
                    _tile_dpbf16ps(2, 5, 6);
                    _tile_dpbf16ps(3, 5, 7);
                }
            }
            _tile_stored(0, total[0], stride);
            _tile_stored(1, total[0] + LANES, stride);
            if constexpr (N == 2) {
                _tile_stored(2, total[1], stride);
                _tile_stored(3, total[1] + LANES, stride);
            }
        }
    }

    static float* values_of(const AttentionCall& call, float* state, int64_t row) {
        return state + 2 * LANES + row * call.dims;
    }

    // Adds the result of a later segment to `into`.
    static void merge(const AttentionCall& call, const Item& item, float* into, float* from) {
        for (int64_t block = 0; block < item.heads * blocks(item); ++block) {
            float *a = into + block * block_floats(call), *b = from + block * block_floats(call);
            const Vec highest = max(load(a), load(b)), nothing = splat(-__builtin_inff());
            const Vec base = _mm512_mask_mov_ps(highest, _mm512_cmp_ps_mask(highest, nothing, _CMP_EQ_OQ), splat(0.0f));
            const Vec keep = exp2(sub(load(a), base)), take = exp2(sub(load(b), base));
            store(a, highest);
            store(a + LANES, add(mul(load(a + LANES), keep), mul(load(b + LANES), take)));
            float keeps[LANES], takes[LANES];
            store(keeps, keep);
            store(takes, take);
            for (int64_t r = 0; r < LANES; ++r) {
                float* to = values_of(call, a, r);
                const float* more = values_of(call, b, r);
                for (int64_t d = 0; d < call.dims; d += LANES)
                    store(to + d, add(mul(load(to + d), splat(keeps[r])), mul(load(more + d), splat(takes[r]))));
            }
        }
    }

    static void write(const AttentionCall& call, const Item& item, const View& view, float* state) {
        const QuireAttentionCall& layer = *call.layer;
        for (int64_t head = 0; head < item.heads; ++head)
            for (int64_t first = 0; first < view.rows; first += LANES) {
                float* of = state + (head * blocks(item) + first / LANES) * block_floats(call);
                const int64_t count = least(LANES, view.rows - first);
                Vec total = load(of + LANES);
                if (layer.sinks) {  // what a head attends to beside the tokens, with a value of zero
                    float sinks[LANES] = {};
                    for (int64_t r = 0; r < count; ++r) sinks[r] = layer.sinks[view.query_head(item.head + head, first + r)];
                    total = add(total, exp2(sub(mul(load(sinks), splat(LOG2_E)), load(of))));
                }
                float shares[LANES];
                store(shares, div(splat(1.0f), total));
                for (int64_t r = 0; r < count; ++r) {
                    const int64_t query_head = view.query_head(item.head + head, first + r);
                    write_row(call, values_of(call, of, r), shares[r],
                              static_cast<bf16*>(layer.output) +
                                  (view.token(first + r) * layer.heads + query_head) * layer.head_dim);
                }
            }
    }

    // Numbers of a row times `share`, in order again.
    static void write_row(const AttentionCall& call, const float* from, float share, bf16* to) {
        const __m512i lower = _mm512_set_epi32(23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
        const __m512i upper = _mm512_set_epi32(31, 30, 29, 28, 15, 14, 13, 12, 27, 26, 25, 24, 11, 10, 9, 8);
        for (int64_t d = 0; d < call.layer->head_dim; d += DEPTH) {
            const Vec low = mul(load(from + d), splat(share)), high = mul(load(from + d + LANES), splat(share));
            const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(_mm512_permutex2var_ps(low, upper, high),
                                                              _mm512_permutex2var_ps(low, lower, high));
            const int64_t part = least(DEPTH, call.layer->head_dim - d);
            _mm512_mask_storeu_epi16(to + d, part == DEPTH ? ~0u : (1u << part) - 1, both);
        }
    }
};

}  // namespace quire::QUIRE_NAMESPACE
#endif
