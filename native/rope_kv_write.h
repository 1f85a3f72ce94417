// rope_kv_write: a step's heads made ready for attention in one pass: query and key heads normalised (where the
// family does), turned by their positions, keys and values written to the cache. The bits of rms_norm, rope and
// kv_write one after the other.
#pragma once

#include "kv_write.h"
#include "rms_norm.h"
#include "rope.h"

namespace quire::QUIRE_NAMESPACE {

constexpr int64_t MAX_TURNED_HEAD = 512;

template <class T>
static void make_ready(const QuireRopeKvWriteCall& call, const T* x, const void* norm, const T* cos, const T* sin, T* out) {
    const int64_t head_dim = call.write.head_dim;
    T normalised[MAX_TURNED_HEAD];
    if (norm) {
        rms_norm_row(x, static_cast<const T*>(norm), normalised, head_dim, call.eps, call.offset);
        x = normalised;
    }
    rope_head(x, cos, sin, out, head_dim, call.half);
}

template <class T, class C>
static void rope_kv_write_token(const QuireRopeKvWriteCall& call, int64_t t) {
    const QuireKvWriteCall& write = call.write;
    const int64_t head_dim = write.head_dim, slot = write.slots[t];
    const T *cos = static_cast<const T*>(call.cos) + t * call.half, *sin = static_cast<const T*>(call.sin) + t * call.half;
    const T* query = static_cast<const T*>(call.query) + t * call.query_stride;
    T* out = static_cast<T*>(call.out) + t * call.heads * head_dim;
    for (int64_t h = 0; h < call.heads * head_dim; h += head_dim)
        make_ready(call, query + h, call.query_norm, cos, sin, out + h);
    const T* key = static_cast<const T*>(write.key) + t * write.key_stride;
    for (int64_t head = 0; head < write.heads; ++head) {
        T ready[MAX_TURNED_HEAD];
        make_ready(call, key + head * head_dim, call.key_norm, cos, sin, ready);
        write_head<T, C>(write, ready, write.key_cache, write.key_scales, slot, head);
    }
    write_token<T, C>(write, static_cast<const T*>(write.value) + t * write.value_stride, write.value_cache,
                      write.value_scales, slot);
}

static void rope_kv_write(const QuireRopeKvWriteCall* call) {
    const QuireKvWriteCall& write = call->write;
    with_dtype(write.dtype, [&](auto type) {
        with_cache_dtype(write.cache_dtype, [&](auto cached) {
            share(write.rows, (call->heads + 2 * write.heads) * write.head_dim * 2, [&](int64_t first, int64_t last) {
                for (int64_t t = first; t < last; ++t) rope_kv_write_token<decltype(type), decltype(cached)>(*call, t);
            });
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
