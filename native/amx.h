// AMX: the tiles of a thread, and the leave to use them.
//
// Eight tiles of 16 rows of 64 bytes. A thread's shapes are its own and other libraries in the process (oneDNN) set
// theirs, so a kernel calls `use_tiles` at the start of each chunk of work, and never rests on what it left behind.
#pragma once

#include "vec.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int TILE_ROWS = 16;
constexpr int TILE_BYTES = 64;  // of a row

struct alignas(64) TileShapes {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

}  // namespace quire::QUIRE_NAMESPACE

#ifdef QUIRE_EMULATE_TILES
#include "emulated_tiles.h"
#endif

namespace quire::QUIRE_NAMESPACE {

// All eight tiles whole. Rows and columns past a matrix's edge are the caller's to pad. Products shallower than a tile
// are made of inputs in tiles 4 and 5, cut to `depth` bytes, and weights in tiles 6 and 7, cut to depth / 4 rows. `rows`
// are those of inputs and sums.
INLINE void use_tiles(int depth = TILE_BYTES, int rows = TILE_ROWS) {
    TileShapes shapes;
    UNROLL for (int tile = 0; tile < 8; ++tile) {
        shapes.row_bytes[tile] = static_cast<uint16_t>(tile == 4 || tile == 5 ? depth : TILE_BYTES);
        shapes.rows[tile] = static_cast<uint8_t>(tile >= 6 ? depth / 4 : rows);
    }
    asm volatile("" : : "r"(&shapes) : "memory");  // the intrinsic names the first bytes only: keep all the others
    _tile_loadconfig(&shapes);
}

}  // namespace quire::QUIRE_NAMESPACE
