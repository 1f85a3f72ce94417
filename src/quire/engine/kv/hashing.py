"""Prefix keys: a SHA-256 chain over blocks of token ids, rooted in everything else that shapes the values.

    root = H(salt, adapter, media keys)        key[i] = H(key[i-1], tokens of block i)

Two sequences share a block exactly when salt, adapter, media and all tokens up to the block's end agree.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence

PrefixKey = bytes
NextKey = Callable[[PrefixKey, Sequence[int]], PrefixKey]


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


def next_key_cbor(parent: PrefixKey, token_ids: Sequence[int]) -> PrefixKey:
    """`next_key` over the canonical CBOR (RFC 8949, section 4.2) of [parent, [token ids]]."""
    parts = [_cbor_head(4, 2), _cbor_head(2, len(parent)), parent, _cbor_head(4, len(token_ids))]
    parts += [_cbor_head(0, token_id) for token_id in token_ids]
    return hashlib.sha256(b"".join(parts)).digest()


def _cbor_head(major: int, number: int) -> bytes:
    """A data item's first bytes: its major type and its number in the shortest form."""
    if number < 24:
        return bytes([major << 5 | number])
    for form, num_bytes in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * num_bytes:
            return bytes([major << 5 | form]) + number.to_bytes(num_bytes, "big")
    raise ValueError(number)


NEXT_KEYS: dict[str, NextKey] = {"sha256": next_key, "sha256_cbor": next_key_cbor}
