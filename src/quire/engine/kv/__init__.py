"""Paged KV accounting: blocks, tables, prefix keys. Plain ints and lists; no tensors."""

from quire.engine.kv.cache import BlockTable, KVCache
from quire.engine.kv.news import BlockEvent, BlockNews
from quire.engine.kv.none import NoKVCache
from quire.engine.kv.residency import Residency

__all__ = ["BlockEvent", "BlockNews", "BlockTable", "KVCache", "NoKVCache", "Residency"]
