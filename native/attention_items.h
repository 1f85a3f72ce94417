// How a step's attention is cut into items of work, shared out and brought together; what an item does is a kernel's.
#pragma once

#include "kv_numbers.h"
#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <class C>
constexpr bool is_bfloat16 = false;
template <>
constexpr bool is_bfloat16<bf16> = true;

constexpr int64_t TILE = 128;
constexpr int64_t SEGMENT = 1024;

struct Item {
    int32_t sequence;
    int32_t head, heads;            // key heads
    int32_t first_row, rows;        // of each key head: rows are token · group + query head within the group
    int32_t segment, end_segment;
    int32_t parts;                  // of the row block, in the first of them; 0 in the others and when there is one
    int64_t partial;                // where its result goes, in states; -1 when it is whole and goes to the output
};

// What the items of a call share.
struct AttentionCall {
    const QuireAttentionCall* layer;
    const QuireBatch* batch;
    int64_t group;         // query heads to a key head
    int64_t dims;          // head_dim rounded up as the kernel likes it
    int64_t state_floats;  // of one item's result
    float* partials;       // results of single segments
};

// Where an item's rows stand and what they see.
struct View {
    int64_t group, first_row, rows;
    int64_t first_token;     // of the sequence in the step
    int64_t first_position;  // of the sequence's first token of this step in its context
    int64_t context;         // the sequence's length with this step
    int64_t window, ahead;
    int64_t token(int64_t row) const { return first_token + (first_row + row) / group; }
    int64_t position(int64_t row) const { return first_position + (first_row + row) / group; }
    int64_t low(int64_t row) const { return window ? most(0, position(row) - window + 1) : 0; }
    int64_t high(int64_t row) const { return least(position(row) + 1 + ahead, context); }
    int64_t lowest() const { return low(0); }
    int64_t highest() const { return high(rows - 1); }
    int64_t query_head(int64_t key_head, int64_t row) const { return key_head * group + (first_row + row) % group; }
};

INLINE View view_of(const AttentionCall& call, const Item& item) {
    const QuireBatch& batch = *call.batch;
    const int64_t start = batch.query_starts[item.sequence], length = batch.query_starts[item.sequence + 1] - start;
    const int64_t context = batch.context_lens[item.sequence];
    return {call.group, item.first_row, item.rows, start, context - length, context, call.layer->window,
            call.layer->ahead};
}

// The slots of a tile's places low .. high-1; the other places repeat the nearest.
struct Places {
    int64_t tile, low, high;
    int64_t slots[TILE];
};

static void find_places(const AttentionCall& call, const Item& item, const View& view, int64_t tile, Places& places) {
    places.tile = tile;
    places.low = most(view.lowest() - tile, 0);
    places.high = least(view.highest() - tile, TILE);
    const int32_t* table = call.batch->tables + call.batch->table_starts[item.sequence];
    const int64_t block_size = call.batch->block_size;
    int64_t block = (tile + places.low) / block_size, offset = (tile + places.low) % block_size;
    for (int64_t t = places.low; t < places.high; ++t, ++offset) {
        if (offset == block_size) ++block, offset = 0;
        places.slots[t] = table[block] * block_size + offset;
    }
    for (int64_t t = 0; t < places.low; ++t) places.slots[t] = places.slots[places.low];
    for (int64_t t = places.high; t < TILE; ++t) places.slots[t] = places.slots[places.high - 1];
}

// Scales of a tile's rows of one head, where the cache has them.
INLINE void find_scales(const float* scales, const Places& places, int64_t key_heads, int64_t head, float* found) {
    for (int64_t t = places.low; t < places.high; ++t) found[t] = scales[places.slots[t] * key_heads + head];
}

template <class Kernel>
static void attend_item(const AttentionCall& call, const Item& item) {
    Kernel kernel;
    Places both[2];
    const View view = view_of(call, item);
    kernel.begin(call, item, view);
    const int64_t first_tile = most(item.segment * SEGMENT, view.lowest() / TILE * TILE);
    const int64_t end_tile = least(item.end_segment * SEGMENT, view.highest());
    find_places(call, item, view, first_tile, both[first_tile / TILE % 2]);
    float* state = kernel.states[0];
    for (int64_t segment = item.segment; segment < item.end_segment; ++segment) {
        float* now = kernel.states[segment > item.segment];
        Kernel::clear(call, item, now);
        const int64_t begin = most(segment * SEGMENT, view.lowest() / TILE * TILE);
        const int64_t end = least((segment + 1) * SEGMENT, view.highest());
        for (int64_t tile = begin; tile < end; tile += TILE) {
            const Places& places = both[tile / TILE % 2];
            Places& next = both[(tile / TILE + 1) % 2];
            if (tile + TILE < end_tile) find_places(call, item, view, tile + TILE, next);
            const Places* then = tile + TILE < end_tile ? &next : nullptr;
            kernel.attend(call, item, view, places, then, now);
        }
        if (now != state) Kernel::merge(call, item, state, now);
    }
    if (item.partial < 0) return Kernel::write(call, item, view, state);
    memcpy(call.partials + item.partial * call.state_floats, state,
           static_cast<size_t>(call.state_floats) * sizeof(float));
}

