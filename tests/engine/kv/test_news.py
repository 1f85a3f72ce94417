"""Events of the prefix cache: replaying them gives what the cache holds, in vLLM's shape on the wire."""

from __future__ import annotations

import msgspec

from quire.engine.kv import BlockNews, BlockTable, KVCache
from quire.engine.kv.hashing import next_key, root_key
from tests.engine.kv.test_residency import compute


def cache_with_news(num_blocks: int = 8, **options) -> tuple[KVCache, BlockNews]:
    kv, news = KVCache(num_blocks, 2), BlockNews(2, has_int_hashes=options.pop("has_int_hashes", False))
    kv.watch(news=news)
    return kv, news


def wire(news: BlockNews) -> list:
    """The events as any msgpack reader sees them."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(news.take()))


def keys_of(*blocks: list[int]) -> list[bytes]:
    keys = [root_key("", "", ())]
    for block in blocks:
        keys.append(next_key(keys[-1], block))
    return keys[1:]


def test_stored_blocks_come_with_their_names_tokens_and_parent():
    kv, news = cache_with_news()
    compute(kv, [1, 2, 3, 4, 5])
    one, two = keys_of([1, 2], [3, 4])
    assert wire(news) == [["BlockStored", [one, two], None, [1, 2, 3, 4], 2, None, "GPU"]]
    compute(kv, [1, 2, 3, 4, 5, 6, 7])  # the first two are found, and no news
    (three,) = keys_of([1, 2], [3, 4], [5, 6])[2:]
    assert wire(news) == [["BlockStored", [three], two, [5, 6], 2, None, "GPU"]]
    compute(kv, [1, 2, 3, 4, 5, 6])
    assert wire(news) == []


def test_evicted_and_cleared_blocks_are_told():
    kv, news = cache_with_news(2)
    compute(kv, [1, 2, 3, 4])
    one, two = keys_of([1, 2], [3, 4])
    news.take()
    compute(kv, [7, 8])
    seven = keys_of([7, 8])[0]
    assert wire(news) == [
        ["BlockRemoved", [two], "GPU"],
        ["BlockStored", [seven], None, [7, 8], 2, None, "GPU"],
    ]
    kv.forget_prefixes()
    assert wire(news) == [["AllBlocksCleared"]]
    assert kv.pool.find(one) is None


def test_values_nobody_trusts_are_removed():
    kv, news = cache_with_news()
    table = BlockTable()
    kv.extend(table, 0, 2)
    kv.publish(table, [1, 2], 2)
    news.take()
    kv.release(table, trusted=False)
    assert wire(news) == [["BlockRemoved", keys_of([1, 2]), "GPU"]]


def test_names_may_be_integers_of_64_bits():
    kv, news = cache_with_news(has_int_hashes=True)
    compute(kv, [1, 2])
    (key,) = keys_of([1, 2])
    assert wire(news) == [["BlockStored", [int.from_bytes(key, "big") % 2**64], None, [1, 2], 2, None, "GPU"]]


def test_without_anybody_who_listens_nothing_is_collected():
    kv = KVCache(8, 2)
    compute(kv, [1, 2, 3])
    assert kv.pool.news is None and kv.pool.residency is None
