"""Reading a request body: content type, size, encoding, depth, and the paths errors name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quire.api.server.body import MAX_BODY_BYTES, MAX_DEPTH, convert
from quire.base.errors import InvalidValue


async def post(http, content, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/v1/completions", content=content, headers=names)


@pytest.mark.parametrize(
    "given", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"]
)
async def test_another_content_type_is_refused_with_the_remedy(given, http):
    reply = await post(http, b'{"prompt": "x"}', content_type=given)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "unsupported_content_type"
    assert "application/json" in reply.json()["error"]["message"]


@pytest.mark.parametrize("given", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_taken(given, http):
    assert (await post(http, b'{"prompt": "x"}', content_type=given)).status_code == 200


async def test_compressed_bodies_are_refused(http):
    reply = await post(http, b"x", content_type="application/json", content_encoding="gzip")
    assert reply.json()["error"]["code"] == "unsupported_content_encoding"


async def test_a_body_over_the_limit_is_a_413_declared_or_not(http, engine):
    async def parts():
        for _ in range(MAX_BODY_BYTES // 2**20 + 2):
            yield b" " * 2**20

    declared = await post(
        http, b"{}", content_type="application/json", content_length=str(MAX_BODY_BYTES + 1)
    )
    counted = await post(http, parts(), content_type="application/json")
    for reply in (declared, counted):
        assert reply.status_code == 413
        assert reply.json()["error"]["code"] == "request_too_large"
    assert engine.requests == []


@pytest.mark.parametrize(("depth", "status"), [(MAX_DEPTH - 2, 200), (MAX_DEPTH + 1, 400)])
async def test_depth_is_bounded(depth, status, http):
    body = b'{"prompt": "x", "metadata": {"a": ' + b"[" * depth + b"]" * depth + b"}}"
    assert (await post(http, body, content_type="application/json")).status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"prompt": [' + b"[1]," * 200_000 + b"[1]]}", 413),
        (b'{"prompt": [' + b"1," * 1_100_000 + b"1]}", 413),
        (b'{"prompt": [' + rb'"\\",' * 1_100_000 + b'"x"]}', 413),
        (b'{"prompt": "x", "user": "' + rb"\"[\\" * 300_000 + b'"}', 200),
        (b'{"prompt": "x", "user": "' + b'[,{\\"' * 300_000 + b'"}', 200),
    ],
)
async def test_bodies_of_too_many_values_are_refused_before_they_are_decoded(body, status, http):
    assert (await post(http, body, content_type="application/json")).status_code == status


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    sizes: list[int] = []


class Outer(msgspec.Struct):
    inners: list[Inner]
    weights: dict[int, float] = {}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], None),
        ({}, "inners"),
        ({"inners": [{}]}, "inners[0].name"),
        ({"inners": [{"name": "a", "sizes": [1, "b"]}]}, "inners[0].sizes[1]"),
        ({"inners": [{"name": "a", "size": 1}]}, "inners[0].size"),
        ({"inners": [], "weights": {"a": 1.0}}, "weights"),
    ],
)
def test_errors_name_the_path(value: Any, path: str | None):
    with pytest.raises(InvalidValue) as caught:
        convert(value, Outer)
    assert caught.value.field == path
    with pytest.raises(InvalidValue) as caught:
        convert(value, Outer, under="here[2]")
    assert caught.value.field == ("here[2]" if path is None else f"here[2].{path}")