// Brings together the results of a row block's parts, segments that were items of their own; `item` is the first.
template <class Kernel>
static void finish_item(const AttentionCall& call, const Item& item) {
    float* state = call.partials + item.partial * call.state_floats;
    for (int64_t s = 1; s < item.parts; ++s) Kernel::merge(call, item, state, state + s * call.state_floats);
    Kernel::write(call, item, view_of(call, item), state);
}

// Lists the step's items into `items`, or only counts them where it is null. `work` is the number of (row, key) pairs
// of the step: a row block with a large part of them is cut into its segments, so that no thread waits for another.
struct Counts {
    int64_t items, partials, work;
};
template <class Kernel>
static Counts list_items(const AttentionCall& call, int64_t work, Item* items) {
    Counts counts{};
    const QuireBatch& batch = *call.batch;
    // a few sequences are shared out by heads
    const int64_t heads_at_most = most(1, call.layer->key_heads * batch.sequences / (threads() * 2));
    for (int64_t s = 0; s < batch.sequences; ++s) {
        const int64_t rows = (batch.query_starts[s + 1] - batch.query_starts[s]) * call.group;
        for (int64_t first = 0; first < rows; first += Kernel::MAX_ROWS) {
            const int64_t count = least(Kernel::MAX_ROWS, rows - first);
            const int64_t heads = least(Kernel::MAX_ROWS / Kernel::padded(count), heads_at_most);
            for (int64_t head = 0; head < call.layer->key_heads; head += heads) {
                Item item{static_cast<int32_t>(s), static_cast<int32_t>(head), 0, static_cast<int32_t>(first),
                          static_cast<int32_t>(count), 0, 0, 0, -1};
                item.heads = static_cast<int32_t>(least(heads, call.layer->key_heads - head));
                const View view = view_of(call, item);
                item.segment = static_cast<int32_t>(view.lowest() / SEGMENT);
                item.end_segment = static_cast<int32_t>(up(view.highest(), SEGMENT));
                const int64_t pairs = (view.highest() - view.lowest()) * item.heads * Kernel::padded(count);
                counts.work += pairs;
                const bool is_cut = item.end_segment - item.segment > 1 && pairs * threads() * 4 > work;
                const int64_t begin = item.segment, end = item.end_segment;
                for (int64_t segment = begin; segment < end; ++segment) {
                    if (is_cut) {
                        item.parts = segment == begin ? static_cast<int32_t>(end - begin) : 0;
                        item.segment = static_cast<int32_t>(segment);
                        item.end_segment = static_cast<int32_t>(segment + 1);
                        item.partial = counts.partials++;
                    }
                    if (items) items[counts.items] = item;
                    ++counts.items;
                    if (!is_cut) break;
                }
            }
        }
    }
    return counts;
}

template <class Kernel>
static void attend(AttentionCall& call) {
    call.state_floats = Kernel::state_floats(call);
    const int64_t work = list_items<Kernel>(call, 0, nullptr).work;
    const Counts counts = list_items<Kernel>(call, work, nullptr);
    if (!counts.items) return;
    Item* items = static_cast<Item*>(__builtin_malloc(static_cast<size_t>(counts.items) * sizeof(Item)));
    list_items<Kernel>(call, work, items);
    call.partials = counts.partials ? static_cast<float*>(__builtin_malloc(
        static_cast<size_t>(counts.partials * call.state_floats) * sizeof(float))) : nullptr;
    // the last tokens of a prompt see the most: they go first
    share_each(counts.items, work / counts.items * call.dims / WIDTH * 2,
               [&](int64_t i) { attend_item<Kernel>(call, items[counts.items - 1 - i]); });
    if (counts.partials)
        share_each(counts.items, call.state_floats / WIDTH, [&](int64_t i) {
            if (items[i].parts) finish_item<Kernel>(call, items[i]);
        });
    __builtin_free(call.partials);
    __builtin_free(items);
}

}  // namespace quire::QUIRE_NAMESPACE
