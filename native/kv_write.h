// kv_write: a step's keys and values to their slots of one layer's cache, in the cache's type (kv_numbers.h).
#pragma once

#include "kv_numbers.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

constexpr float largest_of(i8) { return 127.0f; }
constexpr float largest_of(e4m3) { return 448.0f; }

template <class T, class C>
static void write_plain(const T* from, int64_t count, C* to) {
    for (int64_t h = 0; h < count; ++h) narrow(widen(from[h]), to + h);
}

// One head of one token with a scale of its own.
template <class T, class C>
static void write_scaled(const T* from, int64_t count, C* to, float* scale) {
    float highest = 0.0f;
    bool is_finite = true;
    for (int64_t h = 0; h < count; ++h) {
        const float x = __builtin_fabsf(widen(from[h]));
        is_finite &= x < __builtin_inff();
        highest = x > highest ? x : highest;
    }
    const float inverse = largest_of(C{}) / highest;
    const bool is_usable = is_finite && inverse < __builtin_inff();
    *scale = is_finite ? highest / largest_of(C{}) : __builtin_nanf("");
    for (int64_t h = 0; h < count; ++h) narrow(is_usable ? widen(from[h]) * inverse : 0.0f, to + h);
}

template <class T, class C>
INLINE void write_head(const QuireKvWriteCall& call, const T* from, void* cache, float* scales, int64_t slot, int64_t head) {
    const int64_t at = slot * call.heads + head;
    C* to = static_cast<C*>(cache) + at * call.head_dim;
    if constexpr (__is_same(T, C)) {
        memcpy(to, from, static_cast<size_t>(call.head_dim) * sizeof(T));
    } else {
        if constexpr (__is_same(C, i8) || __is_same(C, e4m3))
            if (scales) return write_scaled(from, call.head_dim, to, scales + at);
        write_plain(from, call.head_dim, to);
    }
}

template <class T, class C>
static void write_token(const QuireKvWriteCall& call, const T* from, void* cache, float* scales, int64_t slot) {
    for (int64_t head = 0; head < call.heads; ++head)
        write_head<T, C>(call, from + head * call.head_dim, cache, scales, slot, head);
}

static void kv_write(const QuireKvWriteCall* call) {
    with_dtype(call->dtype, [&](auto type) {
        with_cache_dtype(call->cache_dtype, [&](auto cached) {
            using T = decltype(type);
            using C = decltype(cached);
            share(call->rows, call->heads * call->head_dim / (__is_same(T, C) ? 16 : 4), [&](int64_t first, int64_t last) {
                for (int64_t t = first; t < last; ++t) {
                    const T* key = static_cast<const T*>(call->key) + t * call->key_stride;
                    const T* value = static_cast<const T*>(call->value) + t * call->value_stride;
                    write_token<T, C>(*call, key, call->key_cache, call->key_scales, call->slots[t]);
                    write_token<T, C>(*call, value, call->value_cache, call->value_scales, call->slots[t]);
                }
            });
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
