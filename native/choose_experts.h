// choose_experts: the experts of each row with the highest scores, and their weights.
//
// The score of an expert is its logit: softmax and sigmoid keep their order. Higher comes first, the lower expert of
// equals, and NaN before all numbers, as in linear_top. Weights are e^(logit - highest), over the sum of all experts or
// of those chosen, or 1 / (1 + e^-logit). The sum of all is in lanes along the row, the lanes in a fixed tree; that of
// the chosen from the first to the last.
#pragma once

#include "linear_top.h"

namespace quire::QUIRE_NAMESPACE {

// e^(x - highest) for whole vectors of `x`, in place.
INLINE void exponentials(float* x, int64_t count, float highest) {
    for (int64_t i = 0; i < count; i += WIDTH) store(x + i, exp(sub(load(x + i), splat(highest))));
}

// Weights of the chosen, best first. `room` has whole vectors for all experts.
static void weigh_experts(const QuireChooseExpertsCall& call, const float* logits, const Candidate* best, float* weights,
                          float* room) {
    const int64_t chosen = up(call.count, WIDTH) * WIDTH, all = up(call.num_experts, WIDTH) * WIDTH;
    float total = 0.0f;
    if (!call.is_sigmoid && !call.renormalises) {
        memcpy(room, logits, static_cast<size_t>(call.num_experts) * sizeof(float));
        for (int64_t i = call.num_experts; i < all; ++i) room[i] = -__builtin_inff();
        exponentials(room, all, best[0].value);
        Vec sums = splat(0.0f);
        for (int64_t i = 0; i < all; i += WIDTH) sums = add(sums, load(room + i));
        total = sum(sums);
    }
    for (int64_t i = 0; i < chosen; ++i)
        room[i] = i >= call.count ? 0.0f : call.is_sigmoid ? -best[i].value : best[i].value;
    exponentials(room, chosen, call.is_sigmoid ? 0.0f : best[0].value);
    for (int64_t i = 0; i < call.count; ++i) weights[i] = call.is_sigmoid ? 1.0f / (1.0f + room[i]) : room[i];
    if (call.renormalises)
        for (int64_t i = 0; i < call.count; ++i) total += weights[i];
    else if (call.is_sigmoid) return;
    for (int64_t i = 0; i < call.count; ++i) weights[i] /= total;
}

static void choose_experts(const QuireChooseExpertsCall* call) {
    const int64_t count = call->count, padded = up(call->num_experts, WIDTH) * WIDTH;
    share(call->rows, call->num_experts, [&](int64_t first, int64_t last) {
        auto* best = static_cast<Candidate*>(__builtin_malloc(static_cast<size_t>(count) * sizeof(Candidate)));
        auto* room = static_cast<float*>(__builtin_malloc(static_cast<size_t>(padded) * sizeof(float)));
        for (int64_t row = first; row < last; ++row) {
            const float* logits = call->logits + row * call->num_experts;
            Best highest{best, count, 0};
            for (int64_t e = 0; e < call->num_experts; ++e) highest.offer(logits[e], e);
            for (int64_t i = 0; i < count; ++i) call->experts[row * count + i] = best[i].output;
            weigh_experts(*call, logits, best, call->weights + row * count, room);
        }
        __builtin_free(room);
        __builtin_free(best);
    });
}

}  // namespace quire::QUIRE_NAMESPACE
