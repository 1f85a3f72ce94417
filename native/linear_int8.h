// linear_int8: weights of 8 bits with a scale for each output, inputs rounded to 8 bits with a scale for each row.
//
//     out[m][n] = (sum over k of qx[m][k] · qw[n][k]) · sx[m] · sw[n], + bias[n], in the inputs' type
//
// Rounding: s = max|·| / 127 over the row, q = the nearest integer to x · (127 / max|·|), ties to even. A row that
// holds a NaN or an infinity gets the scale NaN.
//
// Packed layout: panels of 32 outputs as in linear.h, with four k side by side:
//
//     panel p:   [n0:k0 k1 k2 k3] [n1:k0 … k3] … [n31:k0 … k3]   128 bytes, then k4 … k7, …
//
// then the scales (float32) of all outputs, then 128 · sum(qw) of all outputs (int32), both up to whole panels. The
// VNNI dot product wants one side unsigned: inputs are given as q + 128, and the last numbers are taken off again.
//
// Sums are exact in int32 (up to 2^31 / 127² = 133,000 inputs), so they cannot depend on order, rows, threads or the
// instruction set; the float operations after them are one product after the other for each output.
#pragma once

#include "api.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

// Four inputs of a row as the dot product reads them, and the sums of WIDTH outputs.
#if QUIRE_LEVEL >= 3
using Int8Step = uint32_t;  // four bytes, each q + 128
using Sums = __m512i;
constexpr bool INPUTS_ARE_SHIFTED = true;
INLINE Sums no_sums() { return _mm512_setzero_si512(); }
INLINE Int8Step int8_step(const int8_t* q) {
    uint32_t four;
    memcpy(&four, q, sizeof four);
    return four ^ 0x80808080u;
}
// As an instruction: gcc copies and stores the sums of its intrinsic in every step, which costs three quarters of the speed.
INLINE Sums dot_bytes(Sums sums, __m512i is_unsigned, __m512i is_signed) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(is_unsigned), "v"(is_signed));
    return sums;
}
INLINE Sums dot4(Sums sums, const int8_t* weight, Int8Step x) {
    return dot_bytes(sums, _mm512_set1_epi32(static_cast<int>(x)), _mm512_loadu_si512(weight));
}
INLINE Sums subtract(Sums a, const int32_t* b) { return _mm512_sub_epi32(a, _mm512_loadu_si512(b)); }
INLINE Vec to_float(Sums sums) { return _mm512_cvtepi32_ps(sums); }
#else
constexpr bool INPUTS_ARE_SHIFTED = false;
struct Int8Step {
    int16_t even[2], odd[2];  // k0 k2, k1 k3
};
INLINE Int8Step int8_step(const int8_t* q) { return {{q[0], q[2]}, {q[1], q[3]}}; }
#if QUIRE_LEVEL == 2
using Sums = __m512i;
INLINE Sums no_sums() { return _mm512_setzero_si512(); }
INLINE Sums dot4(Sums sums, const int8_t* weight, Int8Step x) {
    __m512i w = _mm512_loadu_si512(weight);
    __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8), odd = _mm512_srai_epi16(w, 8);
    __m512i x_even = _mm512_set1_epi32(__builtin_bit_cast(int32_t, x.even));
    __m512i x_odd = _mm512_set1_epi32(__builtin_bit_cast(int32_t, x.odd));
    __m512i both = _mm512_add_epi32(_mm512_madd_epi16(even, x_even), _mm512_madd_epi16(odd, x_odd));
    return _mm512_add_epi32(sums, both);
}
INLINE Vec to_float(Sums sums) { return _mm512_cvtepi32_ps(sums); }
#elif QUIRE_LEVEL == 1
using Sums = __m256i;
INLINE Sums no_sums() { return _mm256_setzero_si256(); }
INLINE Sums dot4(Sums sums, const int8_t* weight, Int8Step x) {
    __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight));
    __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), odd = _mm256_srai_epi16(w, 8);
    __m256i x_even = _mm256_set1_epi32(__builtin_bit_cast(int32_t, x.even));
    __m256i x_odd = _mm256_set1_epi32(__builtin_bit_cast(int32_t, x.odd));
    __m256i both = _mm256_add_epi32(_mm256_madd_epi16(even, x_even), _mm256_madd_epi16(odd, x_odd));
    return _mm256_add_epi32(sums, both);
}
INLINE Vec to_float(Sums sums) { return _mm256_cvtepi32_ps(sums); }
#else
using Sums = int32_t;
INLINE Sums no_sums() { return 0; }
INLINE Sums dot4(Sums sums, const int8_t* weight, Int8Step x) {
    return sums + weight[0] * x.even[0] + weight[1] * x.odd[0] + weight[2] * x.even[1] + weight[3] * x.odd[1];
}
INLINE Vec to_float(Sums sums) { return static_cast<float>(sums); }
#endif
INLINE Sums subtract(Sums a, const int32_t*) { return a; }
#endif

