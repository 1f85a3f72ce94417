// draw_tokens: min_p, top_k, top_p and the draw of each row, without sorting.
//
// Tokens stand in one order: falling scaled logit, equal ones by rising id. Each truncation keeps a leading run of it, so it
// is a cut. Cheap bounds on the cut leave some tokens; a bisection of their scaled logits, which goes on with the side that
// holds the cut only, finds it. Amounts are whole numbers, so no order of adding up shows.
#pragma once

#include "api.h"
#include "whole_weights.h"

namespace quire::QUIRE_NAMESPACE {

__extension__ typedef unsigned __int128 Wide;

constexpr int64_t ALL_SHARES = int64_t{1} << 53;  // shares and draws are multiples of 2^-53
constexpr int64_t GUESS_TOKENS = 4096;            // are looked at to guess where top_p cuts
constexpr int64_t BOUND_VECTORS = 32;             // a lane of so many vectors gives one maximum for the bound on top_k

// The last token that is kept.
struct Cut {
    float scaled;
    int32_t id;
    bool with_all_equals;
};

struct DrawRoom {
    SomeTokens kept, window;
    int64_t* sums;  // of each WEIGHT_BLOCK
};

// Kept by each thread from call to call: fresh pages would cost as much as reading a row.
struct DrawMemory {
    void* start = nullptr;
    size_t bytes = 0;

    ~DrawMemory() { __builtin_free(start); }

