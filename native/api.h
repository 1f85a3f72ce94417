// The C interface of the library, and the table of kernels that each instruction set fills in.
//
// Pointers are raw, counts are int64, sizes and strides are in elements. Callers check types and shapes.
//
// An op is called with one pointer to its arguments, a structure that begins with `rows`: how many rows (tokens, as a
// rule) the call is about. So calls can be kept and made again, for another number of rows.
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

enum QuireActivation : int32_t { QUIRE_SILU = 0, QUIRE_GELU_TANH = 1, QUIRE_RELU = 2 };

// x (rows, inputs) with `x_stride` between rows, bias (outputs) or null, out (rows, outputs) contiguous.
struct QuireLinearCall {
    int64_t rows;
    const QuireLinear* weight;
    const void* x;
    const void* bias;
    void* out;
    int64_t x_stride;
};

struct QuireLinearInt8Call {
    int64_t rows;
    const QuireLinearInt8* weight;
    const void* x;
    const void* bias;
    void* out;
    int64_t x_stride;
    int32_t dtype;
};

// Rows of a packed table by index; out (rows, inputs) contiguous.
struct QuireRowsCall {
    int64_t rows;
    const void* weight;  // QuireLinear or QuireLinearInt8
    const int64_t* indices;
    void* out;
    int32_t dtype;
};

// x: `rows` groups `row_stride` apart, each of `inner` contiguous vectors of `width`; out contiguous.
struct QuireRmsNormCall {
    int64_t rows;
    const void* x;
    const void* weight;
    void* out;
    int64_t inner;
    int64_t width;
    int64_t row_stride;
    float eps;
    float offset;
    int32_t dtype;
};

// x (rows, heads, head_dim) with `token_stride` between rows, cos and sin (rows, half), out contiguous.
struct QuireRopeCall {
    int64_t rows;
    const void* x;
    const void* cos;
    const void* sin;
    void* out;
    int64_t heads;
    int64_t head_dim;
    int64_t half;
    int64_t token_stride;
    int32_t dtype;
};

// x (rows, width), or (rows, 2 · width) when gated; out (rows, width).
struct QuireActivationCall {
    int64_t rows;
    const void* x;
    void* out;
    int64_t width;
    int32_t kind;
    int32_t gated;
    int32_t dtype;
};

// Rows of `bytes` bytes to their slots in one layer's key and value cache, rows of the cache being as long.
struct QuireKvWriteCall {
    int64_t rows;
    const char* key;
    const char* value;
    const int64_t* slots;
    char* key_cache;
    char* value_cache;
    int64_t bytes;
    int64_t key_stride_bytes;
    int64_t value_stride_bytes;
};

// Which tokens stay: bit t % 32 of word t / 32. The logits of the others become -inf.
struct QuireKeepAllowedCall {
    int64_t rows;  // 1
    const uint32_t* words;
    int64_t size;
    float* logits;
};

// One layer's attention. Queries (rows, heads, head_dim) with `query_stride` between tokens, output contiguous;
// caches (blocks, block_size, key_heads, head_dim) contiguous. The batch says what the rows are.
struct QuireAttentionCall {
    int64_t rows;
    const QuireBatch* batch;
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

struct QuireKernels {
    void (*linear_pack)(const void* weight, int64_t row_stride, const QuireLinear* to);
    void (*linear_int8_pack)(int32_t dtype, const void* weight, int64_t row_stride, const QuireLinearInt8* to);
    void (*linear)(const QuireLinearCall*);
    void (*linear_rows)(const QuireRowsCall*);
    void (*linear_int8)(const QuireLinearInt8Call*);
    void (*linear_int8_rows)(const QuireRowsCall*);
    void (*rms_norm)(const QuireRmsNormCall*);
    void (*rope)(const QuireRopeCall*);
    void (*activation)(const QuireActivationCall*);
    void (*attention)(const QuireAttentionCall*);
};