// What a call works on, with the inputs rounded.
struct Int8Call {
    const QuireLinearInt8* weight;
    const Int8Step* x;
    const float* x_scales;
    const void* bias;
    void* out;
    int32_t dtype;
    bool out_is_float;  // or dtype
    int64_t rows, steps;
    int64_t x_stride;  // in steps
    int64_t out_stride;
    const int64_t* places;  // of rows in `out`, as row_place wants them
#if QUIRE_LEVEL >= 4
    PackedRows tiles;  // the inputs instead of x
#endif
};

template <class T>
INLINE void finish_int8_typed(const Int8Call& call, int64_t row, int64_t output, const Vec* sums) {
    const QuireLinearInt8& weight = *call.weight;
    const Vec x_scale = splat(call.x_scales[row]);
    UNROLL for (int v = 0; v < VECS; ++v) {
        const int64_t n = output + v * WIDTH, left = least(weight.outputs - n, WIDTH);
        if (left <= 0) return;
        Vec y = mul(mul(sums[v], x_scale), load(weight.scales + n));
        const T* bias = static_cast<const T*>(call.bias);
        if (bias) y = add(y, left == WIDTH ? load(bias + n) : load_part(bias + n, left));
        const int64_t at = row_place(call.places, row) * call.out_stride + n;
        if (call.out_is_float) store_first(static_cast<float*>(call.out) + at, y, left);
        else store_first(static_cast<T*>(call.out) + at, y, left);
    }
}

NOINLINE void finish_int8(const Int8Call& call, int64_t row, int64_t output, const Vec* sums) {
    with_dtype(call.dtype, [&](auto type) { finish_int8_typed<decltype(type)>(call, row, output, sums); });
}

#if QUIRE_LEVEL < 4  // tiles take every number of rows
struct Int8Kernel {
    using Call = Int8Call;
    static constexpr int ROWS = MAX_ROWS;
    static constexpr int panels_at_once(int rows) { return panels_for_rows(rows); }

    INLINE void add_step(const int8_t* weight, const Int8Step* const* x, int64_t step, Sums (*sums)[VECS], int rows) {
        UNROLL for (int m = 0; m < rows; ++m)
            UNROLL for (int v = 0; v < VECS; ++v) sums[m][v] = dot4(sums[m][v], weight + v * WIDTH * 4, x[m][step]);
    }

    // ROWS rows of inputs against PANELS panels.
    template <int ROWS, int PANELS>
    static void tile(const Int8Call& call, int64_t row, int64_t panel) {
        constexpr int64_t STEP_BYTES = PANEL * 4;
        const int64_t panel_bytes = call.steps * STEP_BYTES;
        const int8_t* weight = call.weight->packed + panel * panel_bytes;
        const Int8Step* x[ROWS];
        UNROLL for (int m = 0; m < ROWS; ++m) x[m] = call.x + (row + m) * call.x_stride;
        Sums sums[PANELS][ROWS][VECS];
        UNROLL for (int p = 0; p < PANELS; ++p)
            UNROLL for (int m = 0; m < ROWS; ++m)
                UNROLL for (int v = 0; v < VECS; ++v) sums[p][m][v] = no_sums();
        for (int64_t step = 0; step < call.steps; ++step)
            UNROLL for (int p = 0; p < PANELS; ++p)
                add_step(weight + p * panel_bytes + step * STEP_BYTES, x, step, sums[p], ROWS);
        UNROLL for (int p = 0; p < PANELS; ++p)
            UNROLL for (int m = 0; m < ROWS; ++m) {
                Sums whole[VECS];  // a copy: sums whose address is taken would be stored in every step
                UNROLL for (int v = 0; v < VECS; ++v) whole[v] = sums[p][m][v];
                Vec done[VECS];
                UNROLL for (int v = 0; v < VECS; ++v)
                    done[v] = to_float(subtract(whole[v], call.weight->offsets + (panel + p) * PANEL + v * WIDTH));
                finish_int8(call, row + m, (panel + p) * PANEL, done);
            }
    }
};
#endif

