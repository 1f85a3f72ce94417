"""T-32, T-33: tenants with different salts share no block, by key and as seen from outside."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quire.engine.kv.hashing import NEXT_KEYS, root_key
from tests.security.conftest import Guarded

PROMPT = [7 + i % 50 for i in range(200)]


@given(
    st.lists(
        st.tuples(st.text(max_size=6), st.text(max_size=6), st.lists(st.text(max_size=4), max_size=3)),
        min_size=2,
        max_size=2,
        unique_by=str,
    )
)
def test_no_two_tenants_have_one_root(pair: list[tuple[str, str, list[str]]]) -> None:
    """T-32: CVE-2025-25183. Salt, adapter and media are in the key, and no two ways to cut a text collide."""
    roots = {root_key(*each) for each in pair}
    assert len(roots) == 2


def test_a_hundred_thousand_blocks_without_a_collision() -> None:
    """T-32, on numbers next to each other, where weak hashes fail first."""
    for next_key in NEXT_KEYS.values():
        root = root_key("", "", [])
        keys = {next_key(root, [i, j]) for i in range(500) for j in range(200)}
        assert len(keys) == 100_000
        assert all(len(key) == 32 for key in list(keys)[:10])


def cached_tokens(guarded: Guarded, salt: str | None) -> int:
    body: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 1}
    if salt is not None:
        body["cache_salt"] = salt
    before = guarded.server.metric("vllm:prefix_cache_hits_total")
    assert guarded.post("/v1/completions", body)[0] == 200
    return int(guarded.server.metric("vllm:prefix_cache_hits_total") - before)


def test_one_tenant_cannot_see_what_another_asked(guarded: Guarded) -> None:
    """T-33: CVE-2025-46570. What the clock could tell is whether blocks were found; between salts none are."""
    assert cached_tokens(guarded, "alice") == 0
    assert cached_tokens(guarded, "alice") > 100
    assert cached_tokens(guarded, "bob") == 0
    assert cached_tokens(guarded, None) == 0
    assert cached_tokens(guarded, None) > 100
