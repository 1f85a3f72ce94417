"""Paged KV accounting: blocks, tables, prefix keys. Plain ints and lists; no tensors."""

from quire.engine.kv.cache import BlockTable, KVCache

__all__ = ["BlockTable", "KVCache"]