    DrawRoom for_rows_of(int64_t width) {
        const int64_t places = width + 2 * WIDTH, blocks = up(width, WEIGHT_BLOCK);
        const auto needed = static_cast<size_t>(blocks + 2 * places) * sizeof(int64_t);
        if (needed > bytes) {
            __builtin_free(start);
            start = __builtin_malloc(needed);
            bytes = needed;
        }
        auto* sums = static_cast<int64_t*>(start);
        auto* floats = reinterpret_cast<float*>(sums + blocks);
        auto* ids = reinterpret_cast<int32_t*>(floats + 2 * places);
        return {{floats, ids, 0}, {floats + places, ids + places, 0}, sums};
    }
};

static int64_t count_from_bound(const SomeTokens& tokens, float low) {
    int64_t found = 0;
    for (int64_t i = 0; i < tokens.count; i += WIDTH) found += __builtin_popcount(within(tokens.at(i), low, 1.0f));
    return found;
}

static void ends(const SomeTokens& tokens, float* low, float* high) {
    Vec highest_lanes = splat(NO_TOKEN), lowest_lanes = splat(-1.0f * NO_TOKEN);
    int64_t i = 0;
    for (; i + WIDTH <= tokens.count; i += WIDTH) {
        highest_lanes = max(tokens.at(i), highest_lanes);
        lowest_lanes = min(tokens.at(i), lowest_lanes);
    }
    *high = highest(highest_lanes);
    *low = -highest(sub(splat(0.0f), lowest_lanes));
    for (; i < tokens.count; ++i) {
        if (tokens.scaled[i] > *high) *high = tokens.scaled[i];
        if (tokens.scaled[i] < *low) *low = tokens.scaled[i];
    }
}

// Where the leading run ends whose amounts reach `goal`: weights, or 1 for each token. All amounts together reach it.
static Cut find_cut(const SomeTokens& tokens, int64_t goal, bool by_weight, SomeTokens* window) {
    const SomeTokens* now = &tokens;
    for (;;) {
        float low, high;
        ends(*now, &low, &high);
        if (low == high) break;
        float middle = low + (high - low) * 0.5f;
        if (!(middle > low)) middle = high;
        int64_t amount = by_weight ? weigh(*now, 0, now->count, middle) : count_from_bound(*now, middle);
        if (amount >= goal) {
            keep_within(*now, middle, 1.0f, window);
        } else {
            goal -= amount;
            keep_within(*now, NO_TOKEN, middle, window);
        }
        now = window;
    }
    int64_t each = by_weight ? weigh(*now, 0, now->count, NO_TOKEN) / now->count : 1;
    int64_t num_equal = each ? least(now->count, up(goal, each)) : now->count;
    return {now->scaled[0], now->ids[num_equal - 1], num_equal == now->count};
}

static void apply_cut(const Cut& cut, SomeTokens* tokens) {
    keep_within(*tokens, cut.scaled, 1.0f, tokens);
    if (cut.with_all_equals) return;
    int64_t kept = 0;
    for (int64_t i = 0; i < tokens->count; ++i) {
        tokens->scaled[kept] = tokens->scaled[i];
        tokens->ids[kept] = tokens->ids[i];
        kept += tokens->scaled[i] != cut.scaled || tokens->ids[i] <= cut.id;
    }
    tokens->count = kept;
    store(tokens->scaled + kept, splat(NO_TOKEN));
}

// A scaled logit that at least `top_k` tokens reach; NO_TOKEN where there are too few maxima to tell.
static float bound_of_top_k(const ScaledRow& row, int64_t top_k, DrawRoom* room) {
    SomeTokens& maxima = room->kept;
    maxima.count = 0;
    for (int64_t i = 0; i + BOUND_VECTORS * WIDTH <= row.count; i += BOUND_VECTORS * WIDTH) {
        Vec lanes = load(row.x + i);
        for (int64_t v = 1; v < BOUND_VECTORS; ++v) lanes = max(load(row.x + i + v * WIDTH), lanes);
        store(maxima.scaled + maxima.count, row.scaled(lanes));
        maxima.count += WIDTH;
    }
    if (maxima.count < top_k) return NO_TOKEN;
    store(maxima.scaled + maxima.count, splat(NO_TOKEN));
    return find_cut(maxima, top_k, false, &room->window).scaled;
}

// ceil(share * total)
INLINE int64_t part_of(int64_t share, int64_t total) {
    return static_cast<int64_t>((static_cast<Wide>(share) * static_cast<Wide>(total) + (ALL_SHARES - 1)) >> 53);
}

// A scaled logit below which no token is needed to reach `goal`: tokens of less than (total - goal) / count together weigh
// less than total - goal. log2(2^e * (1 + m)) is at least e + m; the rest is the margin of the polynomial.
static float bound_of_top_p(int64_t total, int64_t goal, int64_t count) {
    const int64_t weight = (total - goal) / count;
    if (weight < 1) return NO_TOKEN;
    const int exponent = 63 - __builtin_clzll(static_cast<uint64_t>(weight));
    const float rest = static_cast<float>(weight) / static_cast<float>(int64_t{1} << exponent) - 1.0f;
    return static_cast<float>(exponent) + rest - 40.01f;
}

// A scaled logit that the cut of top_p probably lies above: the cut of some of the vectors, for a larger share.
static float guess_of_top_p(const ScaledRow& row, int64_t top_p, DrawRoom* room) {
    SomeTokens& some = room->kept;
    some.count = 0;
    const int64_t step = row.count / GUESS_TOKENS * WIDTH;
    if (!step) return NO_TOKEN;
    for (int64_t i = 0; i + WIDTH <= row.count; i += step) {
        store(some.scaled + some.count, row.at(i));
        some.count += WIDTH;
    }
    store(some.scaled + some.count, splat(NO_TOKEN));
    const int64_t share = ALL_SHARES - (ALL_SHARES - top_p) / 2;
    const int64_t total = weigh(some, 0, some.count, NO_TOKEN);
    return find_cut(some, part_of(share, total), true, &room->window).scaled;
}

// Keeps the tokens that the leading run of top_p can hold, and perhaps others.
static void keep_for_top_p(const ScaledRow& row, int64_t top_p, int64_t total, DrawRoom* room) {
    const int64_t goal = part_of(top_p, total);
    float bound = bound_of_top_p(total, goal, row.count), guess = guess_of_top_p(row, top_p, room);
    if (bound < WEIGHTLESS) bound = WEIGHTLESS;
    keep_within(row, guess > bound ? guess : bound, 1.0f, &room->kept);
    if (guess > bound && weigh(room->kept, 0, room->kept.count, NO_TOKEN) < goal)
        keep_within(row, bound, 1.0f, &room->kept);
}

template <class Tokens>
static void draw_from(const Tokens& tokens, const QuireDrawCall& call, int64_t row, int64_t* sums) {
    int64_t total = 0;
    for (int64_t start = 0; start < tokens.count; start += WEIGHT_BLOCK)
        total += sums[start / WEIGHT_BLOCK] = weigh(tokens, start, least(tokens.count, start + WEIGHT_BLOCK), NO_TOKEN);
    call.totals[row] = total;
    for (int64_t n = row * call.draws_per_row; n < (row + 1) * call.draws_per_row; ++n) {
        auto goal = static_cast<int64_t>((static_cast<Wide>(call.draws[n]) * static_cast<Wide>(total)) >> 53);
        int64_t start = 0;
        while (start + WEIGHT_BLOCK < tokens.count && goal >= sums[start / WEIGHT_BLOCK])
            goal -= sums[start / WEIGHT_BLOCK], start += WEIGHT_BLOCK;
        call.tokens[n] = tokens.id(place_of(tokens, start, least(tokens.count, start + WEIGHT_BLOCK), goal));
    }
}

static void draw_row(const QuireDrawCall& call, int64_t index, DrawRoom* room) {
    const float* x = call.x + (call.index ? call.index[index] : index) * call.row_stride;
    const ScaledRow row{x, call.width, call.maxima[index], call.scales[index]};
    const int64_t top_k = call.top_k[index], top_p = call.top_p[index];
    const bool has_top_k = top_k > 0 && top_k < row.count, has_top_p = top_p < ALL_SHARES;
    int64_t total = 0;  // known before tokens are left out, or 0
    float low = call.floors[index];
    if (has_top_k) {
        float bound = bound_of_top_k(row, top_k, room);
        if (bound > low) low = bound;
    }
    if (!has_top_k && !(low > WEIGHTLESS)) {
        if (!has_top_p) return draw_from(row, call, index, room->sums);
        total = weigh(row, 0, row.count, NO_TOKEN);
        keep_for_top_p(row, top_p, total, room);
    } else {
        keep_within<true>(row, low > WEIGHTLESS ? low : WEIGHTLESS, 1.0f, &room->kept);
    }
    SomeTokens& kept = room->kept;
    if (has_top_k && top_k < kept.count) apply_cut(find_cut(kept, top_k, false, &room->window), &kept);
    if (has_top_p) {
        if (!total) total = weigh(kept, 0, kept.count, NO_TOKEN);
        apply_cut(find_cut(kept, part_of(top_p, total), true, &room->window), &kept);
    }
    draw_from(kept, call, index, room->sums);
}

static void draw_tokens(const QuireDrawCall* call) {
    share_each(call->rows, call->width, [&](int64_t row) {
        static thread_local DrawMemory memory;
        DrawRoom room = memory.for_rows_of(call->width);
        draw_row(*call, row, &room);
    });
}

}  // namespace quire::QUIRE_NAMESPACE
