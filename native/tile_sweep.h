// Products on AMX tiles: a part of the rows of a call against a range of panels, for bfloat16 and for 8 bits.
//
// A tile of weights is 16 steps of a panel by 16 outputs: 16 lines of 64 bytes, 128 bytes apart, as linear.h and
// linear_int8.h lay them. A tile of inputs is up to 16 rows by 64 bytes; `pack_rows` lays them one after the other,
// so that they stream, with zeros past the last input.
//
//     sums 0 1     2 x 2 tiles of sums (32 rows, a panel), 2 of inputs, 2 of weights: one load for each product
//          2 3
//
// Along k a panel is cut into blocks that stay in the first cache while the rows pass by; sums wait in memory between
// the blocks, whole. So each sum is made of the same products in the same order, k from 0 upwards, however many rows
// there are: bits do not depend on the number of rows.
//
// Measured with one thread, 512 rows, 4096 outputs of 1024 inputs: 42 % of the tiles' peak; with blocks along k twice
// as long 31 %, with none 33 %; with results not asked for before they are written 38 %. Tiles stored between the
// blocks cost 17 %; results, each in a line of its own far from the others, 16 %. With 3072 inputs 38 %, and 27 % where
// threads take all rows instead of parts of them: inputs then come from the third cache again for every few panels.
// Slower as well: 1 x 4 tiles, inputs asked for into the first cache, results written between the next pair's products.
//
// On another processor, two threads: 40 % of the peak of bfloat16; 50 % when inputs, 57 % when weights too do not leave
// the first cache, 75 % when no sums wait besides. So what moves between the first two caches decides, and what moved
// less of one moved more of another: 4, 6, 11, 16 or 32 tiles along k or all, 8 blocks of rows at once, two panels to a pass.
#pragma once

#include <stdlib.h>

#include "amx.h"
#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

struct Bfloat16Tiles {
    static constexpr bool IS_INT8 = false;
};
struct Int8Tiles {
    static constexpr bool IS_INT8 = true;
};

constexpr int64_t STEP_LINE = 128;                         // bytes of one step of a panel
constexpr int64_t WEIGHT_TILE = TILE_ROWS * STEP_LINE;     // bytes to the next tile along k, in a panel
constexpr int64_t SUM_TILE = TILE_ROWS * 16;               // sums of a tile
constexpr int64_t PAIR_ROWS = 2 * TILE_ROWS;               // that pass by together
constexpr int64_t BLOCK_TILES = 8;                         // of a panel along k: 16 KB
constexpr int64_t BLOCKS_AT_ONCE = 16;                     // of rows, whose sums stay near as well
constexpr int64_t INPUTS_AT_ONCE_BYTES = 1024 << 10;       // of packed rows, in the second cache

// Rows in tile order: (block of 16 rows, tile along k, row, 64 bytes). The last block has `tile_rows` rows, all others
// 16; only a call of one block has fewer than 16.
struct PackedRows {
    char* tiles;
    int64_t rows;
    int64_t depth;      // tiles along k
    int64_t tile_rows;  // of each tile

    int64_t blocks() const { return up(rows, TILE_ROWS); }
    int64_t tile_bytes() const { return tile_rows * TILE_BYTES; }
    char* tile(int64_t block, int64_t at) const { return tiles + (block * depth + at) * tile_bytes(); }
};

INLINE int64_t tiles_along(int64_t inputs, int64_t input_bytes) { return up(inputs * input_bytes, TILE_BYTES); }

INLINE PackedRows packed_rows(int64_t rows, int64_t inputs, int64_t input_bytes) {
    const int64_t tile_rows = rows < TILE_ROWS ? rows : TILE_ROWS;
    PackedRows packed{nullptr, rows, tiles_along(inputs, input_bytes), tile_rows};
    const int64_t bytes = packed.blocks() * packed.depth * packed.tile_bytes();
    packed.tiles = static_cast<char*>(aligned_alloc(TILE_BYTES, static_cast<size_t>(up(bytes, TILE_BYTES) * TILE_BYTES)));
    return packed;
}

// One row into its place in each of its tiles.
INLINE void pack_row(const PackedRows& to, int64_t row, const void* from, int64_t bytes) {
    const char* x = static_cast<const char*>(from);
    char* place = to.tile(row / TILE_ROWS, 0) + row % TILE_ROWS * TILE_BYTES;
    int64_t at = 0;
    for (; at + TILE_BYTES <= bytes; at += TILE_BYTES, place += to.tile_bytes())
        _mm512_storeu_si512(place, _mm512_loadu_si512(x + at));
    if (at < bytes) {
        const __mmask64 there = (1ull << (bytes - at)) - 1;
        _mm512_storeu_si512(place, _mm512_maskz_loadu_epi8(there, x + at));
    }
}

