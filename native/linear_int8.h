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
INLINE Sums dot4(Sums sums, const int8_t* weight, Int8Step x) {
    return _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(static_cast<int>(x)), _mm512_loadu_si512(weight));
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
    int64_t rows, steps;
    int64_t x_stride;  // in steps
};

template <class T>
static void finish_int8_typed(const Int8Call& call, int64_t row, int64_t output, const Sums* sums) {
    const QuireLinearInt8& weight = *call.weight;
    const Vec x_scale = splat(call.x_scales[row]);
    UNROLL for (int v = 0; v < VECS; ++v) {
        const int64_t n = output + v * WIDTH, left = least(weight.outputs - n, WIDTH);
        if (left <= 0) return;
        Vec y = to_float(subtract(sums[v], weight.offsets + n));
        y = mul(mul(y, x_scale), load(weight.scales + n));
        const T* bias = static_cast<const T*>(call.bias);
        if (bias) y = add(y, left == WIDTH ? load(bias + n) : load_part(bias + n, left));
        T* to = static_cast<T*>(call.out) + row * weight.outputs + n;
        if (left == WIDTH) store(to, y);
        else store_part(to, y, left);
    }
}

NOINLINE void finish_int8(const Int8Call& call, int64_t row, int64_t output, const Sums* sums) {
    with_dtype(call.dtype, [&](auto type) { finish_int8_typed<decltype(type)>(call, row, output, sums); });
}

// ROWS rows of inputs against PANELS panels.
template <int ROWS, int PANELS>
static void int8_tile(const Int8Call& call, int64_t row, int64_t panel) {
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
            UNROLL for (int m = 0; m < ROWS; ++m)
                UNROLL for (int v = 0; v < VECS; ++v) {
                    const int8_t* w = weight + p * panel_bytes + step * STEP_BYTES + v * WIDTH * 4;
                    sums[p][m][v] = dot4(sums[p][m][v], w, x[m][step]);
                }
    UNROLL for (int p = 0; p < PANELS; ++p)
        UNROLL for (int m = 0; m < ROWS; ++m) {
            Sums done[VECS];  // a copy: sums whose address is taken would be stored in every step
            UNROLL for (int v = 0; v < VECS; ++v) done[v] = sums[p][m][v];
            finish_int8(call, row + m, (panel + p) * PANEL, done);
        }
}

template <int ROWS>
static void int8_rows_of_panels(const Int8Call& call, int64_t row, int64_t first, int64_t last) {
    constexpr int PANELS = panels_at_once(ROWS);
    int64_t panel = first;
    for (; panel + PANELS <= last; panel += PANELS) int8_tile<ROWS, PANELS>(call, row, panel);
    for (; panel < last; ++panel) int8_tile<ROWS, 1>(call, row, panel);
}

template <int ROWS>
static void int8_last_rows(const Int8Call& call, int64_t row, int64_t first, int64_t last) {
    if constexpr (ROWS > 0) {
        if (call.rows - row == ROWS) return int8_rows_of_panels<ROWS>(call, row, first, last);
        int8_last_rows<ROWS - 1>(call, row, first, last);
    }
}

static void int8_panels(const Int8Call& call, int64_t first, int64_t last) {
    if (call.rows <= MAX_ROWS) return int8_last_rows<MAX_ROWS>(call, 0, first, last);
    for (int64_t panel = first; panel < last; ++panel) {
        int64_t row = 0;
        for (; row + MAX_ROWS <= call.rows; row += MAX_ROWS) int8_tile<MAX_ROWS, 1>(call, row, panel);
        int8_last_rows<MAX_ROWS - 1>(call, row, panel, panel + 1);
    }
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
        float rounded[WIDTH];
        store(rounded, round(mul(load(x + k), splat(inverse))));
        UNROLL for (int i = 0; i < WIDTH; ++i) q[k + i] = static_cast<int8_t>(rounded[i]);
    }
    for (; k < count; ++k) q[k] = usable ? static_cast<int8_t>(__builtin_rintf(widen(x[k]) * inverse)) : 0;
    for (; k % 4; ++k) q[k] = 0;
    return spoiled == 0.0f ? highest_so_far / 127.0f : __builtin_nanf("");
}

template <class T>
static void round_inputs(const T* x, int64_t x_stride, int64_t inputs, int64_t rows, int64_t stride, Int8Step* steps,
                         float* scales) {
    const int64_t count = up(inputs, 4);
    share(rows, inputs / 4, [&](int64_t first, int64_t last) {
        int8_t* q = static_cast<int8_t*>(__builtin_malloc(static_cast<size_t>(count * 4)));
        for (int64_t m = first; m < last; ++m) {
            scales[m] = round_to_int8(x + m * x_stride, inputs, q);
            for (int64_t s = 0; s < count; ++s) steps[m * stride + s] = int8_step(q + 4 * s);
        }
        __builtin_free(q);
    });
}

static void linear_int8(const QuireLinearInt8Call* asked) {
    const QuireLinearInt8* weight = asked->weight;
    const int64_t rows = asked->rows;
    Int8Call call{};
    call.weight = weight;
    call.bias = asked->bias;
    call.out = asked->out;
    call.dtype = asked->dtype;
    call.rows = rows;
    call.steps = up(weight->inputs, 4);
    call.x_stride = call.steps + 64 / static_cast<int64_t>(sizeof(Int8Step));
    if (call.x_stride * static_cast<int64_t>(sizeof(Int8Step)) % COLLISION_BYTES == 0)
        call.x_stride += 64 / static_cast<int64_t>(sizeof(Int8Step));
    auto* steps = static_cast<Int8Step*>(
        __builtin_malloc(static_cast<size_t>(rows) * (static_cast<size_t>(call.x_stride) * sizeof(Int8Step) + 4) + 4));
    auto* scales = reinterpret_cast<float*>(steps + rows * call.x_stride);
    call.x = steps;
    call.x_scales = scales;
    with_dtype(asked->dtype, [&](auto type) {
        round_inputs(static_cast<const decltype(type)*>(asked->x), asked->x_stride, weight->inputs, rows,
                     call.x_stride, steps, scales);
    });
    share(up(weight->outputs, PANEL), call.steps * 2 * most(4, rows),
          [&](int64_t first, int64_t last) { int8_panels(call, first, last); });
    __builtin_free(steps);
}

// Rounds a weight of `dtype` into the packed form. The arrays of `to` are written.
static void linear_int8_pack(int32_t dtype, const void* weight, int64_t row_stride, const QuireLinearInt8* to) {
    auto* packed = const_cast<int8_t*>(to->packed);
    auto* scales = const_cast<float*>(to->scales);
    auto* offsets = const_cast<int32_t*>(to->offsets);
    const int64_t steps = up(to->inputs, 4);
    with_dtype(dtype, [&](auto type) {
        using T = decltype(type);
        share(up(to->outputs, PANEL), to->inputs * PANEL / 2, [&](int64_t first, int64_t last) {
            int8_t* q = static_cast<int8_t*>(__builtin_malloc(static_cast<size_t>(steps * 4)));
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
    const int64_t steps = up(weight->inputs, 4);
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
