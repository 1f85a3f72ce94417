// The exported functions: they forward to the kernels of the chosen instruction set.
#include "api.h"

#include <string.h>
#include <sys/mman.h>

#include "pool.h"

namespace quire {

namespace scalar {
extern const QuireKernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const QuireKernels kernels;
}
namespace avx512 {
extern const QuireKernels kernels;
}
namespace avx512_bf16 {
extern const QuireKernels kernels;
}
#endif

namespace {

struct InstructionSet {
    const char* name;
    const QuireKernels* kernels;
    bool (*is_here)();
};

// From the plainest to the best. An AMX set goes below the last line: its tiles read the same packed weights.
const InstructionSet SETS[] = {
    {"scalar", &scalar::kernels, [] { return true; }},
#if defined(__x86_64__)
    {"avx2", &avx2::kernels,
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"); }},
    {"avx512", &avx512::kernels,
     [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
     }},
    {"avx512_bf16", &avx512_bf16::kernels,
     [] {
         return SETS[2].is_here() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni");
     }},
#endif
};
constexpr int NUM_SETS = sizeof SETS / sizeof SETS[0];

const InstructionSet* chosen = &SETS[0];

}  // namespace
}  // namespace quire

#define EXPORT extern "C" __attribute__((visibility("default")))

// Grows with every change of this interface or of the packed layout; native.py holds the number it speaks.
EXPORT int32_t quire_version() { return 3; }

EXPORT void quire_set_threads(int32_t count) { quire::set_threads(count); }
EXPORT int32_t quire_threads() { return quire::threads(); }

// The names of the sets this machine can run, one per index from 0, the best one last; null past the end.
EXPORT const char* quire_instruction_set(int32_t index) {
    for (int i = 0; i < quire::NUM_SETS; ++i) {
        if (quire::SETS[i].is_here() && index-- == 0) return quire::SETS[i].name;
    }
    return nullptr;
}

// 1 when the set of this name was chosen, 0 when it is unknown or this machine lacks it.
EXPORT int32_t quire_choose(const char* name) {
    for (const auto& set : quire::SETS) {
        if (strcmp(set.name, name) == 0 && set.is_here()) {
            quire::chosen = &set;
            return 1;
        }
    }
    return 0;
}

EXPORT const char* quire_chosen() { return quire::chosen->name; }

// Fewer pages to look up while weights stream by: measured 15 % of a batch-1 product's speed.
static void use_large_pages(const void* memory, int64_t bytes) {
    constexpr uintptr_t LARGE = 2u << 20;
    uintptr_t start = reinterpret_cast<uintptr_t>(memory) / LARGE * LARGE + LARGE;
    uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + static_cast<uintptr_t>(bytes)) / LARGE * LARGE;
    if (start < end) madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
}

EXPORT void quire_linear_pack(const QuireLinear* to, const void* weight, int64_t row_stride, int64_t packed_bytes) {
    use_large_pages(to->packed, packed_bytes);
    quire::chosen->kernels->linear_pack(weight, row_stride, to);
}
EXPORT void quire_linear(const QuireLinear* weight, const void* x, int64_t rows, int64_t x_stride, const void* bias,
                         void* out) {
    quire::chosen->kernels->linear(weight, x, rows, x_stride, bias, out);
}
EXPORT void quire_linear_rows(const QuireLinear* weight, const int64_t* indices, int64_t count, void* out) {
    quire::chosen->kernels->linear_rows(weight, indices, count, out);
}
EXPORT void quire_linear_int8_pack(const QuireLinearInt8* to, int32_t dtype, const void* weight, int64_t row_stride,
                                   int64_t packed_bytes) {
    use_large_pages(to->packed, packed_bytes);
    quire::chosen->kernels->linear_int8_pack(dtype, weight, row_stride, to);
}
EXPORT void quire_linear_int8(const QuireLinearInt8* weight, int32_t dtype, const void* x, int64_t rows,
                              int64_t x_stride, const void* bias, void* out) {
    quire::chosen->kernels->linear_int8(weight, dtype, x, rows, x_stride, bias, out);
}
EXPORT void quire_linear_int8_rows(const QuireLinearInt8* weight, int32_t dtype, const int64_t* indices, int64_t count,
                                   void* out) {
    quire::chosen->kernels->linear_int8_rows(weight, dtype, indices, count, out);
}
EXPORT void quire_rms_norm(int32_t dtype, const void* x, const void* weight, void* out, int64_t rows, int64_t inner,
                           int64_t width, int64_t row_stride, float eps, float offset) {
    quire::chosen->kernels->rms_norm(dtype, x, weight, out, rows, inner, width, row_stride, eps, offset);
}
EXPORT void quire_rope(int32_t dtype, const void* x, const void* cos, const void* sin, void* out, int64_t tokens,
                       int64_t heads, int64_t head_dim, int64_t half, int64_t token_stride) {
    quire::chosen->kernels->rope(dtype, x, cos, sin, out, tokens, heads, head_dim, half, token_stride);
}
EXPORT void quire_activation(int32_t dtype, const void* x, void* out, int64_t rows, int64_t width, int32_t kind,
                             int32_t gated) {
    quire::chosen->kernels->activation(dtype, x, out, rows, width, kind, gated);
}
EXPORT void quire_attention(const QuireAttention* layer, const QuireBatch* batch) {
    quire::chosen->kernels->attention(layer, batch);
}

// Rows of `bytes` bytes to their slots in one layer's key and value cache, rows of the cache being as long.
EXPORT void quire_kv_write(const char* key, const char* value, const int64_t* slots, char* key_cache, char* value_cache,
                           int64_t tokens, int64_t bytes, int64_t key_stride_bytes, int64_t value_stride_bytes) {
    for (int64_t t = 0; t < tokens; ++t) {
        memcpy(key_cache + slots[t] * bytes, key + t * key_stride_bytes, static_cast<size_t>(bytes));
        memcpy(value_cache + slots[t] * bytes, value + t * value_stride_bytes, static_cast<size_t>(bytes));
    }
}