// Rows that fill the last tile up.
static void clear_missing_rows(const PackedRows& to) {
    if (to.rows < TILE_ROWS) return;
    for (int64_t row = to.rows; row < to.blocks() * TILE_ROWS; ++row)
        for (int64_t at = 0; at < to.depth; ++at)
            memset(to.tile(row / TILE_ROWS, at) + row % TILE_ROWS * TILE_BYTES, 0, TILE_BYTES);
}

// The products of one step along k; the compiler wants the tiles' numbers spelled out.
#define QUIRE_PRODUCT(sum, inputs, weights)                           \
    do {                                                              \
        if constexpr (P::IS_INT8) _tile_dpbssd(sum, inputs, weights); \
        else _tile_dpbf16ps(sum, inputs, weights);                    \
    } while (0)

constexpr int64_t PLACES_PADDING = 2 * PAIR_ROWS;  // rows past the last that are asked for ahead

// Where results go. A row of a panel is one line of memory if they are bfloat16, and two if they are float. `places` as
// row_place wants them, PLACES_PADDING more than rows, or null.
struct Results {
    const char* first;
    int64_t row_bytes, panel_bytes;
    const int64_t* places;

    Results of_panel(int64_t panel) const { return {first + panel * panel_bytes, row_bytes, panel_bytes, places}; }
    Results from_row(int64_t row) const {
        if (places) return {first, row_bytes, panel_bytes, places + row};
        return {first + row * row_bytes, row_bytes, panel_bytes, nullptr};
    }
    const char* row(int64_t row) const { return first + row_place(places, row) * row_bytes; }
};

// What will be read and written next, asked for in equal parts while the rows pass by a panel: the memory is busy all
// the time.
struct Ahead {
    const char* from;
    int64_t lines;  // with each step along k
    Results results;
    int64_t rows;  // with each step along k

    void fetch(int64_t step) const {
        const char* at = from + step * lines * 64;
        for (int64_t line = 0; line < lines; ++line) _mm_prefetch(at + line * 64, _MM_HINT_T1);
        for (int64_t row = step * rows; row < (step + 1) * rows; ++row)
            asm volatile("prefetchw %0" : : "m"(*results.row(row)));
    }
};

// 32 rows, two blocks, against `tiles` tiles of a panel from `begin` on. `sums`: (2 blocks, 2 halves, 16, 16).
template <class P>
INLINE void multiply_two_blocks(const PackedRows& x, int64_t block, int64_t begin, int64_t tiles, const char* weights,
                                const Ahead& ahead, float* sums) {
    const char *a = x.tile(block, begin), *b = x.tile(block + 1, begin);
    if (begin == 0) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, TILE_BYTES);
        _tile_loadd(1, sums + SUM_TILE, TILE_BYTES);
        _tile_loadd(2, sums + 2 * SUM_TILE, TILE_BYTES);
        _tile_loadd(3, sums + 3 * SUM_TILE, TILE_BYTES);
    }
    for (int64_t i = 0; i < tiles; ++i) {
        ahead.fetch(i);
        _tile_loadd(6, weights + i * WEIGHT_TILE, STEP_LINE);
        _tile_loadd(4, a + i * TILE_ROWS * TILE_BYTES, TILE_BYTES);
        QUIRE_PRODUCT(0, 4, 6);
        _tile_loadd(7, weights + i * WEIGHT_TILE + 64, STEP_LINE);
        QUIRE_PRODUCT(1, 4, 7);
        _tile_loadd(5, b + i * TILE_ROWS * TILE_BYTES, TILE_BYTES);
        QUIRE_PRODUCT(2, 5, 6);
        QUIRE_PRODUCT(3, 5, 7);
    }
    _tile_stored(0, sums, TILE_BYTES);
    _tile_stored(1, sums + SUM_TILE, TILE_BYTES);
    _tile_stored(2, sums + 2 * SUM_TILE, TILE_BYTES);
    _tile_stored(3, sums + 3 * SUM_TILE, TILE_BYTES);
}

