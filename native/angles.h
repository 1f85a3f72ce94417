// angles: cosines and sines of position · frequency, for rope. The product is float32, as the models were trained; the
// C library's functions, exact to the last bit or so however large the angle, are not vectors but few are needed.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

static void angles(const QuireAnglesCall* call) {
    const int64_t half = call->half;
    with_dtype(call->dtype, [&](auto type) {
        using T = decltype(type);
        T *cos = static_cast<T*>(call->cos), *sin = static_cast<T*>(call->sin);
        share(call->rows, half * 16, [&](int64_t first, int64_t last) {
            for (int64_t t = first; t < last; ++t)
                for (int64_t i = 0; i < half; ++i) {
                    float angle = static_cast<float>(call->positions[t]) * call->frequencies[i];
                    narrow(__builtin_cosf(angle) * call->magnitude, cos + t * half + i);
                    narrow(__builtin_sinf(angle) * call->magnitude, sin + t * half + i);
                }
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
