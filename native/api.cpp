// The exported functions: they forward to the kernels of the chosen instruction set.
#include "api.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

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
namespace amx {
extern const QuireKernels kernels;
}
#endif

namespace {

#if defined(__x86_64__)
// The processor has tiles of bfloat16 and int8, and the kernel gives this process the space for their state.
bool amx_granted() {
#ifdef QUIRE_EMULATE_TILES
    return true;
#endif
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    constexpr unsigned NEEDED = 1u << 22 | 1u << 24 | 1u << 25;  // amx-bf16, amx-tile, amx-int8
    constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // of arch_prctl
    return (d & NEEDED) == NEEDED && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

struct InstructionSet {
    const char* name;
    const QuireKernels* kernels;
    bool (*is_here)();
};

// From the plainest to the best.
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
    {"amx", &amx::kernels, [] { return SETS[3].is_here() && amx_granted(); }},
#endif
};
constexpr int NUM_SETS = sizeof SETS / sizeof SETS[0];

const InstructionSet* chosen = &SETS[0];

}  // namespace
}  // namespace quire

#define EXPORT extern "C" __attribute__((visibility("default")))

// Grows with every change of this interface or of the packed layout; native.py holds the number it speaks.
EXPORT int32_t quire_version() { return 14; }

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

EXPORT void quire_linear_pack(const QuireLinear* to, const void* weight, int64_t row_stride) {
    quire::chosen->kernels->linear_pack(weight, row_stride, to);
}
EXPORT void quire_linear_int8_pack(const QuireLinearInt8* to, int32_t dtype, const void* weight, int64_t row_stride) {
    quire::chosen->kernels->linear_int8_pack(dtype, weight, row_stride, to);
}
EXPORT void quire_linear_int4_pack(const QuireLinearInt4* to, int32_t dtype, const void* weight, int64_t row_stride) {
    quire::chosen->kernels->linear_int4_pack(dtype, weight, row_stride, to);
}

namespace {

int64_t inside_ns = 0;

// Adds the time it lives to `inside_ns`: what is not in there, a step's host spent.
struct Inside {
    int64_t began_ns = now_ns();
    ~Inside() { __atomic_fetch_add(&inside_ns, now_ns() - began_ns, __ATOMIC_RELAXED); }

    static int64_t now_ns() {
        timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1'000'000'000 + now.tv_nsec;
    }
};

}  // namespace

// Nanoseconds that callers have spent inside ops since the library was loaded.
EXPORT int64_t quire_inside_ns() { return __atomic_load_n(&inside_ns, __ATOMIC_RELAXED); }

EXPORT int64_t quire_probe(const QuireProbeCall* call) { return quire::chosen->kernels->probe(call); }

#define EXPORT_OP(op, Call)                   \
    EXPORT void quire_##op(const Call* call) { \
        Inside inside;                        \
        quire::chosen->kernels->op(call);     \
    }
EXPORT_OP(linear, QuireLinearCall)
EXPORT_OP(linear_rows, QuireRowsCall)
EXPORT_OP(linear_int8, QuireLinearInt8Call)
EXPORT_OP(linear_int8_rows, QuireRowsCall)
EXPORT_OP(linear_top, QuireLinearTopCall)
EXPORT_OP(linear_int8_top, QuireLinearTopCall)
EXPORT_OP(linear_int4, QuireLinearInt4Call)
EXPORT_OP(linear_int4_rows, QuireRowsCall)
EXPORT_OP(grouped_linear, QuireGroupedLinearCall)
EXPORT_OP(choose_experts, QuireChooseExpertsCall)
EXPORT_OP(combine_experts, QuireCombineExpertsCall)
EXPORT_OP(rms_norm, QuireRmsNormCall)
EXPORT_OP(rope, QuireRopeCall)
EXPORT_OP(activation, QuireActivationCall)
EXPORT_OP(attention, QuireAttentionCall)
EXPORT_OP(kv_write, QuireKvWriteCall)
EXPORT_OP(rope_kv_write, QuireRopeKvWriteCall)
EXPORT_OP(pointwise, QuirePointwiseCall)
EXPORT_OP(layer_norm, QuireLayerNormCall)
EXPORT_OP(angles, QuireAnglesCall)
EXPORT_OP(first_largest, QuireFirstLargestCall)
EXPORT_OP(draw_tokens, QuireDrawCall)

EXPORT void quire_embedding(const QuireEmbeddingCall* call) {
    Inside inside;
    const auto bytes = static_cast<size_t>(call->bytes);
    for (int64_t t = 0; t < call->rows; ++t)
        memcpy(call->out + t * call->bytes, call->table + (call->indices[t] + call->first) * call->bytes, bytes);
}

EXPORT void quire_compact(const QuireCompactCall* call) {
    Inside inside;
    char* out = call->out;
    for (int64_t t = 0; t < call->rows; ++t)
        for (int64_t piece = 0; piece < call->pieces; ++piece, out += call->bytes)
            memcpy(out, call->x + t * call->row_stride_bytes + piece * call->piece_stride_bytes,
                   static_cast<size_t>(call->bytes));
}

// 1 when all of so many indices pick a row of a table of `rows`, else 0.
EXPORT int32_t quire_is_below(const int64_t* indices, int64_t count, int64_t rows) {
    bool is_below = true;
    for (int64_t i = 0; i < count; ++i) is_below &= 0 <= indices[i] && indices[i] < rows;
    return is_below;
}

// Makes kept calls again, in order.
EXPORT void quire_replay(const QuirePart* parts, int64_t count) {
    quire::hold_workers();
    for (const QuirePart* part = parts; part < parts + count; ++part) {
        const QuireRecorded* const end = part->calls + part->count;
        for (const QuireRecorded* call = part->calls; call < end; ++call) {
            *call->arguments = part->tokens * call->rows_per_token;
            call->op(call->arguments);
        }
    }
    quire::release_workers();
}

EXPORT void quire_keep_allowed(const QuireKeepAllowedCall* call) {
    Inside inside;
    for (int64_t begin = 0; begin < call->size; begin += 32) {
        const uint32_t word = call->words[begin / 32];
        if (word == UINT32_MAX) continue;
        const int64_t count = call->size - begin < 32 ? call->size - begin : 32;
        float* logits = call->logits + begin;
        for (int64_t i = 0; i < count; ++i) logits[i] = word >> i & 1 ? logits[i] : -__builtin_inff();
    }
}

EXPORT void quire_penalise(const QuirePenaliseCall* call) {
    Inside inside;
    const float repetition = call->repetition, frequency = call->frequency, presence = call->presence;
    for (int64_t i = 0; i < call->count; ++i) {
        const int64_t id = call->ids[i];
        if (id < 0 || id >= call->width) continue;
        float logit = call->logits[id];
        if (repetition != 1.0f) logit = logit > 0.0f ? logit / repetition : logit * repetition;
        if (frequency != 0.0f) logit -= call->counts[i] * frequency;
        if (presence != 0.0f) logit -= (call->counts[i] > 0.0f ? 1.0f : 0.0f) * presence;
        call->logits[id] = logit;
    }
}
