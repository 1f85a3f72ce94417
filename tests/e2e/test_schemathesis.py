"""Thousands of requests made of the OpenAPI document, against a whole server: no 5xx, and answers as described."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.conftest import ServerProcess
from tests.schema_requests import MODES, try_routes

NUM_EXAMPLES = 300


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("key", ["", "a-key"])
def test_no_request_made_of_the_document_fails_the_server(key, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    # replies as short as may be: the requests are what is tried, not the model
    words = ["--override-generation-config.max_new_tokens", "4", *(["--api-key", key] if key else [])]
    with ServerProcess(tmp_path / "log.txt", *words) as server:
        counts: Counter[str] = Counter()
        for mode in MODES:
            found = try_routes(server.base_url, mode=mode, num_examples=NUM_EXAMPLES, key=key)
            counts.update({f"{mode} {route}": number for route, number in found.items()})
        assert "Traceback" not in server.log.read_text()
        assert server.get("/ready")[0] == 200
    with capsys.disabled():
        print(f"\n{counts.total()} requests to {len(counts)} routes and modes: {dict(counts)}")  # noqa: T201
    assert counts.total() > 8 * NUM_EXAMPLES
