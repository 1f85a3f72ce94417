"""paged_attention: softmax(q·k) v over keys and values that lie in cache blocks.

Computed in float32, in two passes over the items of `attention_batch.py`: the scores of all tiles and their
exact maximum, then the exponentials and the weighted sums, tile by tile in order. A hidden place has weight
exactly 0 and a tile out of sight adds nothing, so skipping it leaves the same bits. Only slots of written
tokens are read. Matrix products have a fixed inner size and rows in multiples of 8 (see `linear.py` for why).

T tokens of the step, N query heads, K key heads, G = N / K, H head size; B row blocks, I items, M rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.model.ops.attention_batch import TILE_TOKENS, AttentionBatch, WorkGroup
from quire.model.ops.contract import Case, Op
from quire.model.ops.kv_write import LayerKV
from quire.model.ops.linear import ROW_TILE

SCORE_BYTES = 4 << 20  # of one group's scores; small temporaries stay in the processor's caches
GATHER_BYTES = 1 << 20  # of keys or values copied out of the cache at a time


def reference(
    query_TNH: Tensor,
    cache: LayerKV,
    batch: AttentionBatch,
    *,
    scale: float,
    window: int = 0,
    soft_cap: float = 0.0,
    slopes_N: Tensor | None = None,
    sinks_N: Tensor | None = None,
) -> Tensor:
    """Causal attention of every token over its sequence's cache, (T, N, H) in the query's dtype.

    The cache already holds this step's tokens. `window` w > 0 lets a token see the last w tokens, itself included;
    `soft_cap` c > 0 bends scaled scores to c·tanh(s/c). Then a head's slope (ALiBi), times how far back a token lies,
    is taken off its score; a head's sink is the score of one place more, whose value is zero. Slopes and sinks (N)
    are float32.
    """
    cache.check()
    output_TNH = torch.empty_like(query_TNH)
    layer = _Layer(
        (cache.key, cache.key_scales), (cache.value, cache.value_scales), scale, soft_cap, slopes_N, sinks_N
    )
    for work in batch.work(window, SCORE_BYTES // (4 * query_TNH.shape[1]), query_TNH.device):
        _attend(output_TNH, query_TNH, layer, work)
    return output_TNH


class _Layer(NamedTuple):
    """What the step's work groups have in common: the caches with their scales, and how scores are changed."""

    key: tuple[Tensor, Tensor | None]
    value: tuple[Tensor, Tensor | None]
    scale: float
    soft_cap: float
    slopes_N: Tensor | None
    sinks_N: Tensor | None


def _attend(output_TNH: Tensor, query_TNH: Tensor, layer: _Layer, work: WorkGroup) -> None:
    key_heads, head_dim = layer.key[0].shape[2:]
    query_BKMH = _fold_queries(query_TNH, work, key_heads) * layer.scale
    num_blocks, _, num_rows, _ = query_BKMH.shape
    scores = query_BKMH.new_empty(len(work.row_of_item), key_heads, num_rows, TILE_TOKENS)
    for start, end, key in _tiles(*layer.key, work):
        query = query_BKMH[work.row_of_item[start:end]].view(-1, num_rows, head_dim)
        torch.bmm(query, key.transpose(1, 2), out=scores[start:end].view(-1, num_rows, TILE_TOKENS))
    _bend(scores, layer, work)

    highest_BKM = scores.new_full((num_blocks, key_heads, num_rows), -torch.inf)
    tile_highest = scores.amax(-1)
    for start, end in work.ranks:
        kept = highest_BKM[: end - start]
        torch.maximum(kept, tile_highest[start:end], out=kept)
    scores.sub_(highest_BKM[work.row_of_item].unsqueeze(-1)).exp_()

    sums = scores.new_empty(len(scores), key_heads, num_rows, head_dim)
    for start, end, value in _tiles(*layer.value, work):
        weights = scores[start:end].view(-1, num_rows, TILE_TOKENS)
        torch.bmm(weights, value, out=sums[start:end].view(-1, num_rows, head_dim))
    total_BKM = _add_ranks(scores.sum(-1), work)
    if layer.sinks_N is not None:
        total_BKM += (_by_row(layer.sinks_N, key_heads, work.rows, num_rows) - highest_BKM).exp()
    _unfold_output(output_TNH, _add_ranks(sums, work) / total_BKM.unsqueeze(-1), work)


