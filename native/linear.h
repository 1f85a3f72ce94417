// linear: out[m][n] = sum over k of x[m][k] · weight[n][k], + bias[n], in the inputs' type.
//
// Packed layout: panels of 32 outputs, one after the other; within a panel k rises, and for each k (float32,
// float16) or pair of k (bfloat16) the 32 outputs lie side by side:
//
//     bfloat16   panel p:   [n0:k0 n0:k1] [n1:k0 n1:k1] … [n31:k0 n31:k1]   128 bytes, then k2 k3, …
//
// Missing outputs are zero, and so is what fills a panel of bfloat16 up to whole tiles of 16 pairs. The same bytes
// serve one row and many, and 16 pairs by 16 outputs are an AMX tile.
//
// Order of accumulation: one float32 accumulator for each (row, output) runs over k from 0 upwards; bias is added
// after the last. Rows and outputs only decide which accumulators are computed together, so a row's bits do not
// depend on how many rows there are, nor on threads.
#pragma once

#include "api.h"
#include "parallel.h"
#include "row_ladder.h"
#if QUIRE_LEVEL >= 4
#include "tile_sweep.h"
#endif

namespace quire::QUIRE_NAMESPACE {

constexpr int PANEL = 32;
constexpr int64_t TILE_STEPS = 16;  // a panel of bfloat16 or 8 bits has whole tiles of steps
constexpr int VECS = PANEL / WIDTH;  // vectors of a panel

// Steps of a panel, K inputs each.
INLINE int64_t panel_steps(int64_t inputs, int64_t K) {
    return K == 1 ? inputs : up(inputs, K * TILE_STEPS) * TILE_STEPS;
}

// How one type of weight is multiplied: `X` is what a row of inputs is made of, one for each step along k.
template <class T>
struct Product {  // float32 and float16: x as float32
    using X = float;
    using Step = T;
    static constexpr int K = 1;
    INLINE void add_step(const Step* weight, const X* const* x, int64_t step, Vec (*sum)[VECS], int rows) {
        Vec w[VECS];
        UNROLL for (int v = 0; v < VECS; ++v) w[v] = load(weight + v * WIDTH);
        UNROLL for (int m = 0; m < rows; ++m) {
            Vec xs = splat(x[m][step]);
            UNROLL for (int v = 0; v < VECS; ++v) sum[m][v] = fma(xs, w[v], sum[m][v]);
        }
    }
};

#if QUIRE_LEVEL >= 3
template <>
struct Product<bf16> {  // x as pairs of bfloat16
    using X = uint32_t;
    using Step = uint32_t;
    static constexpr int K = 2;
    INLINE void add_step(const Step* weight, const X* const* x, int64_t step, Vec (*sum)[VECS], int rows) {
        __m512i w[VECS];
        UNROLL for (int v = 0; v < VECS; ++v) w[v] = _mm512_loadu_si512(weight + v * WIDTH);
        UNROLL for (int m = 0; m < rows; ++m) {
            uint32_t pair;
            memcpy(&pair, x[m] + step, sizeof pair);
            UNROLL for (int v = 0; v < VECS; ++v) sum[m][v] = pair_dot(sum[m][v], w[v], pair);
        }
    }
};
#else
struct FloatPair {
    float even, odd;
};
template <>
struct Product<bf16> {  // x as pairs of float32
    using X = FloatPair;
    using Step = uint32_t;
    static constexpr int K = 2;
    INLINE void add_step(const Step* weight, const X* const* x, int64_t step, Vec (*sum)[VECS], int rows) {
        UNROLL for (int v = 0; v < VECS; ++v) {
            Vec even = load_even(weight + v * WIDTH), odd = load_odd(weight + v * WIDTH);
            UNROLL for (int m = 0; m < rows; ++m) {
                Vec first = fma(splat(x[m][step].even), even, sum[m][v]);
                sum[m][v] = fma(splat(x[m][step].odd), odd, first);
            }
        }
    }
};
#endif

// What a call works on, with the inputs already in the form the product wants.
template <class T>
struct LinearCall {
    const typename Product<T>::Step* packed;
    const typename Product<T>::X* x;
    const T* bias;
    void* out;
    int64_t rows, outputs, steps;
    int64_t x_stride;  // in X
    int64_t out_stride;
    const int64_t* places;  // of rows in `out`, as row_place wants them
    bool out_is_float;  // or T
#if QUIRE_LEVEL >= 4
    PackedRows tiles;  // the inputs instead of x, for bfloat16
#endif
};

template <class O>
INLINE void store_first(O* to, Vec x, int64_t count) {
    if (count >= WIDTH) store(to, x);
    else store_part(to, x, count);
}

template <class T>
NOINLINE void finish(const LinearCall<T>& call, int64_t row, int64_t output, const Vec* sum) {
    UNROLL for (int v = 0; v < VECS; ++v) {
        const int64_t n = output + v * WIDTH, left = call.outputs - n;
        if (left <= 0) return;
        Vec y = sum[v];
        if (call.bias) y = add(y, left >= WIDTH ? load(call.bias + n) : load_part(call.bias + n, left));
        const int64_t at = row_place(call.places, row) * call.out_stride + n;
        if (call.out_is_float) store_first(static_cast<float*>(call.out) + at, y, left);
        else store_first(static_cast<T*>(call.out) + at, y, left);
    }
}

// Few rows leave registers free: several panels at once hide the latency of the accumulators. One row waits for memory
// alone, which gives most when weights are read from end to end.
constexpr int panels_for_rows(int rows) {
    return (WIDTH == 16 && rows > 1 && rows <= 3) || (WIDTH == 8 && rows == 1) ? 2 : 1;
}

template <class T>
struct LinearKernel {
    using Call = LinearCall<T>;
    static constexpr int ROWS = MAX_ROWS;
    static constexpr int panels_at_once(int rows) { return panels_for_rows(rows); }