// The nearest whole numbers, all within ±127.
INLINE void store_int8(int8_t* to, Vec x) {
#if QUIRE_LEVEL >= 2
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
#else
    float rounded[WIDTH];
    store(rounded, round(x));
    UNROLL for (int i = 0; i < WIDTH; ++i) to[i] = static_cast<int8_t>(rounded[i]);
#endif
}

// Rounds one row to 8 bits; returns its scale. Places of q past `count` up to a multiple of 4 become 0.
template <class T>
static float round_to_int8(const T* x, int64_t count, int8_t* q) {
    float highest_so_far = 0.0f, spoiled = 0.0f;
    int64_t k = 0;
    Vec top = splat(0.0f), zeros = splat(0.0f);  // 0 · x is NaN for NaN and for infinities
    for (; k + WIDTH <= count; k += WIDTH) {
        Vec v = load(x + k);
        top = max(top, max(v, sub(splat(0.0f), v)));
        zeros = add(zeros, mul(v, splat(0.0f)));
    }
    highest_so_far = highest(top);
    spoiled = sum(zeros);
    for (int64_t i = k; i < count; ++i) {
        float v = widen(x[i]), size = v < 0.0f ? -v : v;
        highest_so_far = size > highest_so_far ? size : highest_so_far;
        spoiled += v * 0.0f;
    }
    const bool usable = highest_so_far > 0.0f && spoiled == 0.0f;
    const float inverse = usable ? 127.0f / highest_so_far : 0.0f;
    for (k = 0; k + WIDTH <= count && usable; k += WIDTH) {
        store_int8(q + k, mul(load(x + k), splat(inverse)));
    }
    for (; k < count; ++k) q[k] = usable ? static_cast<int8_t>(__builtin_rintf(widen(x[k]) * inverse)) : 0;
    for (; k % 4; ++k) q[k] = 0;
    return spoiled == 0.0f ? highest_so_far / 127.0f : __builtin_nanf("");
}

// The inputs of a call as 8 bits and scales, in memory for the caller to free.
template <class T>
static void* round_inputs(Int8Call& call, const T* x, int64_t x_stride) {
    const int64_t inputs = call.weight->inputs, rows = call.rows;
    auto* scales = static_cast<float*>(__builtin_malloc(static_cast<size_t>(rows) * sizeof(float)));
    call.x_scales = scales;
#if QUIRE_LEVEL >= 4
    call.tiles = packed_rows(rows, inputs, 1);
#else
    constexpr int64_t LINE = 64 / static_cast<int64_t>(sizeof(Int8Step));
    call.x_stride = up(call.steps, LINE) * LINE + LINE;
    if (call.x_stride * static_cast<int64_t>(sizeof(Int8Step)) % COLLISION_BYTES == 0) call.x_stride += LINE;
    auto* steps = static_cast<Int8Step*>(__builtin_malloc(static_cast<size_t>(rows * call.x_stride) * sizeof(Int8Step)));
    call.x = steps;
#endif
    share(rows, inputs, [&](int64_t first, int64_t last) {
        auto* q = static_cast<int8_t*>(__builtin_malloc(static_cast<size_t>(call.steps * 4)));
        memset(q, 0, static_cast<size_t>(call.steps * 4));
        for (int64_t m = first; m < last; ++m) {
            scales[m] = round_to_int8(x + m * x_stride, inputs, q);
#if QUIRE_LEVEL >= 4
            pack_row(call.tiles, m, q, inputs);
#else
            for (int64_t s = 0; s < call.steps; ++s) steps[m * call.x_stride + s] = int8_step(q + 4 * s);
#endif
        }
        __builtin_free(q);
    });
#if QUIRE_LEVEL >= 4
    clear_missing_rows(call.tiles);
    return call.tiles.tiles;
#else
    return steps;
#endif
}

static void linear_part(const Int8Call& call, [[maybe_unused]] int64_t part, int64_t first, int64_t last) {
#if QUIRE_LEVEL >= 4
    const bool is_plain = call.dtype == QUIRE_BFLOAT16 && !call.bias && !call.out_is_float;
    const int64_t size = call.out_is_float || call.dtype == QUIRE_FLOAT32 ? 4 : 2;
    const Results results{static_cast<const char*>(call.out), call.out_stride * size, PANEL * size, call.places};
    sweep_panels<Int8Tiles>(
        call.tiles, part, reinterpret_cast<const char*>(call.weight->packed), call.steps * STEP_LINE, first, last,
        results,
        [&](int64_t row, int64_t panel, const float* low, const float* high) INLINE_LAMBDA {
            const int64_t n = panel * PANEL;
            Vec sums[VECS] = {_mm512_cvtepi32_ps(_mm512_loadu_si512(low)),
                              _mm512_cvtepi32_ps(_mm512_loadu_si512(high))};
            if (!is_plain || n + PANEL > call.weight->outputs) return finish_int8(call, row, n, sums);
            const Vec x_scale = splat(call.x_scales[row]);
            UNROLL for (int v = 0; v < VECS; ++v)
                sums[v] = mul(mul(sums[v], x_scale), load(call.weight->scales + n + v * WIDTH));
            store_both(static_cast<bf16*>(call.out) + row_place(call.places, row) * call.out_stride + n, sums);
        });
#else
    all_rows<Int8Kernel>(call, first, last);
#endif
}

