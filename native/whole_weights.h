// Weights of tokens in whole numbers: floor(2^40 * 2^t) of a scaled logit t, at most 0. Every step rounds as plain float32
// does, without fused multiply-adds, so that every instruction set and the torch reference have the same bits.
#pragma once

#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t WEIGHT_BLOCK = 1024;    // 2^10 weights of at most 2^20 in each half: their sum fits 31 bits
constexpr float LEAST_SCALED = -64.0f;    // scaled logits end here
constexpr float NO_TOKEN = -128.0f;       // fills up a last vector; weighs nothing
constexpr float WEIGHTLESS = -42.0f;      // no token below this has a weight
constexpr float HALF_WEIGHT = 1048576.0f;  // 2^20

// 2^20 * 2^t: the upper half of a weight and, as a fraction, the lower one.
INLINE Vec upper_half(Vec t) {
    Vec n = round(t);
    Vec r = sub(t, n);
    Vec p = splat(0.001326472731307149f);
    p = add(mul(p, r), splat(0.009671512991189957f));
    p = add(mul(p, r), splat(0.05550733581185341f));
    p = add(mul(p, r), splat(0.24022242426872253f));
    p = add(mul(p, r), splat(0.6931470036506653f));
    p = add(mul(p, r), splat(1.0f));
    return scale_by_power_of_two(p, add(n, splat(20.0f)));
}

// A row of logits as scaled logits, and their ids.
struct ScaledRow {
    const float* x;
    int64_t count;
    float maximum, scale;

    INLINE_LAMBDA Vec at(int64_t i) const {
        Vec v;
        if (i + WIDTH <= count) {
            v = load(x + i);
        } else {
            float padded[WIDTH];
            store(padded, splat(-__builtin_inff()));
            memcpy(padded, x + i, static_cast<size_t>(count - i) * sizeof(float));
            v = load(padded);
        }
        return scaled(v);
    }
    INLINE_LAMBDA Vec scaled(Vec v) const {
        return max(mul(sub(v, splat(maximum)), splat(scale)), splat(LEAST_SCALED));
    }
    INLINE_LAMBDA Whole ids_at(int64_t i) const { return count_from(static_cast<int32_t>(i)); }
    int32_t id(int64_t i) const { return static_cast<int32_t>(i); }
};

// Some tokens of a row by rising id; room for one vector more, which holds NO_TOKEN.
struct SomeTokens {
    float* scaled;
    int32_t* ids;
    int64_t count;

    INLINE_LAMBDA Vec at(int64_t i) const { return load(scaled + i); }
    INLINE_LAMBDA Whole ids_at(int64_t i) const { return load_whole(ids + i); }
    int32_t id(int64_t i) const { return ids[i]; }
};

// The weights of those tokens first .. last-1 that are not below `low`, added up. `first` is a multiple of WIDTH, and so
// is `last` or it is the end.
template <class Tokens>
static int64_t weigh(const Tokens tokens, int64_t first, int64_t last, float low) {
    int64_t total = 0;
    for (int64_t start = first; start < last; start += WEIGHT_BLOCK) {
        Whole upper = splat_whole(0), lower = splat_whole(0);
        const int64_t end = least(last, start + WEIGHT_BLOCK);
        for (int64_t i = start; i < end; i += WIDTH) {
            Vec t = tokens.at(i);
            Vec both = zero_below(t, low, upper_half(t));
            Whole part = truncate(both);
            upper = add(upper, part);
            lower = add(lower, truncate(mul(sub(both, to_floats(part)), splat(HALF_WEIGHT))));
        }
        total += (static_cast<int64_t>(sum(upper)) << 20) + sum(lower);
    }
    return total;
}

// The place of the token in first .. last-1 at which the weights from `first` on exceed `goal`.
template <class Tokens>
static int64_t place_of(const Tokens& tokens, int64_t first, int64_t last, int64_t goal) {
    float both[WIDTH];
    for (int64_t start = first; start < last; start += WIDTH) {
        store(both, upper_half(tokens.at(start)));
        for (int64_t i = start; i < least(last, start + WIDTH); ++i) {
            goal -= static_cast<int64_t>(both[i - start] * HALF_WEIGHT);
            if (goal < 0) return i;
        }
    }
    return last - 1;
}

// Moves the tokens with low <= t < high to `to`, which may be where they are. Taken by value: stores to `to` then leave
// the pointers in registers. Where few are expected, a branch skips vectors that hold none.
template <bool EXPECTS_FEW = false, class Tokens>
static void keep_within(const Tokens tokens, float low, float high, SomeTokens* to) {
    int64_t kept = 0;
    const int64_t count = tokens.count;
    for (int64_t i = 0; i < count; i += WIDTH) {
        Vec t = tokens.at(i);
        uint32_t bits = within(t, low, high);
        if (i + WIDTH > count) bits &= (1u << (count - i)) - 1;
        if (!EXPECTS_FEW || bits) kept += pick_out(bits, t, tokens.ids_at(i), to->scaled + kept, to->ids + kept);
    }
    to->count = kept;
    store(to->scaled + kept, splat(NO_TOKEN));
}

}  // namespace quire::QUIRE_NAMESPACE