def _bend(scores: Tensor, layer: _Layer, work: WorkGroup) -> None:
    """Soft cap, slopes and what must not be seen, on scores (I, K, M, TILE)."""
    if layer.soft_cap:
        scores.div_(layer.soft_cap).tanh_().mul_(layer.soft_cap)
    by_token = scores.view(*scores.shape[:2], -1, work.rows, TILE_TOKENS)
    if layer.slopes_N is not None:
        slope_KG = layer.slopes_N.float().view(scores.shape[1], -1, 1, 1)
        by_token[:, :, : slope_KG.shape[1]] -= slope_KG * work.distance()[:, None, None]
    by_token.masked_fill_(work.hidden[:, None, None], -torch.inf)


def _by_row(of_head_N: Tensor, key_heads: int, rows: int, num_rows: int) -> Tensor:
    """(K, M) float32: what a query head has, for each of its rows; zeros for the rows that pad."""
    by_row = of_head_N.float().view(key_heads, -1, 1).expand(-1, -1, rows).reshape(key_heads, -1)
    return F.pad(by_row, (0, num_rows - by_row.shape[1]))


def _fold_queries(query_TNH: Tensor, work: WorkGroup, key_heads: int) -> Tensor:
    """(B, K, M, H) float32: the G query heads that share a key head become rows, padded with zeros."""
    num_heads, head_dim = query_TNH.shape[1:]
    query = query_TNH[work.tokens].float().view(-1, work.rows, key_heads, num_heads // key_heads, head_dim)
    folded = query.permute(0, 2, 3, 1, 4).reshape(len(query), key_heads, -1, head_dim)
    return F.pad(folded, (0, 0, 0, -folded.shape[2] % ROW_TILE)).contiguous()


def _unfold_output(output_TNH: Tensor, output_BKMH: Tensor, work: WorkGroup) -> None:
    num_blocks, key_heads, _, head_dim = output_BKMH.shape
    num_heads = output_TNH.shape[1]
    real = output_BKMH[:, :, : num_heads // key_heads * work.rows]
    rows = real.reshape(num_blocks, num_heads, work.rows, head_dim).transpose(1, 2)
    flat = rows.reshape(-1, num_heads, head_dim)
    output_TNH[work.kept_tokens] = flat[work.kept].to(output_TNH.dtype)


def _tiles(cache: Tensor, scales: Tensor | None, work: WorkGroup) -> Iterator[tuple[int, int, Tensor]]:
    """Ranges of items with their keys or values, ((end - start) · K, TILE, H) in float32."""
    key_heads, head_dim = cache.shape[2:]
    rows = cache.view(-1, head_dim)
    if cache.element_size() == 1:  # torch gathers bytes, but not all eight-bit types
        rows = rows.view(torch.uint8)
    places = work.slots_by_head(key_heads)
    per_item = key_heads * TILE_TOKENS
    step = max(1, GATHER_BYTES // (4 * per_item * head_dim))
    for start in range(0, len(work.row_of_item), step):
        end = min(start + step, len(work.row_of_item))
        chosen = places[start * per_item : end * per_item]
        gathered = rows.index_select(0, chosen).view(cache.dtype).float()
        if scales is not None:
            gathered *= scales.view(-1).index_select(0, chosen).unsqueeze(-1)
        yield start, end, gathered.view(-1, TILE_TOKENS, head_dim)


def _add_ranks(parts: Tensor, work: WorkGroup) -> Tensor:
    """Adds up each row block's items in the order of their tiles: (I, …) → (B, …)."""
    total = parts[work.ranks[0][0] : work.ranks[0][1]].clone()
    for start, end in work.ranks[1:]:
        total[: end - start] += parts[start:end]
    return total


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (([1], [1], 1, 1), ([1, 1, 1], [300, 5, 128], 8, 2), ([70, 1, 20], [200, 33, 20], 4, 4))
    for chunks, contexts, num_heads, key_heads in shapes:
        for window, soft_cap in ((0, 0.0), (40, 0.0), (0, 20.0)):
            blocks = [-(-context // 16) for context in contexts]
            ids = torch.randperm(sum(blocks), generator=generator).tolist()
            cache = torch.randn(2, sum(blocks), 16, key_heads, 32, generator=generator).to(dtype)
            starts = [sum(chunks[:n]) for n in range(len(chunks) + 1)]
            tables = [[ids.pop() for _ in range(count)] for count in blocks]
            yield {
                "query_TNH": torch.randn(starts[-1], num_heads, 32, generator=generator).to(dtype),
                "cache": LayerKV(cache[0], cache[1]),
                "batch": AttentionBatch(starts, contexts, tables, 16),
                "scale": 32**-0.5,
                "window": window,
                "soft_cap": soft_cap,
            }


paged_attention = Op("paged_attention", reference, cases)
