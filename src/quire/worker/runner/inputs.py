"""From a plan's chunks to the input of one forward pass: every chunk's tokens side by side, no padding."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from quire.base.messages import Chunk
from quire.model.layers import AttentionBatch, LayerKV, StepInput


def build_step_input(
    chunks: list[Chunk],
    caches: list[LayerKV],
    block_size: int,
    segment_starts: Mapping[int, int] | None = None,
) -> StepInput:
    """T is the number of tokens of all chunks, in chunk order. `segment_starts` says, by sequence, where the second
    of two texts begins."""
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    query_starts = [0]
    for chunk in chunks:
        token_ids += chunk.token_ids
        positions += range(chunk.start, chunk.end)
        has_blocks = bool(chunk.block_ids)  # an encoder stores nothing, and looks at no slot
        slots += chunk_slots(chunk, block_size) if has_blocks else [0] * len(chunk.token_ids)
        query_starts.append(len(token_ids))
    attention = AttentionBatch(
        query_starts=query_starts,
        context_lens=[chunk.end for chunk in chunks],
        block_tables=[chunk.block_ids for chunk in chunks],
        block_size=block_size,
    )
    return StepInput(
        token_ids=array("q", token_ids),
        positions=array("q", positions),
        slots=array("q", slots),
        attention=attention,
        caches=caches,
        token_type_ids=_token_types(chunks, segment_starts) if segment_starts else None,
    )


def _token_types(chunks: list[Chunk], segment_starts: Mapping[int, int]) -> array[int]:
    """1 for the tokens of a second text."""
    types = array("q")
    for chunk in chunks:
        start = segment_starts.get(chunk.sequence_id, chunk.end)
        types.extend(int(position >= start) for position in range(chunk.start, chunk.end))
    return types


def chunk_slots(chunk: Chunk, block_size: int) -> list[int]:
    """Where each of the chunk's tokens is stored: block id * block_size + offset in the block."""
    if len(chunk.token_ids) == 1:
        block, offset = divmod(chunk.start, block_size)
        return [chunk.block_ids[block] * block_size + offset]
    return [
        chunk.block_ids[position // block_size] * block_size + position % block_size
        for position in range(chunk.start, chunk.end)
    ]
