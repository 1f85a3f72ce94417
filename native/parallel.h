// Sharing out a loop: small work stays on the caller, larger work is cut into chunks for the pool.
#pragma once

#include "pool.h"
#include "vec.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t SMALL_COST = 16384;  // about the microseconds that handing work over takes

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where row `row` of a call goes, which may have only some of the rows of its result: places[row], or `row` where there
// are none.
INLINE int64_t row_place(const int64_t* places, int64_t row) { return places ? places[row] : row; }

// Where chunk number `chunk` of `chunks` begins. Where there are enough, each round of one chunk for a thread hands out half
// of what is left, the last round all of it: a thread reads long stretches of memory in one piece, and the chunks for
// which threads wait for each other in the end are small.
constexpr int64_t ROUNDS = 4;
INLINE int64_t chunk_begin(int64_t count, int64_t chunks, int64_t chunk) {
    if (chunks != threads() * ROUNDS) return count * chunk / chunks;
    const int64_t round = least(chunk / threads(), ROUNDS - 1), place = chunk - round * threads(), left = count >> round;
    return count - left + left * place / threads() / (round == ROUNDS - 1 ? 1 : 2);
}

// Calls body(first, last) for consecutive ranges of 0 .. count-1. `cost` is the work of one of them, in vector
// instructions or cache lines, roughly. Where threads take several chunks each, they take as many.
template <class F>
static void share(int64_t count, int64_t cost, const F& body) {
    int64_t chunks = least(count * cost / SMALL_COST, threads() * ROUNDS);
    if (chunks > threads()) chunks = up(chunks, threads()) * threads();
    chunks = least(chunks, count);
    if (chunks < 2 || threads() == 1) {
        if (count) body(int64_t{0}, count);
        return;
    }
    struct Call {
        const F* body;
        int64_t count, chunks;
    } call{&body, count, chunks};
    run_chunks(
        [](void* context, int64_t chunk) {
            const Call& call = *static_cast<const Call*>(context);
            const int64_t first = chunk_begin(call.count, call.chunks, chunk);
            const int64_t last = chunk_begin(call.count, call.chunks, chunk + 1);
            if (first < last) (*call.body)(first, last);
        },
        &call, chunks);
}

// The same with one call body(index) for each, claimed one by one: for pieces that differ much in size.
template <class F>
static void share_each(int64_t count, int64_t cost, const F& body) {
    if (count < 2 || threads() == 1 || count * cost < SMALL_COST) {
        for (int64_t i = 0; i < count; ++i) body(i);
        return;
    }
    run_chunks([](void* context, int64_t chunk) { (*static_cast<const F*>(context))(chunk); },
               const_cast<F*>(&body), count);
}

}  // namespace quire::QUIRE_NAMESPACE
