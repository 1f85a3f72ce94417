"""How long blocks stay: which are watched, and what is told of them when they are taken anew."""

from __future__ import annotations

from quire.base.messages import BlockStay
from quire.engine.kv import BlockTable, KVCache, Residency


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def cache_with(residency: Residency, num_blocks: int = 2) -> KVCache:
    kv = KVCache(num_blocks, 2)
    kv.watch(residency=residency)
    return kv


def compute(kv: KVCache, tokens: list[int]) -> BlockTable:
    """One prompt from start to end, its blocks left in the prefix cache."""
    table = BlockTable()
    num_cached = kv.claim_prefix(table, tokens)
    assert kv.extend(table, num_cached, len(tokens)) == []
    kv.note_found(table, num_cached)
    kv.publish(table, tokens, len(tokens))
    kv.release(table)
    return table


def test_a_block_taken_anew_tells_how_long_it_stayed_and_when_it_was_found():
    clock = Clock()
    residency = Residency(1.0, clock=clock, draw=lambda: 0.5)
    kv = cache_with(residency)
    compute(kv, [1, 2, 3])
    for now_s in (10.0, 14.0, 15.0):
        clock.now_s = now_s
        compute(kv, [1, 2, 4])
    clock.now_s = 20.0
    residency.take_stays()
    compute(kv, [7, 8, 9])  # both blocks hold something new now
    stays = residency.take_stays()
    assert BlockStay(20.0, 5.0, [4.0, 1.0]) in stays
    assert residency.take_stays() == []


def test_only_the_latest_finds_are_remembered():
    clock = Clock()
    residency = Residency(1.0, clock=clock, draw=lambda: 0.0)
    residency.note_taken(0)
    for second in range(1, 10):
        clock.now_s = float(second)
        residency.note_found(0)
    residency.note_taken(0)
    (stay,) = residency.take_stays()
    assert stay == BlockStay(9.0, 0.0, [1.0, 1.0, 1.0])


def test_a_share_of_the_blocks_is_watched():
    draws = iter([0.2, 0.3, 0.2, 0.3])
    residency = Residency(0.25, clock=Clock(), draw=lambda: next(draws))
    residency.note_taken(0)  # watched
    residency.note_taken(1)
    residency.note_found(1)  # nobody remembers
    residency.note_taken(1)  # watched from now on
    assert residency.take_stays() == []
    residency.note_taken(0)
    assert residency.take_stays() == [BlockStay(0.0, 0.0, [])]
