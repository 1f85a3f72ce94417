"""encoder_attention on the CPU: the kernels of paged_attention, whose cache is the step's own keys and values."""

from __future__ import annotations

from torch import Tensor

from quire.model import ops
from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.paged_attention import MAX_HEAD_DIM, StepBatch, attend

ALL_AHEAD = 1 << 40  # more tokens than a context has
supported = native.refusal
variant = native.chosen


def run(
    query_TNH: Tensor,
    key_TKH: Tensor,
    value_TKH: Tensor,
    batch: ops.AttentionBatch,
    *,
    scale: float,
    window: int = 0,
) -> Tensor:
    if query_TNH.shape[-1] > MAX_HEAD_DIM:
        return ops.encoder_attention.reference(
            query_TNH, key_TKH, value_TKH, batch, scale=scale, window=window
        )
    batch.once(ops.AttentionBatch.whole_sequences)  # which raises for others
    cache = ops.LayerKV(key_TKH.contiguous().unsqueeze(1), value_TKH.contiguous().unsqueeze(1))
    # the kernel counts a token itself into its window of the past
    behind, ahead = (window + 1, window) if window else (0, ALL_AHEAD)
    return attend(query_TNH, cache, batch.once(StepBatch), (None, None), scale, behind, ahead, 0.0)
