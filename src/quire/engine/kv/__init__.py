"""Paged KV accounting: blocks, tables, prefix keys. Plain ints and lists; no tensors."""

from quire.engine.kv.cache import BlockTable, KVCache
from quire.engine.kv.none import NoKVCache

__all__ = ["BlockTable", "KVCache", "NoKVCache"]
