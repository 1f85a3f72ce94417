"""BlockNews: what becomes findable in the prefix cache and what no longer is, in the shape that goes over the wire.

The shape is vLLM's: arrays that begin with their tag. `medium` is always "GPU", its name for the first tier, the one
attention reads; here that is main memory.
"""

from __future__ import annotations

import msgspec

from quire.engine.kv.hashing import PrefixKey

FIRST_TIER = "GPU"
BlockHash = int | bytes


class BlockStored(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Blocks in a row, each filled with `block_size` of `token_ids`; they follow `parent_block_hash` (None at the
    beginning of a prompt)."""

    block_hashes: list[BlockHash]
    parent_block_hash: BlockHash | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None = None
    medium: str | None = FIRST_TIER


class BlockRemoved(msgspec.Struct, frozen=True, array_like=True, tag=True):
    block_hashes: list[BlockHash]
    medium: str | None = FIRST_TIER


class AllBlocksCleared(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Nothing is findable any more."""


BlockEvent = BlockStored | BlockRemoved | AllBlocksCleared


class BlockNews:
    """Collects events until they are taken. With `has_int_hashes` a block's name is the last 64 bits of its key."""

    def __init__(self, block_size: int, *, has_int_hashes: bool) -> None:
        self._block_size = block_size
        self._has_int_hashes = has_int_hashes
        self._events: list[BlockEvent] = []

    def note_stored(self, keys: list[PrefixKey], parent: PrefixKey | None, token_ids: list[int]) -> None:
        """`keys` in a row; `token_ids` are those of all of them."""
        self._events.append(
            BlockStored(
                block_hashes=[self._name(key) for key in keys],
                parent_block_hash=None if parent is None else self._name(parent),
                token_ids=token_ids,
                block_size=self._block_size,
            )
        )

    def note_removed(self, key: PrefixKey) -> None:
        self._events.append(BlockRemoved(block_hashes=[self._name(key)]))

    def note_cleared(self) -> None:
        self._events.append(AllBlocksCleared())

    def take(self) -> list[BlockEvent]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _name(self, key: PrefixKey) -> BlockHash:
        return int.from_bytes(key[-8:], "big") if self._has_int_hashes else key
