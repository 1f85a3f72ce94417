"""Requests made from the OpenAPI document, fitting it and not, against every route: none may end in a 5xx, and every
answer must be of the kind that the document promises.

`make schemathesis` tries more of them, on a real server (tests/e2e/test_schemathesis.py).
"""

from __future__ import annotations

import pytest
from tests.schema_requests import try_routes


@pytest.mark.parametrize(
    ("mode", "num_routes"), [("positive", 14), ("negative", 4)]
)  # a bare GET cannot be wrong
def test_every_route_answers_as_described(mode, num_routes, answering, serve):
    live = serve(answering())
    counts = try_routes(live.url, mode=mode, num_examples=12)
    assert len(counts) >= num_routes
    with_body = ("chat/completions", "completions", "responses", "messages", "embeddings", "rerank", "score")
    assert all(counts[f"POST /v1/{name}"] >= 12 for name in with_body)
