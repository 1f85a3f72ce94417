// What this machine can do, for comparison with what kernels do: bytes read from memory, arithmetic in registers.
//
// Nothing here computes a result anybody wants; each loop is as plain as the hardware allows, and is kept from being
// optimised away by `keep`.
#pragma once

#include "api.h"
#include "parallel.h"
#if QUIRE_LEVEL >= 4
#include "amx.h"
#endif

namespace quire::QUIRE_NAMESPACE {

template <class T>
INLINE void keep(T& value) {
    asm volatile("" : : "r"(&value) : "memory");
}

// The compiler may no longer know what the value is.
template <class T>
INLINE void forget(T& value) {
#if QUIRE_LEVEL >= 2
    asm volatile("" : "+v"(value));
#elif defined(__x86_64__)
    asm volatile("" : "+x"(value));
#else
    asm volatile("" : "+r"(value));
#endif
}

// Each thread's part of the memory in `streams` places at once: one suits some prefetchers, several suit others.
template <int streams>
static void probe_read(const char* memory, int64_t bytes) {
    constexpr int64_t PIECE = 1 << 20;
    share(bytes / PIECE, SMALL_COST, [&](int64_t first, int64_t last) {
        constexpr int64_t STEP = WIDTH * 4;
        const int64_t part = (last - first) * PIECE / streams / STEP;  // vectors
        const char* from = memory + first * PIECE;
        Vec sum[streams][2];
        for (auto& pair : sum) pair[0] = pair[1] = splat(0.0f);
        for (int64_t i = 0; i + 1 < part; i += 2) {
            UNROLL for (int s = 0; s < streams; ++s) {
                const char* at = from + (s * part + i) * STEP;
                __builtin_prefetch(at + 4096);
                sum[s][0] = max(sum[s][0], load(reinterpret_cast<const float*>(at)));
                sum[s][1] = max(sum[s][1], load(reinterpret_cast<const float*>(at + STEP)));
            }
        }
        keep(sum);
    });
}

// `rounds` times sixteen independent operations in every chunk; returns what one chunk's round comes to.
template <class Acc, class F>
static void probe_registers(int64_t rounds, Acc start, const F& once) {
    share(threads() * 8, SMALL_COST, [&](int64_t first, int64_t last) {
        for (int64_t chunk = first; chunk < last; ++chunk) {
            Acc acc[16];
            UNROLL for (int i = 0; i < 16; ++i) {
                acc[i] = start;
                forget(acc[i]);  // equal ones would be computed once
            }
            for (int64_t round = 0; round < rounds; ++round) {
                UNROLL for (int i = 0; i < 16; ++i) once(acc[i]);
            }
            Acc all[16];  // a copy: accumulators whose address is taken would be stored in every round
            UNROLL for (int i = 0; i < 16; ++i) all[i] = acc[i];
            keep(all);
        }
    });
}

#if QUIRE_LEVEL >= 4
template <bool is_int8>
static void probe_tiles(int64_t rounds) {
    share(threads() * 8, SMALL_COST, [&](int64_t first, int64_t last) {
        use_tiles();
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
        _tile_zero(4); _tile_zero(5); _tile_zero(6); _tile_zero(7);
        for (int64_t round = 0; round < (last - first) * rounds; ++round) {
            if constexpr (is_int8) {
                _tile_dpbssd(0, 4, 6); _tile_dpbssd(1, 4, 7); _tile_dpbssd(2, 5, 6); _tile_dpbssd(3, 5, 7);
            } else {
                _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
            }
        }
        _tile_release();
    });
}
#endif

// Operations (a multiplication and an addition are two) or bytes done; 0 when this set has no such instruction.
static int64_t probe(const QuireProbeCall* call) {
    const int64_t rounds = call->rows, chunks = threads() * 8;
    switch (call->kind) {
        case QUIRE_PROBE_READ:
            probe_read<1>(call->memory, call->bytes);
            return call->bytes;
        case QUIRE_PROBE_READ_STREAMS:
            probe_read<4>(call->memory, call->bytes);
            return call->bytes;
        case QUIRE_PROBE_FLOAT32: {
            Vec factor = splat(0.5f);
            probe_registers(rounds, splat(1.0f), [&](Vec& x) { x = fma(x, factor, factor); });
            return chunks * rounds * 16 * WIDTH * 2;
        }
#if QUIRE_LEVEL >= 3
        case QUIRE_PROBE_BFLOAT16: {
            __m512i ones = _mm512_set1_epi32(0x3f803f80);
            probe_registers(rounds, splat(0.0f), [&](Vec& x) { x = pair_dot(x, ones, 0x3f803f80); });
            return chunks * rounds * 16 * WIDTH * 4;
        }
        case QUIRE_PROBE_INT8: {
            __m512i ones = _mm512_set1_epi8(1);
            probe_registers(rounds, _mm512_setzero_si512(), [&](__m512i& x) { x = _mm512_dpbusd_epi32(x, ones, ones); });
            return chunks * rounds * 16 * WIDTH * 8;
        }
#endif
#if QUIRE_LEVEL >= 4
        case QUIRE_PROBE_TILE_BFLOAT16:
            probe_tiles<false>(rounds);
            return chunks * rounds * 4 * 16 * 16 * 32 * 2;
        case QUIRE_PROBE_TILE_INT8:
            probe_tiles<true>(rounds);
            return chunks * rounds * 4 * 16 * 16 * 64 * 2;
#endif
        default:
            return 0;
    }
}

}  // namespace quire::QUIRE_NAMESPACE