    // ROWS rows of inputs against PANELS panels.
    template <int ROWS, int PANELS>
    static void tile(const LinearCall<T>& call, int64_t row, int64_t panel) {
        const int64_t panel_size = call.steps * PANEL;
        const auto* weight = call.packed + panel * panel_size;
        const typename Product<T>::X* x[ROWS];
        UNROLL for (int m = 0; m < ROWS; ++m) x[m] = call.x + (row + m) * call.x_stride;
        Vec sum[PANELS][ROWS][VECS];
        UNROLL for (int p = 0; p < PANELS; ++p)
            UNROLL for (int m = 0; m < ROWS; ++m)
                UNROLL for (int v = 0; v < VECS; ++v) sum[p][m][v] = splat(0.0f);
        for (int64_t step = 0; step < call.steps; ++step) {
            UNROLL for (int p = 0; p < PANELS; ++p)
                Product<T>::add_step(weight + p * panel_size + step * PANEL, x, step, sum[p], ROWS);
        }
        UNROLL for (int p = 0; p < PANELS; ++p)
            UNROLL for (int m = 0; m < ROWS; ++m) {
                Vec done[VECS];  // a copy: sums whose address is taken would be stored in every step
                UNROLL for (int v = 0; v < VECS; ++v) done[v] = sum[p][m][v];
                finish(call, row + m, (panel + p) * PANEL, done);
            }
    }
};

// Rows of inputs that lie a power of two apart fall on the same lines of the first cache and drive each other out.
constexpr int64_t COLLISION_BYTES = 2048;
constexpr int64_t ROWS_THAT_COLLIDE = 8;

// Inputs as the product reads them: themselves where their form is right, else a copy, padded to whole steps.
template <class T>
static void* convert_inputs(LinearCall<T>& call, const T* x, int64_t x_stride, int64_t inputs) {
    using P = Product<T>;
    using X = typename P::X;
    constexpr bool same_form = sizeof(X) == P::K * sizeof(T);
    const bool collides =
        call.rows >= ROWS_THAT_COLLIDE && x_stride * static_cast<int64_t>(sizeof(T)) % COLLISION_BYTES == 0;
    if (same_form && inputs == call.steps * P::K && x_stride % P::K == 0 && !collides) {
        call.x = reinterpret_cast<const X*>(x);
        call.x_stride = x_stride / P::K;
        return nullptr;
    }
    call.x_stride = up(call.steps * sizeof(X), 64) * 64 / sizeof(X) + 64 / sizeof(X);
    if (call.x_stride * static_cast<int64_t>(sizeof(X)) % COLLISION_BYTES == 0) call.x_stride += 64 / sizeof(X);
    using Element = typename Either<same_form, T, float>::Type;
    void* copy = __builtin_malloc(static_cast<size_t>(call.rows * call.x_stride) * sizeof(X));
    call.x = static_cast<const X*>(copy);
    share(call.rows, inputs / 4, [&](int64_t first, int64_t last) {
        for (int64_t m = first; m < last; ++m) {
            Element* row = static_cast<Element*>(copy) + m * call.x_stride * P::K;
            const T* from = x + m * x_stride;
            if constexpr (same_form) {
                memcpy(row, from, static_cast<size_t>(inputs) * sizeof(T));
            } else {
                int64_t k = 0;
                for (; k + WIDTH <= inputs; k += WIDTH) store(row + k, load(from + k));
                for (; k < inputs; ++k) row[k] = widen(from[k]);
            }
            for (int64_t k = inputs; k < call.steps * P::K; ++k) row[k] = Element{};
        }
    });
    return copy;
}

#if QUIRE_LEVEL >= 4
// Every number of rows goes this way: a tile's products are added up in an order of their own.
static void* convert_inputs(LinearCall<bf16>& call, const bf16* x, int64_t x_stride, int64_t inputs) {
    call.tiles = packed_rows(call.rows, inputs, sizeof(bf16));
    share(call.rows, up(inputs, 32), [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) pack_row(call.tiles, row, x + row * x_stride, inputs * 2);
    });
    clear_missing_rows(call.tiles);
    return call.tiles.tiles;
}

