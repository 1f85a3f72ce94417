// linear_int4: weights of 4 bits in groups of inputs (linear_int4_pack.h), inputs rounded to 8 bits or as they are.
//
// Rounded inputs, as in linear_int8:
//
//     out[m][n] = (sum over groups g of (sum over k in g of qx[m][k] · q[n][k]) · s[n][g]) · sx[m], + bias[n]
//
// The inner sums are whole numbers below 2^24, exact in any order and in float32; the outer one is a product, then a sum,
// in float32 from g = 0 upwards. So rows, threads and the instruction set leave the bits alone. Dot products take the
// weights unsigned, as u = q + 8, and begin at -8 · sum(qx), the same for all outputs; tiles take q.
// Exact inputs are in linear_int4_exact.h.
#pragma once

#include "linear_int4_pack.h"
#include "linear_int8.h"

namespace quire::QUIRE_NAMESPACE {

// A vector of four bytes for each of WIDTH outputs.
#if QUIRE_LEVEL >= 2
using Quads = __m512i;
INLINE Quads load_quads(const uint8_t* from) { return _mm512_loadu_si512(from); }
INLINE Sums whole(int32_t x) { return _mm512_set1_epi32(x); }
INLINE Vec nibble(Quads quads, int shift) {  // one number of each output, q; a permutation looks at four bits only
    const Vec q = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_permutexvar_ps(_mm512_srli_epi32(quads, static_cast<unsigned>(shift)), q);
}
INLINE Quads low_nibbles(Quads quads) { return _mm512_and_si512(quads, _mm512_set1_epi8(15)); }
INLINE Quads high_nibbles(Quads quads) { return low_nibbles(_mm512_srli_epi16(quads, 4)); }
INLINE Sums add_dot(Sums sums, Quads u, int32_t x) {
#if QUIRE_LEVEL >= 3
    return dot_bytes(sums, u, whole(x));
#else
    __m512i pairs = _mm512_maddubs_epi16(u, whole(x));  // up to 2 · 15 · 127
    return _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#endif
}
#elif QUIRE_LEVEL == 1
using Quads = __m256i;
INLINE Quads load_quads(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
INLINE Sums whole(int32_t x) { return _mm256_set1_epi32(x); }
INLINE Vec nibble(Quads quads, int shift) {
    return to_float(_mm256_sub_epi32(_mm256_and_si256(_mm256_srli_epi32(quads, shift), whole(15)), whole(8)));
}
INLINE Quads low_nibbles(Quads quads) { return _mm256_and_si256(quads, _mm256_set1_epi8(15)); }
INLINE Quads high_nibbles(Quads quads) { return low_nibbles(_mm256_srli_epi16(quads, 4)); }
INLINE Sums add_dot(Sums sums, Quads u, int32_t x) {
    __m256i pairs = _mm256_maddubs_epi16(u, whole(x));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#else
using Quads = uint32_t;
INLINE Quads load_quads(const uint8_t* from) {
    Quads quads;
    memcpy(&quads, from, sizeof quads);
    return quads;
}
INLINE Sums whole(int32_t x) { return x; }
INLINE Vec nibble(Quads quads, int shift) { return to_float(static_cast<Sums>(quads >> shift & 15) - 8); }
INLINE Quads low_nibbles(Quads quads) { return quads & 0x0f0f0f0fu; }
INLINE Quads high_nibbles(Quads quads) { return low_nibbles(quads >> 4); }
INLINE Sums add_dot(Sums sums, Quads u, int32_t x) {
    for (int byte = 0; byte < 32; byte += 8)
        sums += static_cast<Sums>(u >> byte & 255) * static_cast<int8_t>(static_cast<uint32_t>(x) >> byte & 255);
    return sums;
}
#endif

// What a call works on, with the inputs rounded.
struct Int4Call {
    const QuireLinearInt4* weight;
    const int8_t* x;
    const int32_t* starts;  // -8 · sum(qx), [row][group]
    const float* x_scales;
    const void* bias;
    void* out;
    int32_t dtype;
    bool out_is_float;  // or dtype
    int64_t rows, groups, panel_bytes;
    int64_t x_stride;
    int64_t out_stride;
    const int64_t* places;  // of rows in `out`, as row_place wants them
};

template <class T>
static void finish_int4_typed(const Int4Call& call, int64_t row, int64_t output, const float* sums) {
    const int64_t outputs = call.weight->outputs;
    const Vec x_scale = splat(call.x_scales[row]);
    UNROLL for (int v = 0; v < VECS; ++v) {
        const int64_t n = output + v * WIDTH, left = least(outputs - n, WIDTH);
        if (left <= 0) return;
        Vec y = mul(load(sums + v * WIDTH), x_scale);
        const T* bias = static_cast<const T*>(call.bias);
        if (bias) y = add(y, left == WIDTH ? load(bias + n) : load_part(bias + n, left));
        const int64_t at = row_place(call.places, row) * call.out_stride + n;
        if (call.out_is_float) store_first(static_cast<float*>(call.out) + at, y, left);
        else store_first(static_cast<T*>(call.out) + at, y, left);
    }
}

// `sums` are the 32 of a panel that begins with `output`.
NOINLINE void finish_int4(const Int4Call& call, int64_t row, int64_t output, const float* sums) {
    with_dtype(call.dtype, [&](auto type) { finish_int4_typed<decltype(type)>(call, row, output, sums); });
}

constexpr int64_t INT4_AHEAD = 4096;  // bytes of weights asked for before they are needed

struct Int4Kernel {
    using Call = Int4Call;
    static constexpr int ROWS = WIDTH == 16 ? 6 : 2;  // whole and scaled sums share the registers
    static constexpr int panels_at_once(int rows) { return WIDTH == 16 ? panels_for_rows(rows) : 1; }

    // ROWS rows of inputs against PANELS panels, by dot products.
    template <int ROWS, int PANELS>
    static void tile(const Int4Call& call, int64_t row, int64_t panel) {
        const int64_t size = call.weight->group_size, lines = size / 8;
        const uint8_t* weight = call.weight->packed + panel * call.panel_bytes;
        const int8_t* x = call.x + row * call.x_stride;
        Vec total[PANELS][ROWS][VECS];
        UNROLL for (int p = 0; p < PANELS; ++p)
            UNROLL for (int m = 0; m < ROWS; ++m)
                UNROLL for (int v = 0; v < VECS; ++v) total[p][m][v] = splat(0.0f);
        for (int64_t group = 0; group < call.groups; ++group) {
            Sums sums[PANELS][ROWS][VECS];
            UNROLL for (int m = 0; m < ROWS; ++m) {
                const Sums start = whole(call.starts[(row + m) * call.groups + group]);
                UNROLL for (int p = 0; p < PANELS; ++p)
                    UNROLL for (int v = 0; v < VECS; ++v) sums[p][m][v] = start;
            }
            for (int64_t line = 0; line < lines; ++line, weight += INT4_LINE, x += 4)
                UNROLL for (int p = 0; p < PANELS; ++p)
                    UNROLL for (int v = 0; v < VECS; ++v) {
                        const uint8_t* from = weight + p * call.panel_bytes + v * WIDTH * 4;
                        if (ROWS <= 3 && v * WIDTH % 16 == 0) __builtin_prefetch(from + INT4_AHEAD);
                        const Quads quads = load_quads(from);
                        const Quads low = low_nibbles(quads), high = high_nibbles(quads);
                        UNROLL for (int m = 0; m < ROWS; ++m) {
                            int32_t first, second;
                            memcpy(&first, x + m * call.x_stride, 4);
                            memcpy(&second, x + m * call.x_stride + size / 2, 4);
                            sums[p][m][v] = add_dot(add_dot(sums[p][m][v], low, first), high, second);
                        }
                    }
            x += size / 2;
            UNROLL for (int p = 0; p < PANELS; ++p)
                UNROLL for (int v = 0; v < VECS; ++v) {
                    const Vec scale = load(int4_scales(*call.weight, panel + p) + group * PANEL + v * WIDTH);
                    UNROLL for (int m = 0; m < ROWS; ++m)
                        total[p][m][v] = add(total[p][m][v], mul(to_float(sums[p][m][v]), scale));
                }
        }
        UNROLL for (int p = 0; p < PANELS; ++p)
            UNROLL for (int m = 0; m < ROWS; ++m) {
                float done[PANEL];
                UNROLL for (int v = 0; v < VECS; ++v) store(done + v * WIDTH, total[p][m][v]);
                finish_int4(call, row + m, (panel + p) * PANEL, done);
            }
    }
};

#if QUIRE_LEVEL >= 4
constexpr int64_t INT4_TILE_ROWS = 4;  // from here on tiles are faster than dot products

// One group's q, four k of 32 outputs after the other as in linear_int8.
INLINE void int4_unpack(const uint8_t* from, int64_t lines, int8_t* to) {
    const __m512i eight = _mm512_set1_epi8(8);
    for (int64_t i = 0; i < lines * INT4_LINE; i += 64) {
        __builtin_prefetch(from + i + INT4_AHEAD);
        const Quads quads = load_quads(from + i);
        _mm512_storeu_si512(to + i, _mm512_sub_epi8(low_nibbles(quads), eight));
        _mm512_storeu_si512(to + lines * INT4_LINE + i, _mm512_sub_epi8(high_nibbles(quads), eight));
    }
}

// Up to 16 (with TILES 1) or 32 rows of inputs against a panel, unpacked before (`weight`) or, for the only rows of a
// call, on the way (`packed`). While the tiles multiply a group, the vectors scale the one before.
template <int TILES>
static void int4_sweep(const Int4Call& call, int64_t row, int64_t panel, int8_t* weight, const uint8_t* packed) {
    const int64_t rows = least(TILES * TILE_ROWS, call.rows - row);
    const int64_t size = call.weight->group_size, depth = least(size, TILE_BYTES), group_bytes = size * PANEL;
    const bf16* scales = int4_scales(*call.weight, panel);
    const int8_t* x = call.x + row * call.x_stride;
    alignas(64) int32_t sums[2][TILES * TILE_ROWS][PANEL];
    alignas(64) float total[TILES * TILE_ROWS][PANEL];
    for (int64_t m = 0; m < rows; ++m)
        for (int v = 0; v < PANEL; v += WIDTH) store(total[m] + v, splat(0.0f));
    for (int64_t group = 0; group <= call.groups; ++group) {
        if (group < call.groups) {
            int32_t(*to)[PANEL] = sums[group % 2];
            const int8_t* tile = weight + (packed ? group % 2 : group) * group_bytes;
            if (packed) int4_unpack(packed + group * group_bytes / 2, size / 8, weight + group % 2 * group_bytes);
            _tile_zero(0);
            _tile_zero(1);
            if (TILES == 2) {
                _tile_zero(2);
                _tile_zero(3);
            }
            for (int64_t k = 0; k < size; k += depth, tile += depth * PANEL, x += depth) {
                _tile_loadd(6, tile, INT4_LINE);
                _tile_loadd(4, x, call.x_stride);
                _tile_dpbssd(0, 4, 6);
                _tile_loadd(7, tile + TILE_BYTES, INT4_LINE);
                _tile_dpbssd(1, 4, 7);
                if (TILES == 2) {
                    _tile_loadd(5, x + TILE_ROWS * call.x_stride, call.x_stride);
                    _tile_dpbssd(2, 5, 6);
                    _tile_dpbssd(3, 5, 7);
                }
            }
            _tile_stored(0, to[0], sizeof to[0]);
            _tile_stored(1, to[0] + 16, sizeof to[0]);
            if (TILES == 2) {
                _tile_stored(2, to[(TILES - 1) * TILE_ROWS], sizeof to[0]);
                _tile_stored(3, to[(TILES - 1) * TILE_ROWS] + 16, sizeof to[0]);
            }
        }
        if (group == 0) continue;
        const auto* from = sums[(group - 1) % 2];
        const Vec left = load(scales + (group - 1) * PANEL), right = load(scales + (group - 1) * PANEL + WIDTH);
        for (int64_t m = 0; m < rows; ++m) {
            store(total[m], add(load(total[m]), mul(to_float(_mm512_load_si512(from[m])), left)));
            store(total[m] + 16, add(load(total[m] + 16), mul(to_float(_mm512_load_si512(from[m] + 16)), right)));
        }
    }
    for (int64_t m = 0; m < rows; ++m) finish_int4(call, row + m, panel * PANEL, total[m]);
}

static void int4_tiles(const Int4Call& call, int64_t first, int64_t last) {
    const auto bytes = static_cast<size_t>(2 * call.panel_bytes + INT4_MAX_GROUP * PANEL + 64);
    auto* memory = static_cast<int8_t*>(__builtin_malloc(bytes));
    int8_t* weight = memory + 63 - (reinterpret_cast<uintptr_t>(memory) + 63) % 64;
    const int64_t group_bytes = call.weight->group_size * PANEL;
    use_tiles(static_cast<int>(least(call.weight->group_size, TILE_BYTES)),
              static_cast<int>(least(call.rows, TILE_ROWS)));
    for (int64_t panel = first; panel < last; ++panel) {
        const uint8_t* packed = call.weight->packed + panel * call.panel_bytes;
        if (call.rows <= TILE_ROWS) {
            int4_sweep<1>(call, 0, panel, weight, packed);
            continue;
        }
        for (int64_t group = 0; group < call.groups; ++group)
            int4_unpack(packed + group * group_bytes / 2, call.weight->group_size / 8, weight + group * group_bytes);
        for (int64_t row = 0; row < call.rows; row += 2 * TILE_ROWS) {
            if (call.rows - row > TILE_ROWS) int4_sweep<2>(call, row, panel, weight, nullptr);
            else int4_sweep<1>(call, row, panel, weight, nullptr);
        }
    }
    _tile_release();
    __builtin_free(memory);
}
#endif

template <class T>
static void int4_round_inputs(const T* x, int64_t x_stride, Int4Call& call, int8_t* q, int32_t* starts, float* scales) {
    const int64_t inputs = call.weight->inputs, size = call.weight->group_size;
    share(call.rows, inputs, [&](int64_t first, int64_t last) {
        for (int64_t m = first; m < last; ++m) {
            int8_t* row = q + m * call.x_stride;
            scales[m] = round_to_int8(x + m * x_stride, inputs, row);
            memset(row + inputs, 0, static_cast<size_t>(call.groups * size - inputs));
            for (int64_t group = 0; group < call.groups; ++group) {
                int32_t sum = 0;
                for (int64_t k = group * size; k < (group + 1) * size; ++k) sum += row[k];
                starts[m * call.groups + group] = -8 * sum;
            }
        }
    });
}

// All rows against a range of panels.
static void linear_range(const Int4Call& call, int64_t first, int64_t last) {
#if QUIRE_LEVEL >= 4
    if (call.rows >= INT4_TILE_ROWS) return int4_tiles(call, first, last);
#endif
    all_rows<Int4Kernel>(call, first, last);
}

// Calls body(call) with the inputs rounded and where results go left open.
template <class F>
static void with_rounded_int4(const QuireLinearInt4& weight, int32_t dtype, const void* x, int64_t x_stride,
                              int64_t rows, const void* bias, const F& body) {
    Int4Call call{};
    call.weight = &weight;
    call.bias = bias;
    call.dtype = dtype;
    call.rows = rows;
    call.groups = int4_groups(weight);
    call.panel_bytes = int4_panel_bytes(weight);
    call.x_stride = up(call.groups * weight.group_size, 64) * 64 + 64;
    if (call.x_stride % COLLISION_BYTES == 0) call.x_stride += 64;
    const int64_t padded_rows = up(call.rows, 32) * 32;  // tiles read rows past the last and leave them out
    auto* q = static_cast<int8_t*>(__builtin_malloc(
        static_cast<size_t>(padded_rows * call.x_stride + call.rows * (call.groups + 1) * 4)));
    auto* starts = reinterpret_cast<int32_t*>(q + padded_rows * call.x_stride);
    auto* scales = reinterpret_cast<float*>(starts + call.rows * call.groups);
    call.x = q;
    call.starts = starts;
    call.x_scales = scales;
    with_dtype(dtype, [&](auto type) {
        int4_round_inputs(static_cast<const decltype(type)*>(x), x_stride, call, q, starts, scales);
    });
    body(call);
    __builtin_free(q);
}

INLINE int64_t linear_cost(const Int4Call& call) { return call.panel_bytes / 64 * most(4, call.rows); }

}  // namespace quire::QUIRE_NAMESPACE
