// The C interface of the library, and the table of kernels that each instruction set fills in.
//
// Pointers are raw, counts are int64, sizes and strides are in elements. Callers check types and shapes.
//
// An op is called with one pointer to its arguments, a structure that begins with `rows`: how many rows (tokens, as a
// rule) the call is about. So calls can be kept and made again, for another number of rows.
#pragma once

#include <stdint.h>

// The last three are types of a KV cache only.
enum QuireDtype : int32_t {
    QUIRE_FLOAT32 = 0,
    QUIRE_BFLOAT16 = 1,
    QUIRE_FLOAT16 = 2,
    QUIRE_INT8 = 3,
    QUIRE_E4M3 = 4,
    QUIRE_E5M2 = 5,
};

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

// A weight rounded to 4 bits in groups of inputs, in the packed layout of linear_int4_pack.h.
struct QuireLinearInt4 {
    const uint8_t* packed;
    const uint16_t* scales;  // bfloat16
    int64_t outputs;
    int64_t inputs;
    int64_t group_size;
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

enum QuireActivation : int32_t { QUIRE_SILU = 0, QUIRE_GELU_TANH = 1, QUIRE_RELU = 2, QUIRE_GELU_ERF = 3, QUIRE_TANH = 4 };

enum QuirePointwise : int32_t { QUIRE_ADD = 0, QUIRE_SCALE = 1, QUIRE_SOFT_CAP = 2 };

// x (rows, inputs) with `x_stride` between rows, bias (outputs) or null, out (rows, outputs) contiguous.
struct QuireLinearCall {
    int64_t rows;
    const QuireLinear* weight;
    const void* x;
    const void* bias;
    void* out;
    int64_t x_stride;
    int32_t out_is_float;  // whatever the weight's type
};

struct QuireLinearInt8Call {
    int64_t rows;
    const QuireLinearInt8* weight;
    const void* x;
    const void* bias;
    void* out;
    int64_t x_stride;
    int32_t dtype;
    int32_t out_is_float;
};

// The `count` highest of each row's results in float32 and their outputs, (rows, count) contiguous.
struct QuireLinearTopCall {
    int64_t rows;
    const void* weight;  // QuireLinear or QuireLinearInt8
    const void* x;
    const void* bias;
    float* values;
    int64_t* indices;
    int64_t x_stride;
    int64_t count;
    int32_t dtype;
};

struct QuireLinearInt4Call {
    int64_t rows;
    const QuireLinearInt4* weight;
    const void* x;
    const void* bias;
    void* out;
    int64_t x_stride;
    int32_t dtype;
    int32_t rounds_inputs;  // to 8 bits
    int32_t out_is_float;
};

// How the weight of an expert is held.
enum QuireExperts : int32_t { QUIRE_EXPERTS_PLAIN = 0, QUIRE_EXPERTS_INT8 = 1, QUIRE_EXPERTS_INT4 = 2 };

// Row r of the results is row r / rows_per_input of x, `x_stride` apart, times the weight of experts[r], which is below
// num_experts; out (rows, outputs) contiguous, in the inputs' type.
struct QuireGroupedLinearCall {
    int64_t rows;
    const void* const* weights;  // of each expert: a QuireLinear, QuireLinearInt8 or QuireLinearInt4
    const void* x;
    const int64_t* experts;
    void* out;
    int64_t x_stride;
    int64_t rows_per_input;
    int64_t num_experts;
    int64_t outputs;
    int64_t inputs;
    int32_t kind;
    int32_t dtype;
    int32_t rounds_inputs;  // with int4: to 8 bits
};

// logits (rows, num_experts) contiguous; the `count` highest of each row and their weights, (rows, count) contiguous.
struct QuireChooseExpertsCall {
    int64_t rows;
    const float* logits;
    float* weights;
    int64_t* experts;
    int64_t num_experts;
    int64_t count;
    int32_t is_sigmoid;    // or softmax
    int32_t renormalises;  // so that the weights of a row add up to 1
};

// x (rows, count, width), weights (rows, count), out (rows, width), all contiguous.
struct QuireCombineExpertsCall {
    int64_t rows;
    const void* x;
    const float* weights;
    void* out;
    int64_t count;
    int64_t width;
    int32_t dtype;
};

// Rows of a packed table by index; out (rows, inputs) contiguous.
struct QuireRowsCall {
    int64_t rows;
    const void* weight;  // QuireLinear, QuireLinearInt8 or QuireLinearInt4
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

// Keys and values (rows, heads, head_dim), the heads of a token in one piece, to their slots of one layer's caches.
// Scales (slots, heads) or null: see kv_numbers.h.
struct QuireKvWriteCall {
    int64_t rows;
    const void* key;
    const void* value;
    const int64_t* slots;
    void* key_cache;
    void* value_cache;
    float* key_scales;
    float* value_scales;
    int64_t heads;
    int64_t head_dim;
    int64_t key_stride;
    int64_t value_stride;
    int32_t dtype;
    int32_t cache_dtype;
};

// The same after queries (rows, heads, head_dim) and keys were normalised, where there are weights (head_dim) for it, and
// turned by cos and sin (rows, half); queries to out, contiguous. head_dim is at most 512.
struct QuireRopeKvWriteCall {
    QuireKvWriteCall write;
    const void* query;
    const void* cos;
    const void* sin;
    const void* query_norm;
    const void* key_norm;
    void* out;
    int64_t heads;
    int64_t half;
    int64_t query_stride;
    float eps;
    float offset;
};

// Which tokens stay: bit t % 32 of word t / 32. The logits of the others become -inf.
struct QuireKeepAllowedCall {
    int64_t rows;  // 1
    const uint32_t* words;
    int64_t size;
    float* logits;
};

// The logits (width) of `count` distinct tokens and how often each was output; see model/ops/penalise.py.
struct QuirePenaliseCall {
    int64_t rows;  // 1
    const int64_t* ids;
    const float* counts;
    int64_t count;
    int64_t width;
    float* logits;
    float repetition;
    float frequency;
    float presence;
};

// One layer's attention. Queries (rows, heads, head_dim) with `query_stride` between tokens, output contiguous;
// caches (blocks, block_size, key_heads, head_dim) contiguous, their scales (blocks, block_size, key_heads) or null;
// slopes and sinks (heads) or null. The batch says what the rows are. A token sees `ahead` tokens after itself, where its
// context goes on: 0 in a decoder, as many as there are in an encoder.
struct QuireAttentionCall {
    int64_t rows;
    const QuireBatch* batch;
    const void* query;
    const void* key_cache;
    const void* value_cache;
    const float* key_scales;
    const float* value_scales;
    const float* slopes;
    const float* sinks;
    void* output;
    int64_t query_stride;
    int64_t heads;
    int64_t key_heads;
    int64_t head_dim;
    int64_t window;
    int64_t ahead;
    float scale;
    float soft_cap;
    int32_t dtype;
    int32_t cache_dtype;
};

// x (rows, width) contiguous, y the same or null, out contiguous: x + y, x · number or number · tanh(x / number).
struct QuirePointwiseCall {
    int64_t rows;
    const void* x;
    const void* y;
    void* out;
    int64_t width;
    float number;
    int32_t kind;
    int32_t dtype;
};

// x (rows, width) contiguous, weight (width), bias (width) or null, out contiguous.
struct QuireLayerNormCall {
    int64_t rows;
    const void* x;
    const void* weight;
    const void* bias;
    void* out;
    int64_t width;
    float eps;
    int32_t dtype;
};

// Cosines and sines of position · frequency, times `magnitude`; both (rows, half) contiguous.
struct QuireAnglesCall {
    int64_t rows;
    const int64_t* positions;
    const float* frequencies;
    void* cos;
    void* sin;
    int64_t half;
    float magnitude;
    int32_t dtype;
};

// Rows of `bytes` bytes of a plain table, by index; out contiguous.
struct QuireEmbeddingCall {
    int64_t rows;
    const char* table;
    const int64_t* indices;
    char* out;
    int64_t bytes;
    int64_t first;  // added to each index
};

// Each row has `pieces` pieces of `bytes` bytes, `piece_stride_bytes` apart; out has them one after the other.
struct QuireCompactCall {
    int64_t rows;
    const char* x;
    char* out;
    int64_t pieces;
    int64_t bytes;
    int64_t row_stride_bytes;
    int64_t piece_stride_bytes;
};

// One call that was kept: an op, its arguments (which begin with `rows`), and how many rows they have per token.
struct QuireRecorded {
    void (*op)(const void* arguments);
    int64_t* arguments;
    int64_t rows_per_token;
};

// Kept calls, to be made for this number of tokens.
struct QuirePart {
    const QuireRecorded* calls;
    int64_t count;
    int64_t tokens;
};

// One row of x, with `row_stride` between rows, for each of `rows`: row index[r], or r where there is no index. Its largest
// number and the lowest place that has it.
struct QuireFirstLargestCall {
    int64_t rows;
    const void* x;
    const int64_t* index;
    float* values;
    int64_t* places;
    int64_t width;
    int64_t row_stride;
    int32_t dtype;
};

// What of the machine a probe tries; READ_STREAMS reads in several places at once.
enum QuireProbe : int32_t {
    QUIRE_PROBE_READ = 0,
    QUIRE_PROBE_READ_STREAMS = 1,
    QUIRE_PROBE_FLOAT32 = 2,
    QUIRE_PROBE_BFLOAT16 = 3,
    QUIRE_PROBE_INT8 = 4,
    QUIRE_PROBE_TILE_BFLOAT16 = 5,
    QUIRE_PROBE_TILE_INT8 = 6,
};

// `rows` rounds of arithmetic, or `bytes` of memory (whole MiB) read once.
struct QuireProbeCall {
    int64_t rows;
    const char* memory;
    int64_t bytes;
    int32_t kind;
};

// One row of float32 x, with `row_stride` between rows, for each of `rows`: row index[r], or r where there is no index.
// maxima are the largest of each row and finite; the rest is as in model/ops/draw_tokens.py. tokens and draws
// (rows, draws_per_row), totals (rows) the weights that were drawn from, added up.
struct QuireDrawCall {
    int64_t rows;
    const float* x;
    const int64_t* index;
    const float* maxima;
    const float* scales;
    const float* floors;
    const int64_t* top_k;
    const int64_t* top_p;
    const int64_t* draws;
    int64_t* tokens;
    int64_t* totals;
    int64_t width;
    int64_t row_stride;
    int64_t draws_per_row;
};

struct QuireKernels {
    void (*linear_pack)(const void* weight, int64_t row_stride, const QuireLinear* to);
    void (*linear_int8_pack)(int32_t dtype, const void* weight, int64_t row_stride, const QuireLinearInt8* to);
    void (*linear_int4_pack)(int32_t dtype, const void* weight, int64_t row_stride, const QuireLinearInt4* to);
    void (*linear)(const QuireLinearCall*);
    void (*linear_rows)(const QuireRowsCall*);
    void (*linear_int8)(const QuireLinearInt8Call*);
    void (*linear_int8_rows)(const QuireRowsCall*);
    void (*linear_top)(const QuireLinearTopCall*);
    void (*linear_int8_top)(const QuireLinearTopCall*);
    void (*linear_int4)(const QuireLinearInt4Call*);
    void (*linear_int4_rows)(const QuireRowsCall*);
    void (*grouped_linear)(const QuireGroupedLinearCall*);
    void (*choose_experts)(const QuireChooseExpertsCall*);
    void (*combine_experts)(const QuireCombineExpertsCall*);
    void (*rms_norm)(const QuireRmsNormCall*);
    void (*rope)(const QuireRopeCall*);
    void (*activation)(const QuireActivationCall*);
    void (*attention)(const QuireAttentionCall*);
    void (*pointwise)(const QuirePointwiseCall*);
    void (*layer_norm)(const QuireLayerNormCall*);
    void (*angles)(const QuireAnglesCall*);
    void (*first_largest)(const QuireFirstLargestCall*);
    void (*draw_tokens)(const QuireDrawCall*);
    void (*kv_write)(const QuireKvWriteCall*);
    void (*rope_kv_write)(const QuireRopeKvWriteCall*);
    int64_t (*probe)(const QuireProbeCall*);
};
