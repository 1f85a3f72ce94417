"""KVCache: block tables of sequences on top of the pool: claim, extend, fork, publish, release.

positions   0 … 15   16 … 31   32 … 47          block_size = 16
table      [   7   ,    3    ,    9    ]        block i holds positions [16 i, 16 (i + 1))
            └ full, published ┘    └ the tail: written in place, or copied first when shared
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quire.engine.kv.hashing import NEXT_KEYS, NextKey, PrefixKey, root_key
from quire.engine.kv.news import BlockNews
from quire.engine.kv.pool import BlockPool
from quire.engine.kv.residency import Residency


class BlockTable:
    """One sequence's blocks and the prefix keys of its full blocks, as far as computed."""

    def __init__(self, cache_salt: str = "", adapter: str = "", media_keys: Sequence[str] = ()) -> None:
        self.block_ids: list[int] = []
        self.num_published = 0
        self._root = root_key(cache_salt, adapter, media_keys)
        self._keys: list[PrefixKey] = []

    def keys(
        self, token_ids: Sequence[int], num_blocks: int, block_size: int, next_key: NextKey
    ) -> list[PrefixKey]:
        """Keys of the first `num_blocks` full blocks of `token_ids`, extending the chain as needed."""
        for index in range(len(self._keys), num_blocks):
            parent = self._keys[-1] if self._keys else self._root
            self._keys.append(next_key(parent, token_ids[index * block_size : (index + 1) * block_size]))
        return self._keys[:num_blocks]

    def fork(self) -> BlockTable:
        """A table with the same blocks; the caller adds the references."""
        child = BlockTable()
        child.block_ids = list(self.block_ids)
        child.num_published = self.num_published
        child._root = self._root
        child._keys = list(self._keys)
        return child


class KVCache:
    """Claims are all or nothing: a method that returns False or None changed nothing."""

    def __init__(
        self,
        num_blocks: int,
        block_size: int,
        *,
        enable_prefix_caching: bool = True,
        hash_algorithm: str = "sha256",
    ) -> None:
        self.block_size = block_size
        self._next_key = NEXT_KEYS[hash_algorithm]
        self.enable_prefix_caching = enable_prefix_caching
        self.pool = BlockPool(num_blocks)

    @property
    def num_used(self) -> int:
        return self.pool.num_blocks - self.pool.num_free

    @property
    def capacity_tokens(self) -> int:
        return self.pool.num_blocks * self.block_size

    def claim_prefix(self, table: BlockTable, token_ids: Sequence[int]) -> int:
        """Share the longest published prefix into an empty `table`; returns its length in tokens.

        At least one token is always left to compute, since its logits are wanted.
        """
        if not self.enable_prefix_caching:
            return 0
        num_blocks = (len(token_ids) - 1) // self.block_size
        for key in table.keys(token_ids, num_blocks, self.block_size, self._next_key):
            block = self.pool.find(key)
            if block is None:
                break
            self.pool.share(block)
            table.block_ids.append(block)
        table.num_published = len(table.block_ids)
        return len(table.block_ids) * self.block_size

    def note_found(self, table: BlockTable, num_tokens: int) -> None:
        """The first `num_tokens` of an admitted sequence came from the cache: news for those who watch blocks."""
        if self.pool.residency is not None:
            for block in table.block_ids[: num_tokens // self.block_size]:
                self.pool.residency.note_found(block)

    def num_missing(self, table: BlockTable, num_tokens: int) -> int:
        """Blocks that `table` lacks to hold `num_tokens`."""
        return max(0, -(-num_tokens // self.block_size) - len(table.block_ids))

    def extend(self, table: BlockTable, num_computed: int, num_tokens: int) -> list[tuple[int, int]] | None:
        """Make positions `num_computed` … `num_tokens - 1` writable.

        Returns the (source, destination) copies to make first (the shared tail, if any), or None when the
        pool has too few free blocks.
        """
        tail = num_computed // self.block_size
        writes_shared_tail = tail < len(table.block_ids) and self.pool.is_shared(table.block_ids[tail])
        num_new = -(-num_tokens // self.block_size) - len(table.block_ids)
        if max(num_new, 0) + writes_shared_tail > self.pool.num_free:
            return None
        copies = []
        if writes_shared_tail:
            source = table.block_ids[tail]
            table.block_ids[tail] = self.pool.take()
            self.pool.release(source)
            copies.append((source, table.block_ids[tail]))
        for _ in range(num_new):
            table.block_ids.append(self.pool.take())
        return copies

    def fork(self, table: BlockTable) -> BlockTable:
        """A second table over the same blocks; nothing is copied until one of the two writes."""
        for block in table.block_ids:
            self.pool.share(block)
        return table.fork()

    def publish(self, table: BlockTable, token_ids: Sequence[int], num_computed: int) -> None:
        """Make the blocks that `num_computed` tokens fill findable by later prompts."""
        num_full = num_computed // self.block_size
        if not self.enable_prefix_caching or num_full <= table.num_published:
            return
        keys = table.keys(token_ids, num_full, self.block_size, self._next_key)
        stored = [
            index
            for index in range(table.num_published, num_full)
            if self.pool.publish(table.block_ids[index], keys[index])
        ]
        table.num_published = num_full
        if self.pool.news is not None and stored:
            self._tell_stored(self.pool.news, stored, keys, token_ids)

    def _tell_stored(
        self, news: BlockNews, stored: list[int], keys: list[PrefixKey], token_ids: Sequence[int]
    ) -> None:
        """One event for each run of neighbours among the blocks `stored`, which are numbered within the prompt."""
        begin = 0
        for end in range(1, len(stored) + 1):
            if end < len(stored) and stored[end] == stored[end - 1] + 1:
                continue
            first, last = stored[begin], stored[end - 1] + 1
            parent = keys[first - 1] if first else None
            tokens = list(token_ids[first * self.block_size : last * self.block_size])
            news.note_stored(keys[first:last], parent, tokens)
            begin = end

    def release(self, table: BlockTable, *, trusted: bool = True) -> None:
        """Give all blocks back, last first, so that the LRU order evicts the ends of prefixes before
        their beginnings. Values that are not `trusted` are made unfindable."""
        for block in reversed(table.block_ids):
            if not trusted:
                self.pool.withdraw(block)
            self.pool.release(block)
        table.block_ids.clear()
        table.num_published = 0

    def watch(self, *, residency: Residency | None = None, news: BlockNews | None = None) -> None:
        """From now on tell what happens to blocks."""
        self.pool.residency, self.pool.news = residency, news

    def forget_prefixes(self) -> None:
        self.pool.forget_cached()

    def audit(self, tables: Iterable[BlockTable]) -> None:
        """Raise AssertionError unless the pool's books agree with `tables`."""
        held: dict[int, int] = {}
        for table in tables:
            if len(set(table.block_ids)) != len(table.block_ids):
                raise AssertionError(f"a table lists a block twice: {table.block_ids}")
            for block in table.block_ids:
                held[block] = held.get(block, 0) + 1
        self.pool.audit(held)
