// AMX tiles in memory, for tests of the kernels on processors without them: `make tiles`. Included by amx.h alone, and
// only in a build that says QUIRE_EMULATE_TILES; such a library is right, and slow.
//
// Products of bfloat16 are added up as the processor does it: the first and the second numbers of all pairs apart, by
// fused multiply-adds in order, then both to the sum.
#pragma once

#include "vec.h"

namespace quire::QUIRE_NAMESPACE::emulated {

struct Tile {
    alignas(64) char rows[16][64];
};

static thread_local TileShapes shapes;
static thread_local Tile tiles[8];

static void set_shapes(const TileShapes& asked) {
    shapes = asked;
    memset(tiles, 0, sizeof tiles);
}

static void read(int tile, const void* from, int64_t stride) {
    memset(&tiles[tile], 0, sizeof(Tile));
    for (int row = 0; row < shapes.rows[tile]; ++row)
        memcpy(tiles[tile].rows[row], static_cast<const char*>(from) + row * stride, shapes.row_bytes[tile]);
}

static void write(int tile, void* to, int64_t stride) {
    for (int row = 0; row < shapes.rows[tile]; ++row)
        memcpy(static_cast<char*>(to) + row * stride, tiles[tile].rows[row], shapes.row_bytes[tile]);
}

static void clear(int tile) { memset(&tiles[tile], 0, sizeof(Tile)); }

static void multiply_bf16(int sums, int inputs, int weights) {
    const auto first = [](__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); };
    const auto second = [](__m512i pairs) {
        return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
    };
    for (int row = 0; row < shapes.rows[sums]; ++row) {
        Vec firsts = splat(0.0f), seconds = splat(0.0f);
        for (int step = 0; step < shapes.row_bytes[inputs] / 4; ++step) {
            int32_t pair;
            memcpy(&pair, tiles[inputs].rows[row] + 4 * step, sizeof pair);
            const __m512i x = _mm512_set1_epi32(pair), w = _mm512_load_si512(tiles[weights].rows[step]);
            firsts = fma(first(x), first(w), firsts);
            seconds = fma(second(x), second(w), seconds);
        }
        float* to = reinterpret_cast<float*>(tiles[sums].rows[row]);
        store(to, add(load(to), add(firsts, seconds)));
    }
}

static void multiply_int8(int sums, int inputs, int weights) {
    for (int row = 0; row < shapes.rows[sums]; ++row)
        for (int step = 0; step < shapes.row_bytes[inputs] / 4; ++step)
            for (int output = 0; output < 16; ++output)
                for (int k = 0; k < 4; ++k) {
                    const int8_t x = static_cast<int8_t>(tiles[inputs].rows[row][4 * step + k]);
                    const int8_t w = static_cast<int8_t>(tiles[weights].rows[step][4 * output + k]);
                    reinterpret_cast<int32_t*>(tiles[sums].rows[row])[output] += x * w;
                }
}

}  // namespace quire::QUIRE_NAMESPACE::emulated

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbssd
#define _tile_loadconfig(shapes) emulated::set_shapes(*(shapes))
#define _tile_release() static_cast<void>(0)
#define _tile_loadd(tile, from, stride) emulated::read(tile, from, stride)
#define _tile_stored(tile, to, stride) emulated::write(tile, to, stride)
#define _tile_zero(tile) emulated::clear(tile)
#define _tile_dpbf16ps(sums, inputs, weights) emulated::multiply_bf16(sums, inputs, weights)
#define _tile_dpbssd(sums, inputs, weights) emulated::multiply_int8(sums, inputs, weights)
