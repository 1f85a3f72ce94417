"""From a plan's chunks to the tensors of one forward pass: every chunk's tokens side by side, no padding."""

from __future__ import annotations

import torch

from quire.base.messages import Chunk
from quire.model.layers import AttentionBatch, LayerKV, StepInput


def build_step_input(chunks: list[Chunk], caches: list[LayerKV], block_size: int) -> StepInput:
    """T is the number of tokens of all chunks, in chunk order."""
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    query_starts = [0]
    for chunk in chunks:
        token_ids += chunk.token_ids
        positions += range(chunk.start, chunk.end)
        if chunk.block_ids:  # an encoder stores nothing
            slots += chunk_slots(chunk, block_size)
        query_starts.append(len(token_ids))
    attention = AttentionBatch(
        query_starts=query_starts,
        context_lens=[chunk.end for chunk in chunks],
        block_tables=[chunk.block_ids for chunk in chunks],
        block_size=block_size,
    )
    return StepInput(
        token_ids_T=torch.tensor(token_ids, dtype=torch.int64),
        positions_T=torch.tensor(positions, dtype=torch.int64),
        slots_T=torch.tensor(slots, dtype=torch.int64),
        attention=attention,
        caches=caches,
    )


def chunk_slots(chunk: Chunk, block_size: int) -> list[int]:
    """Where each of the chunk's tokens is stored: block id * block_size + offset in the block."""
    if len(chunk.token_ids) == 1:
        block, offset = divmod(chunk.start, block_size)
        return [chunk.block_ids[block] * block_size + offset]
    return [
        chunk.block_ids[position // block_size] * block_size + position % block_size
        for position in range(chunk.start, chunk.end)
    ]
