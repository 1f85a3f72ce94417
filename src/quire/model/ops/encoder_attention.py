"""encoder_attention: softmax(q·k) v where every token looks at its whole sequence, past and future.

Sequences lie one after the other in the step and never see each other; there is no cache. What is computed for a
sequence depends on its own tokens alone, so its bits are the same alone or among others.

T tokens of the step, N query heads, K key heads, H head size; L tokens of one sequence.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from quire.model.ops.attention_batch import AttentionBatch
from quire.model.ops.contract import Case, Op

BLOCK_ROWS = 128  # queries at a time, to bound the memory of their scores


def reference(
    query_TNH: Tensor,
    key_TKH: Tensor,
    value_TKH: Tensor,
    batch: AttentionBatch,
    *,
    scale: float,
    window: int = 0,
) -> Tensor:
    """Attention of every token over its sequence, (T, N, H) in the query's dtype; computed in float32.

    Only the batch's `query_starts` and `context_lens` are looked at, which must say that sequences are whole
    (ValueError). `window` w > 0 lets a token see those up to w places away on either side; 0 sees all.
    """
    output_TNH = torch.empty_like(query_TNH, memory_format=torch.contiguous_format)
    group = query_TNH.shape[1] // key_TKH.shape[1]
    for first, end in batch.once(AttentionBatch.whole_sequences):
        query_NLH = query_TNH[first:end].float().transpose(0, 1).contiguous() * scale
        key_NLH, value_NLH = (
            part[first:end].float().repeat_interleave(group, dim=1).transpose(0, 1).contiguous()
            for part in (key_TKH, value_TKH)
        )
        output_TNH[first:end] = _attend(query_NLH, key_NLH, value_NLH, window).transpose(0, 1)
    return output_TNH


def _attend(query_NLH: Tensor, key_NLH: Tensor, value_NLH: Tensor, window: int) -> Tensor:
    """One sequence, block of queries after block of queries; keys that no query of a block sees are left out."""
    length = query_NLH.shape[1]
    blocks = []
    for begin in range(0, length, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, length)
        low, high = (max(0, begin - window), min(length, end + window)) if window else (0, length)
        scores = query_NLH[:, begin:end] @ key_NLH[:, low:high].transpose(1, 2)
        if window:
            places = torch.arange(length, device=scores.device)
            distance = places[begin:end, None] - places[low:high]
            scores.masked_fill_(distance.abs() > window, -torch.inf)
        blocks.append(scores.softmax(-1) @ value_NLH[:, low:high])
    return torch.cat(blocks, dim=1)


def cases(seed: int, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(seed)
    for lengths, heads, key_heads, head_dim in (
        ([1], 1, 1, 32),
        ([150, 1, 20], 4, 4, 32),
        ([3, 270], 4, 2, 24),
    ):
        starts = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
        for window in (0, 1, 40):
            query, key, value = (
                torch.randn(starts[-1], count, head_dim, generator=generator).to(dtype)
                for count in (heads, key_heads, key_heads)
            )
            yield {
                "query_TNH": query,
                "key_TKH": key,
                "value_TKH": value,
                "batch": AttentionBatch(starts, lengths, [[] for _ in lengths], 16),
                "scale": head_dim**-0.5,
                "window": window,
            }


encoder_attention = Op("encoder_attention", reference, cases)
