"""How one step's attention is cut into equal pieces of work.

The chunk of each sequence is cut into *row blocks* of 1, 16 or 64 tokens, the context into *tiles* of 128
tokens counted from position 0. One *item* is one row block against one tile it can see:

      context   |  tile 0   |  tile 1   |  tile 2   |
      block 0   |  item 0   |  item 3   |           |      Row blocks are sorted by how many tiles they see,
      block 1   |  item 1   |  item 4   |           |      items by rank (first tile, second tile …), so that
      block 2   |  item 2   |           |           |      the items of one rank belong to blocks 0 … n-1.

Tiles lie at fixed positions and a block's tiles are added up in order, so a token's result does not depend on
the chunk it came in nor on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

TILE_TOKENS = 128
LONG_CONTEXT_TOKENS = 16384

Ints = npt.NDArray[np.int64]
T = TypeVar("T")


@dataclass(slots=True)
class WorkGroup:
    """Row blocks computed together. B row blocks of `rows` tokens, I items.

    `row_of_item` (I,) names each item's row block; `ranks` are the (start, end) of the items of each rank.
    `slots` (I, TILE) are cache slots, always of written tokens; `hidden` (I, rows, TILE) is true where a query
    must not look. `positions` (B, rows) are the queries', `tiles` (I,) the items' tiles. `tokens` (B, rows) are
    indices into the step's tokens, the last one repeated in a block cut short; `kept` and `kept_tokens` say which of
    the B·rows results are real and where they go.
    """

    tokens: Tensor
    kept: Tensor
    kept_tokens: Tensor
    row_of_item: Tensor
    ranks: list[tuple[int, int]]
    slots: Tensor
    hidden: Tensor
    positions: Tensor
    tiles: Tensor
    _slots_by_head: dict[int, Tensor] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.tokens.shape[1]

    def distance(self) -> Tensor:
        """(I, rows, TILE) float32: how far each key lies behind each query."""
        keys = self.tiles[:, None, None] * TILE_TOKENS + torch.arange(TILE_TOKENS, device=self.tiles.device)
        return (self.positions[self.row_of_item].unsqueeze(-1) - keys).float()

    def slots_by_head(self, num_heads: int) -> Tensor:
        """(I · K · TILE,) indices of (slot, head) rows in a cache seen as (slots · K, H)."""
        found = self._slots_by_head.get(num_heads)
        if found is None:
            heads = torch.arange(num_heads, device=self.slots.device).view(1, num_heads, 1)
            found = (self.slots.unsqueeze(1) * num_heads + heads).view(-1)
            self._slots_by_head[num_heads] = found
        return found


@dataclass(frozen=True, slots=True)
class AttentionBatch:
    """Which tokens of a step belong to which sequence, and where each sequence's context lies.

    `query_starts` (N + 1) are the prefix sums of chunk lengths, `context_lens` (N) the tokens in the cache after
    this step, this chunk included; block i of a sequence's table holds positions [i·block_size, (i+1)·block_size).

    An encoder's step has whole sequences and no cache: the tables are empty, tokens look at the step's own keys.
    """

    query_starts: list[int]
    context_lens: list[int]
    block_tables: list[list[int]]
    block_size: int
    _work: dict[tuple[int, int, torch.device], list[WorkGroup]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _forms: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, make: Callable[[AttentionBatch], T]) -> T:
        """`make(self)`, made by the first layer that asks for it and kept for the others."""
        form: T | None = self._forms.get(make)
        if form is None:
            form = self._forms[make] = make(self)
        return form

    def whole_sequences(self) -> list[tuple[int, int]]:
        """First token and end of each sequence in the step. Raises ValueError where one has a past, or blocks."""
        spans = list(pairwise(self.query_starts))
        if any(self.block_tables) or self.context_lens != [end - first for first, end in spans]:
            raise ValueError(
                f"an encoder is given whole sequences without blocks; contexts of {self.context_lens} tokens in "
                f"blocks {self.block_tables} have the step's tokens up to {self.query_starts[1:]}"
            )
        return spans

    def work(self, window: int, max_scores: int, device: torch.device) -> list[WorkGroup]:
        """The step's row blocks in groups, their tensors on `device`. `window` 0 sees the whole past, w the last w
        tokens, oneself included. A group has at most `max_scores` (token, context token) pairs, or a single row
        block."""
        key = (window, max_scores, device)
        if key not in self._work:
            self._work[key] = list(_plan(self, window, max_scores, device))
        return self._work[key]


@dataclass(frozen=True, slots=True)
class _RowBlocks:
    """B row blocks of R tokens, those that see the most tiles first.

    `sequence`, `first_tile` and `num_tiles` are (B,); `tokens` and `positions` (B, R) repeat the last token of a
    block cut short, where `real` is false.
    """

    sequence: Ints
    tokens: Ints
    positions: Ints
    real: npt.NDArray[np.bool_]
    first_tile: Ints
    num_tiles: Ints

    def select(self, chosen: slice | Ints) -> _RowBlocks:
        return _RowBlocks(
            self.sequence[chosen],
            self.tokens[chosen],
            self.positions[chosen],
            self.real[chosen],
            self.first_tile[chosen],
            self.num_tiles[chosen],
        )


def _plan(batch: AttentionBatch, window: int, max_scores: int, device: torch.device) -> Iterator[WorkGroup]:
    lengths = np.diff(np.asarray(batch.query_starts, dtype=np.int64))
    tables = _padded(batch.block_tables)
    contexts = np.asarray(batch.context_lens, dtype=np.int64)
    # a row block keeps the scores of its whole context: long ones are cut finer, to bound them
    is_short = (lengths <= 32) | (contexts > LONG_CONTEXT_TOKENS)
    rows_of_sequence = np.where(lengths == 1, 1, np.where(is_short, 16, 64))
    for rows in (1, 16, 64):
        sequences = np.flatnonzero((rows_of_sequence == rows) & (lengths > 0))
        if not len(sequences):
            continue
        blocks = _row_blocks(batch, sequences, rows, window)
        max_items = max(1, max_scores // (rows * TILE_TOKENS))
        for part in _parts(blocks.num_tiles, max_items):
            yield _work_group(blocks.select(part), contexts, tables, batch.block_size, window, device)


def _row_blocks(batch: AttentionBatch, sequences: Ints, rows: int, window: int) -> _RowBlocks:
    """Cuts the chunks of `sequences` into blocks of `rows` tokens."""
    starts = np.asarray(batch.query_starts, dtype=np.int64)
    lengths = np.diff(starts)
    blocks_each = -(-lengths[sequences] // rows)
    sequence = np.repeat(sequences, blocks_each)
    blocks_before = np.repeat(np.cumsum(blocks_each) - blocks_each, blocks_each)
    wanted = ((np.arange(len(sequence)) - blocks_before) * rows)[:, None] + np.arange(rows)
    place = np.minimum(wanted, lengths[sequence, None] - 1)  # within the chunk
    chunk_start = np.asarray(batch.context_lens, dtype=np.int64) - lengths
    positions = chunk_start[sequence, None] + place
    first_tile = np.zeros_like(sequence)
    if window:
        first_tile = np.maximum(positions[:, 0] - window + 1, 0) // TILE_TOKENS
    blocks = _RowBlocks(
        sequence=sequence,
        tokens=starts[sequence, None] + place,
        positions=positions,
        real=wanted == place,
        first_tile=first_tile,
        num_tiles=positions[:, -1] // TILE_TOKENS - first_tile + 1,
    )
    return blocks.select(np.argsort(-blocks.num_tiles, kind="stable"))


def _work_group(
    blocks: _RowBlocks, contexts: Ints, tables: Ints, block_size: int, window: int, device: torch.device
) -> WorkGroup:
    row_of_item, tile, ranks = _items(blocks.first_tile, blocks.num_tiles)
    keys = tile[:, None] * TILE_TOKENS + np.arange(TILE_TOKENS)  # positions
    queries = blocks.positions[row_of_item][:, :, None]
    hidden = keys[:, None, :] > queries
    if window:
        hidden |= keys[:, None, :] <= queries - window
    owner = blocks.sequence[row_of_item][:, None]
    written = np.minimum(keys, contexts[owner] - 1)
    slots = tables[owner, written // block_size] * block_size + written % block_size

    def place(values: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(device)

    return WorkGroup(
        tokens=place(blocks.tokens),
        kept=place(np.flatnonzero(blocks.real)),
        kept_tokens=place(blocks.tokens[blocks.real]),
        row_of_item=place(row_of_item),
        ranks=ranks,
        slots=place(slots),
        hidden=place(hidden),
        positions=place(blocks.positions),
        tiles=place(tile),
    )


def _padded(tables: list[list[int]]) -> Ints:
    padded = np.zeros((len(tables), max(map(len, tables), default=0)), dtype=np.int64)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
    return padded


def _parts(num_tiles: Ints, max_items: int) -> Iterator[slice]:
    """Cuts row blocks into runs with at most `max_items` items each (one block at least)."""
    start, items = 0, 0
    for end, count in enumerate(num_tiles.tolist()):
        if items and items + count > max_items:
            yield slice(start, end)
            start, items = end, 0
        items += count
    yield slice(start, len(num_tiles))


def _items(first_tile: Ints, num_tiles: Ints) -> tuple[Ints, Ints, list[tuple[int, int]]]:
    """Row block and tile of every item, and the range of items of each rank. `num_tiles` falls."""
    rank, row = np.nonzero(np.arange(num_tiles[0])[:, None] < num_tiles)
    bounds = np.searchsorted(rank, np.arange(num_tiles[0] + 1)).tolist()
    return row, first_tile[row] + rank, list(pairwise(bounds))
