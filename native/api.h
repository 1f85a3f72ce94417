// The C interface of the library, and the table of kernels that each instruction set fills in.
//
// Pointers are raw, counts are int64, sizes and strides are in elements. Callers check types and shapes.
#pragma once

#include <stdint.h>

enum QuireDtype : int32_t { QUIRE_FLOAT32 = 0, QUIRE_BFLOAT16 = 1, QUIRE_FLOAT16 = 2 };

// A weight (outputs, inputs) in the packed layout of linear.h.
struct QuireLinear {
    const void* packed;
    int64_t outputs;
    int64_t inputs;
    int32_t dtype;
};

// A weight rounded to 8 bits, in the packed layout of linear_int8.h.
struct QuireLinearInt8 {
    const int8_t* packed;
    const float* scales;
    const int32_t* offsets;
    int64_t outputs;
    int64_t inputs;
};

// Which tokens of a step belong to which sequence. Sequence s has the tokens query_starts[s] .. query_starts[s+1]
// of the step, the last ones of its context of context_lens[s] tokens; its block b is tables[table_starts[s] + b].
struct QuireBatch {
    const int32_t* query_starts;
    const int32_t* context_lens;
    const int32_t* table_starts;
    const int32_t* tables;
    int64_t sequences;
    int64_t block_size;
};

// One layer's attention. Queries (tokens, heads, head_dim) with `query_stride` between tokens, output contiguous;
// caches (blocks, block_size, key_heads, head_dim) contiguous.
struct QuireAttention {
    const void* query;
    const void* key_cache;
    const void* value_cache;
    void* output;
    int64_t query_stride;
    int64_t heads;
    int64_t key_heads;
    int64_t head_dim;
    int64_t window;
    float scale;
    float soft_cap;
    int32_t dtype;
    int32_t cache_dtype;
};

enum QuireActivation : int32_t { QUIRE_SILU = 0, QUIRE_GELU_TANH = 1, QUIRE_RELU = 2 };

struct QuireKernels {
    void (*linear_pack)(const void* weight, int64_t row_stride, const QuireLinear* to);
    void (*linear)(const QuireLinear* weight, const void* x, int64_t rows, int64_t x_stride, const void* bias,
                   void* out);
    void (*linear_rows)(const QuireLinear* weight, const int64_t* indices, int64_t count, void* out);
    void (*linear_int8_pack)(int32_t dtype, const void* weight, int64_t row_stride, const QuireLinearInt8* to);
    void (*linear_int8)(const QuireLinearInt8* weight, int32_t dtype, const void* x, int64_t rows, int64_t x_stride,
                        const void* bias, void* out);
    void (*linear_int8_rows)(const QuireLinearInt8* weight, int32_t dtype, const int64_t* indices, int64_t count,
                             void* out);
    void (*rms_norm)(int32_t dtype, const void* x, const void* weight, void* out, int64_t rows, int64_t inner,
                     int64_t width, int64_t row_stride, float eps, float offset);
    void (*rope)(int32_t dtype, const void* x, const void* cos, const void* sin, void* out, int64_t tokens,
                 int64_t heads, int64_t head_dim, int64_t half, int64_t token_stride);
    void (*activation)(int32_t dtype, const void* x, void* out, int64_t rows, int64_t width, int32_t kind,
                       int32_t gated);
    void (*attention)(const QuireAttention* layer, const QuireBatch* batch);
};