// Up to 16 rows, likewise. `sums`: (2 halves, 16, 16).
template <class P>
INLINE void multiply_one_block(const PackedRows& x, int64_t block, int64_t begin, int64_t tiles, const char* weights,
                               const Ahead& ahead, float* sums) {
    const char* a = x.tile(block, begin);
    if (begin == 0) {
        _tile_zero(0);
        _tile_zero(1);
    } else {
        _tile_loadd(0, sums, TILE_BYTES);
        _tile_loadd(1, sums + SUM_TILE, TILE_BYTES);
    }
    for (int64_t i = 0; i < tiles; ++i) {
        ahead.fetch(i);
        _tile_loadd(4, a + i * x.tile_bytes(), TILE_BYTES);
        _tile_loadd(6, weights + i * WEIGHT_TILE, STEP_LINE);
        QUIRE_PRODUCT(0, 4, 6);
        _tile_loadd(7, weights + i * WEIGHT_TILE + 64, STEP_LINE);
        QUIRE_PRODUCT(1, 4, 7);
    }
    _tile_stored(0, sums, TILE_BYTES);
    _tile_stored(1, sums + SUM_TILE, TILE_BYTES);
}

#undef QUIRE_PRODUCT

// The blocks [from, to) of rows, BLOCKS_AT_ONCE at most, against one panel. finish(row, low, high) is given the sums of
// a row, float or int32, for outputs 0 .. 15 and 16 .. 31 of the panel.
template <class P, class F>
INLINE void sweep_panel(const PackedRows& x, int64_t from, int64_t to, const char* panel, const Results& results,
                        const F& finish) {
    alignas(64) float sums[BLOCKS_AT_ONCE * 2 * SUM_TILE];
    const int64_t passes = up(to - from, 2);
    const int64_t rows_of_step = to - from > 1 ? up(PAIR_ROWS, x.depth) : 0;
    const int64_t step = passes > 1 ? BLOCK_TILES : x.depth;  // blocks along k pay when rows come back to them
    for (int64_t begin = 0; begin < x.depth; begin += step) {
        const int64_t tiles = least(step, x.depth - begin);
        const bool is_last = begin + tiles == x.depth;
        const char* weights = panel + begin * WEIGHT_TILE;
        Ahead ahead{weights + least(tiles, BLOCK_TILES) * WEIGHT_TILE, up(WEIGHT_TILE / 64, passes), results,
                    begin * rows_of_step < PAIR_ROWS ? rows_of_step : 0};
        for (int64_t block = from; block < to; block += 2) {
            float* here = sums + (block - from) * 2 * SUM_TILE;
            ahead.results = results.from_row(block * TILE_ROWS + begin * rows_of_step);
            if (block + 2 <= to) multiply_two_blocks<P>(x, block, begin, tiles, weights, ahead, here);
            else multiply_one_block<P>(x, block, begin, tiles, weights, ahead, here);
            ahead.from += ahead.lines * tiles * 64;
            if (!is_last) continue;
            const int64_t rows = least(x.rows - block * TILE_ROWS, PAIR_ROWS);
            for (int64_t row = 0; row < rows; ++row) {
                const float* low = here + row / TILE_ROWS * 2 * SUM_TILE + row % TILE_ROWS * 16;
                finish(block * TILE_ROWS + row, low, low + SUM_TILE);
            }
        }
    }
}

// A row's results of a whole panel, in one line of memory.
INLINE void store_both(bf16* to, const Vec* sums) {
    _mm512_storeu_si512(to, __builtin_bit_cast(__m512i, _mm512_cvtne2ps_pbh(sums[1], sums[0])));
}

// The rows of a call in parts of even size that stay in the second cache while all panels pass by.
struct RowParts {
    int64_t count, blocks;  // of each, a whole number of pairs
};

INLINE RowParts row_parts(const PackedRows& x) {
    const int64_t fitting = most(2, least(BLOCKS_AT_ONCE, INPUTS_AT_ONCE_BYTES / (x.depth * TILE_ROWS * TILE_BYTES)));
    const int64_t pairs = up(x.blocks(), 2), pairs_of_part = up(pairs, up(pairs, fitting / 2));
    return {up(pairs, pairs_of_part), 2 * pairs_of_part};
}

// One part of the rows against a range of panels of `panel_bytes` each. finish(row, panel, low, high) as in
// sweep_panel.
template <class P, class F>
INLINE void sweep_panels(const PackedRows& x, int64_t part, const char* panels, int64_t panel_bytes, int64_t first,
                         int64_t last, const Results& results, const F& finish) {
    const int64_t from = part * row_parts(x).blocks, to = least(from + row_parts(x).blocks, x.blocks());
    use_tiles(TILE_BYTES, static_cast<int>(x.tile_rows));
    for (int64_t panel = first; panel < last; ++panel)
        sweep_panel<P>(x, from, to, panels + panel * panel_bytes,
                       results.of_panel(panel), [&](int64_t row, const float* low, const float* high) INLINE_LAMBDA {
                           finish(row, panel, low, high);
                       });
}

}  // namespace quire::QUIRE_NAMESPACE
