"""NoKVCache: the books of a model that keeps nothing between steps. Every claim is granted, nothing is ever held."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from quire.engine.kv.cache import BlockTable, KVCache


class NoKVCache(KVCache):
    """Of an encoder: its sequences are computed whole, in one step, and are then over."""

    @property
    def capacity_tokens(self) -> int:
        return sys.maxsize

    def claim_prefix(self, table: BlockTable, token_ids: Sequence[int]) -> int:
        return 0

    def num_missing(self, table: BlockTable, num_tokens: int) -> int:
        return 0

    def extend(self, table: BlockTable, num_computed: int, num_tokens: int) -> list[tuple[int, int]] | None:
        return []

    def publish(self, table: BlockTable, token_ids: Sequence[int], num_computed: int) -> None:
        return