INLINE int64_t linear_cost(const Int8Call& call) { return call.steps * 2 * most(4, call.rows); }

// Calls body(call) with the inputs rounded and where results go left open.
template <class F>
static void with_linear(const QuireLinearInt8& weight, int32_t dtype, const void* x, int64_t x_stride, int64_t rows,
                        const void* bias, const F& body) {
    Int8Call call{};
    call.weight = &weight;
    call.bias = bias;
    call.dtype = dtype;
    call.rows = rows;
    call.steps = panel_steps(weight.inputs, 4);
    void* memory = nullptr;
    with_dtype(dtype,
               [&](auto type) { memory = round_inputs(call, static_cast<const decltype(type)*>(x), x_stride); });
    body(call);
    __builtin_free(memory);
    __builtin_free(const_cast<float*>(call.x_scales));
}

static void linear_int8(const QuireLinearInt8Call* asked) {
    if (asked->rows == 0) return;
    with_linear(*asked->weight, asked->dtype, asked->x, asked->x_stride, asked->rows, asked->bias, [&](auto& call) {
        call.out = asked->out;
        call.out_stride = asked->weight->outputs;
        call.out_is_float = asked->out_is_float;
        linear_shared(call, asked->weight->outputs);
    });
}

// Rounds a weight of `dtype` into the packed form. The arrays of `to` are written.
static void linear_int8_pack(int32_t dtype, const void* weight, int64_t row_stride, const QuireLinearInt8* to) {
    auto* packed = const_cast<int8_t*>(to->packed);
    auto* scales = const_cast<float*>(to->scales);
    auto* offsets = const_cast<int32_t*>(to->offsets);
    const int64_t steps = panel_steps(to->inputs, 4);
    with_dtype(dtype, [&](auto type) {
        using T = decltype(type);
        share(up(to->outputs, PANEL), to->inputs * PANEL / 2, [&](int64_t first, int64_t last) {
            int8_t* q = static_cast<int8_t*>(__builtin_malloc(static_cast<size_t>(steps * 4)));
            memset(q, 0, static_cast<size_t>(steps * 4));
            for (int64_t n = first * PANEL; n < last * PANEL; ++n) {
                const bool exists = n < to->outputs;
                const T* row = static_cast<const T*>(weight) + n * row_stride;
                scales[n] = exists ? round_to_int8(row, to->inputs, q) : 0.0f;
                for (int64_t k = 0; k < 4 * steps && !exists; ++k) q[k] = 0;
                int32_t total = 0;
                int8_t* write = packed + (n / PANEL * steps * PANEL + n % PANEL) * 4;
                for (int64_t s = 0; s < steps; ++s) {
                    memcpy(write + s * PANEL * 4, q + 4 * s, 4);
                    total += q[4 * s] + q[4 * s + 1] + q[4 * s + 2] + q[4 * s + 3];
                }
                offsets[n] = 128 * total;
            }
            __builtin_free(q);
        });
    });
}

// Rows of the weight by index, q · scale in the call's dtype.
static void linear_int8_rows(const QuireRowsCall* call) {
    const auto* weight = static_cast<const QuireLinearInt8*>(call->weight);
    const int64_t steps = panel_steps(weight->inputs, 4);
    with_dtype(call->dtype, [&](auto type) {
        auto* to = static_cast<decltype(type)*>(call->out);
        share(call->rows, weight->inputs, [&](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; ++row) {
                const int64_t n = call->indices[row];
                const int8_t* from = weight->packed + (n / PANEL * steps * PANEL + n % PANEL) * 4;
                for (int64_t k = 0; k < weight->inputs; ++k)
                    narrow(static_cast<float>(from[k / 4 * PANEL * 4 + k % 4]) * weight->scales[n],
                           to + row * weight->inputs + k);
            }
        });
    });
}

}  // namespace quire::QUIRE_NAMESPACE
