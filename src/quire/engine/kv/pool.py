"""BlockPool: which KV blocks are free, held by whom how often, and findable under which prefix key.

A block is in exactly one of four states:

    fresh      never used; its memory is not committed yet
    held       reference count > 0, perhaps also published under a key
    idle       count 0, no key: reused first (its memory is warm)
    cached     count 0, published: reused last, the longest unused first (LRU), and can be revived by key
"""

from __future__ import annotations

from collections import OrderedDict

from quire.engine.kv.hashing import PrefixKey
from quire.engine.kv.news import BlockNews
from quire.engine.kv.residency import Residency


class BlockPool:
    """Counts references to `num_blocks` blocks, numbered from 0. Knows no sequences and no tokens. `residency` and
    `news`, where there are any, hear of what happens to blocks."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._references = [0] * num_blocks
        self._keys: list[PrefixKey | None] = [None] * num_blocks
        self._published: dict[PrefixKey, int] = {}
        self._next_fresh = 0
        self._idle: list[int] = []
        self._cached: OrderedDict[int, None] = OrderedDict()
        self.residency: Residency | None = None
        self.news: BlockNews | None = None

    @property
    def num_free(self) -> int:
        """Blocks that `take` can hand out now, cached ones included."""
        return self.num_blocks - self._next_fresh + len(self._idle) + len(self._cached)

    def take(self) -> int:
        """A block with one reference and no key. The caller checked `num_free`."""
        if self._idle:
            block = self._idle.pop()
        elif self._next_fresh < self.num_blocks:
            block = self._next_fresh
            self._next_fresh += 1
        else:
            block, _ = self._cached.popitem(last=False)
            self._unpublish(block)
        self._references[block] = 1
        if self.residency is not None:
            self.residency.note_taken(block)
        return block

    def share(self, block: int) -> None:
        """One more reference to a held or cached block."""
        if self._references[block] == 0:
            del self._cached[block]
        self._references[block] += 1

    def release(self, block: int) -> None:
        """One reference less; the last one makes the block cached or idle."""
        if self._references[block] <= 0:
            raise AssertionError(f"block {block} released more often than taken")
        self._references[block] -= 1
        if self._references[block] == 0:
            if self._keys[block] is None:
                self._idle.append(block)
            else:
                self._cached[block] = None

    def is_shared(self, block: int) -> bool:
        return self._references[block] > 1

    def is_cached(self, block: int) -> bool:
        """Published and held by nobody: reviving it costs one of `num_free`."""
        return self._references[block] == 0

    def find(self, key: PrefixKey) -> int | None:
        return self._published.get(key)

    def publish(self, block: int, key: PrefixKey) -> bool:
        """Make a held block findable; False if another is under this key: the first one published stays the one
        found."""
        if key in self._published:
            return False
        self._published[key] = block
        self._keys[block] = key
        return True

    def withdraw(self, block: int) -> None:
        """Make a held block unfindable: its values are not to be trusted."""
        if self._keys[block] is not None:
            self._unpublish(block)

    def forget_cached(self) -> None:
        """Drop every key; cached blocks become idle."""
        for block in self._published.values():
            self._keys[block] = None
        self._published.clear()
        if self.news is not None:
            self.news.note_cleared()
        self._idle.extend(self._cached)
        self._cached.clear()

    def _unpublish(self, block: int) -> None:
        key = self._keys[block]
        assert key is not None
        del self._published[key]
        self._keys[block] = None
        if self.news is not None:
            self.news.note_removed(key)

    def audit(self, held: dict[int, int]) -> None:
        """Check every invariant against `held` (block → references the callers believe they hold)."""
        expected = [held.get(block, 0) for block in range(self.num_blocks)]
        if expected != self._references:
            wrong = [b for b in range(self.num_blocks) if expected[b] != self._references[b]]
            raise AssertionError(f"reference counts differ for blocks {wrong[:8]}")
        free = [*range(self._next_fresh, self.num_blocks), *self._idle, *self._cached]
        if len(free) != len(set(free)) or any(self._references[block] for block in free):
            raise AssertionError("a free block is listed twice or still held")
        if len(free) + sum(1 for count in expected if count) != self.num_blocks:
            raise AssertionError("a block is neither free nor held")
        if any(self._keys[block] is not None for block in self._idle) or any(
            self._keys[block] is None for block in self._cached
        ):
            raise AssertionError("idle blocks carry no key, cached blocks carry one")
        if {block: key for key, block in self._published.items()} != {
            block: key for block, key in enumerate(self._keys) if key is not None
        }:
            raise AssertionError("keys and blocks disagree")
