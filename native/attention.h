// attention: softmax(scale · q·k) v over keys and values that lie in cache blocks, for chunks of any length.
//
// A *row* is one query head of one token. Work is cut into items: up to a fixed number of rows that share a key head
// (consecutive tokens of one sequence; few rows take several key heads along, so that a decoding sequence reads its
// cache from end to end), over one segment of the context or all of them. Segments of 1024 tokens and the tiles of
// 128 tokens within them lie at fixed positions counted from 0.
//
// Each row runs through its tiles in order with an online softmax, starting afresh in each segment; the segments'
// results are merged from the first to the last, in one item or across several. A tile or segment in which a row sees
// nothing leaves the row's numbers as they are. So a row's bits depend neither on the chunk it came in nor on its
// neighbours. Only slots of written tokens are read.
//
// Two kernels do an item's work: attention_rows.h with vectors, attention_tiles.h with AMX for queries in bfloat16.
#pragma once

#include "attention_rows.h"
#include "attention_tiles.h"

namespace quire::QUIRE_NAMESPACE {

static void attention(const QuireAttentionCall* layer) {
    AttentionCall call{};
    call.layer = layer;
    call.batch = layer->batch;
    call.group = layer->heads / layer->key_heads;
#if QUIRE_LEVEL >= 4
    if (layer->dtype == QUIRE_BFLOAT16 && layer->head_dim <= TilesKernel<bf16>::MAX_DIMS) {
        call.dims = up(layer->head_dim, 32) * 32;
        with_cache_dtype(layer->cache_dtype, [&](auto cached) { attend<TilesKernel<decltype(cached)>>(call); });
        return;
    }
#endif
    call.dims = up(layer->head_dim, WIDTH) * WIDTH;
    with_cache_dtype(layer->cache_dtype, [&](auto cached) { attend<RowsKernel<decltype(cached)>>(call); });
}

}  // namespace quire::QUIRE_NAMESPACE