static void sweep_linear(const LinearCall<bf16>& call, int64_t part, int64_t first, int64_t last) {
    const int64_t size = call.out_is_float ? sizeof(float) : sizeof(bf16);
    const Results results{static_cast<const char*>(call.out), call.out_stride * size, PANEL * size, call.places};
    sweep_panels<Bfloat16Tiles>(
        call.tiles, part, reinterpret_cast<const char*>(call.packed), call.steps * STEP_LINE, first, last, results,
        [&](int64_t row, int64_t panel, const float* low, const float* high) INLINE_LAMBDA {
            const Vec sums[VECS] = {load(low), load(high)};
            const int64_t n = panel * PANEL;
            if (call.bias || call.out_is_float || n + PANEL > call.outputs) return finish(call, row, n, sums);
            store_both(static_cast<bf16*>(call.out) + row_place(call.places, row) * call.out_stride + n, sums);
        });
}
#endif

// The work of one unit, in cache lines or so.
template <class T>
INLINE int64_t linear_cost(const LinearCall<T>& call) {
    return call.steps * PANEL * static_cast<int64_t>(sizeof(typename Product<T>::Step)) / 64 * most(4, call.rows);
}

// How many parts the rows of a call come in.
template <class Call>
INLINE int64_t parts_of([[maybe_unused]] const Call& call) {
#if QUIRE_LEVEL >= 4
    if (call.tiles.tiles) return row_parts(call.tiles).count;
#endif
    return 1;
}

// A part of the rows against a range of panels.
template <class T>
static void linear_part(const LinearCall<T>& call, [[maybe_unused]] int64_t part, int64_t first, int64_t last) {
#if QUIRE_LEVEL >= 4
    if constexpr (Product<T>::K == 2) return sweep_linear(call, part, first, last);
#endif
    all_rows<LinearKernel<T>>(call, first, last);
}

// All rows against a range of panels.
template <class Call>
static void linear_range(const Call& call, int64_t first, int64_t last) {
    for (int64_t part = 0; part < parts_of(call); ++part) linear_part(call, part, first, last);
}

// All rows against all panels, shared out part after part: a thread stays with its rows.
template <class Call>
static void linear_shared(const Call& call, int64_t outputs) {
    const int64_t panels = up(outputs, PANEL), parts = parts_of(call);
    share(parts * panels, linear_cost(call) / parts, [&](int64_t first, int64_t last) {
        for (int64_t part = first / panels; part * panels < last; ++part)
            linear_part(call, part, most(first - part * panels, 0), least(last - part * panels, panels));
    });
}

// Calls body(call) with the inputs in the form of the weight's type and where results go left open.
template <class F>
static void with_linear(const QuireLinear& weight, const void* x, int64_t x_stride, int64_t rows, const void* bias,
                        const F& body) {
    with_dtype(weight.dtype, [&](auto type) {
        using T = decltype(type);
        LinearCall<T> call{};
        call.packed = static_cast<const typename Product<T>::Step*>(weight.packed);
        call.bias = static_cast<const T*>(bias);
        call.rows = rows;
        call.outputs = weight.outputs;
        call.steps = panel_steps(weight.inputs, Product<T>::K);
        void* copy = convert_inputs(call, static_cast<const T*>(x), x_stride, weight.inputs);
        body(call);
        __builtin_free(copy);
    });
}

static void linear(const QuireLinearCall* asked) {
    if (asked->rows == 0) return;
    with_linear(*asked->weight, asked->x, asked->x_stride, asked->rows, asked->bias, [&](auto& call) {
        call.out = asked->out;
        call.out_stride = call.outputs;
        call.out_is_float = asked->out_is_float;
        linear_shared(call, call.outputs);
    });
}

}  // namespace quire::QUIRE_NAMESPACE
