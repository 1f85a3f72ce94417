"""Prefix keys: a SHA-256 chain over blocks of token ids, rooted in everything else that shapes the values.

    root = H(salt, adapter, media keys)        key[i] = H(key[i-1], tokens of block i)

Two sequences share a block exactly when salt, adapter, media and all tokens up to the block's end agree.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

PrefixKey = bytes


def root_key(cache_salt: str, adapter: str, media_keys: Sequence[str]) -> PrefixKey:
    """The chain's start. Lengths are hashed with the parts, so no two splits of one text collide."""
    digest = hashlib.sha256()
    for part in (cache_salt, adapter, *media_keys):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.digest()


def next_key(parent: PrefixKey, token_ids: Sequence[int]) -> PrefixKey:
    """The key of the block that holds `token_ids` and follows the block keyed `parent`."""
    return hashlib.sha256(parent + array("q", token_ids).tobytes()).digest()
