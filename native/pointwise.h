// pointwise: a sum of two rows, a multiple, or a soft cap: one number in, one number out, float32 inside.
//
// The factor of a multiple is rounded to the type first, as a tensor of that type would hold it.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <class T, int KIND>
static void pointwise_range(const T* x, const T* y, T* out, int64_t count, float number) {
    T rounded;
    narrow(number, &rounded);
    Vec factor = splat(widen(rounded)), cap = splat(number);
    auto change = [&](Vec v, Vec w) INLINE_LAMBDA {
        if constexpr (KIND == QUIRE_ADD) return add(v, w);
        if constexpr (KIND == QUIRE_SCALE) return mul(v, factor);
        return mul(tanh(div(v, cap)), cap);
    };
    const T* other = KIND == QUIRE_ADD ? y : x;
    int64_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH) store(out + i, change(load(x + i), load(other + i)));
    if (i < count) {
        int64_t left = count - i;
        store_part(out + i, change(load_part(x + i, left), load_part(other + i, left)), left);
    }
}

template <class T, int KIND>
static void pointwise_rows(const QuirePointwiseCall& call) {
    const T *x = static_cast<const T*>(call.x), *y = static_cast<const T*>(call.y);
    T* out = static_cast<T*>(call.out);
    share(call.rows, call.width / 2, [&](int64_t first, int64_t last) {
        int64_t start = first * call.width, count = (last - first) * call.width;
        pointwise_range<T, KIND>(x + start, y ? y + start : nullptr, out + start, count, call.number);
    });
}

static void pointwise(const QuirePointwiseCall* call) {
    with_dtype(call->dtype, [&](auto type) {
        using T = decltype(type);
        if (call->kind == QUIRE_ADD) pointwise_rows<T, QUIRE_ADD>(*call);
        else if (call->kind == QUIRE_SCALE) pointwise_rows<T, QUIRE_SCALE>(*call);
        else pointwise_rows<T, QUIRE_SOFT_CAP>(*call);
    });
}

}  // namespace quire::QUIRE_NAMESPACE
