"""Names of blocks: what goes into them, and that the CBOR form is the standard's."""

from __future__ import annotations

import hashlib

from quire.base.config import Asked, resolve
from quire.engine.kv import BlockTable, KVCache
from quire.engine.kv.hashing import NEXT_KEYS, next_key_cbor, root_key
from tests.base.config.conftest import make_card, make_machine


def test_cbor_keys_hash_the_bytes_of_rfc_8949():
    # 82 array(2); 44 bytes(4); 86 array(6); then each integer in its shortest form
    encoded = bytes.fromhex("82 44 00010203 86 00 17 1818 190100 1a00010000 1b0000000100000000")
    tokens = [0, 23, 24, 256, 65_536, 2**32]
    assert next_key_cbor(bytes([0, 1, 2, 3]), tokens) == hashlib.sha256(encoded).digest()


def test_the_setting_chooses_the_names_under_which_blocks_are_found():
    names = set()
    for algorithm in ("sha256", "sha256_cbor"):
        asked = Asked.from_arguments(["m", "--prefix-caching-hash-algo", algorithm], {})
        cache = resolve(asked, make_card(), make_machine()).engine.cache
        kv = KVCache(4, 2, hash_algorithm=cache.hash_algorithm)
        table = BlockTable()
        kv.extend(table, 0, 4)
        kv.publish(table, [7, 8, 9, 10], 4)
        key = NEXT_KEYS[algorithm](root_key("", "", ()), [7, 8])
        assert kv.pool.find(key) == table.block_ids[0]
        again = BlockTable()
        assert kv.claim_prefix(again, [7, 8, 9, 10, 11]) == 4
        names.add(key)
    assert len(names) == 2
