"""T-16 to T-20: schemas, regexes and grammars that are broken, explode or hang harm nobody but their own request."""

from __future__ import annotations

import copy
import json
import threading
import time
from random import Random
from typing import Any

import pytest

from tests.fuzz.mutate import mutated_json
from tests.security.conftest import Guarded

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Answer yes or no."}], "max_tokens": 4}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 9},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", None, 1.5]}, "maxItems": 3},
        "kind": {"anyOf": [{"const": 1}, {"$ref": "#/$defs/other"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"other": {"type": "object", "properties": {"x": {"type": "boolean"}}}},
}
NUM_MUTATED = 150  # each is compiled in a process of its own


def asking(schema: Any) -> list[dict[str, Any]]:
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    return [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}},
        {"structured_outputs": {"json": schema}},
        {"tools": [tool], "tool_choice": "required"},
    ]


def test_mutated_schemas(guarded: Guarded) -> None:
    """T-16: CVE-2026-9540, CVE-2025-48944: a malformed schema is answered or refused by name, on every way in."""
    random = Random(16)
    source = json.dumps(SCHEMA).encode()
    for number in range(NUM_MUTATED):
        try:
            schema = json.loads(mutated_json(source, random))
        except ValueError:
            continue
        ways = asking(schema)
        body = {**CHAT, **ways[number % len(ways)]}
        status, text, seconds = guarded.post("/v1/chat/completions", body)
        assert status in (200, 400), (status, text[:300], schema)
        assert seconds < 15.0


@pytest.mark.parametrize(
    "regex",
    [
        "foo**",
        "(",
        "\\",
        "(?<=a)b",
        "(?<!a)b",
        "(a{1,1000}){1,1000}",
        "[",
        "a{5,2}",
        "(?P<x>a)(?P=x)",
        "\\1",
        "*",
        "",
        "a" * 20_000,
    ],
    ids=lambda text: text[:20],
)
def test_broken_and_huge_regexes(regex: str, guarded: Guarded) -> None:
    """T-17: CVE-2025-48942, CVE-2025-48943, #17313, #19270."""
    status, text, seconds = guarded.post(
        "/v1/completions", {"prompt": "x", "max_tokens": 2, "structured_outputs": {"regex": regex}}
    )
    assert status in (200, 400), text[:300]
    assert seconds < 15.0


MALFORMED: list[dict[str, Any]] = [
    {"json_object": False},
    {"json": ""},
    {"json": 7},
    {"choice": []},
    {"choice": [1]},
    {"grammar": "root ::= root root"},
    {"grammar": "start: missing"},
    {"grammar": ""},
    {"regex": "a", "choice": ["b"]},
    {"structural_tag": "{}"},
    {},
]


def test_good_and_bad_grammars_side_by_side(guarded: Guarded) -> None:
    """T-18: #45346, #43920, #51467: a malformed grammar after a good one, in one batch."""
    good = {"prompt": "x", "max_tokens": 4, "temperature": 0, "structured_outputs": {"choice": ["yes", "no"]}}
    status, text, _ = guarded.post("/v1/completions", good)
    assert status == 200, text
    expected = json.loads(text)["choices"][0]["text"]
    assert expected in ("yes", "no")
    answers: list[tuple[int, str]] = []

    def ask_well() -> None:
        for _ in range(len(MALFORMED)):
            status, text, _ = guarded.post("/v1/completions", good)
            answers.append((status, json.loads(text)["choices"][0]["text"] if status == 200 else text))

    threads = [threading.Thread(target=ask_well) for _ in range(4)]
    for thread in threads:
        thread.start()
    for constraint in MALFORMED:
        bad = {**good, "structured_outputs": constraint}
        status, text, _ = guarded.post("/v1/completions", bad)
        assert status in (200, 400), (constraint, text[:300])
    for thread in threads:
        thread.join()
    assert answers == [(200, expected)] * len(answers)


@pytest.mark.timeout(180)
def test_hostile_compiles_hold_up_no_other(guarded: Guarded) -> None:
    """T-19: GHSA-rwxx-mrjm-wc2m: eight grammars that explode at once, and one beside them that does not."""
    nested: Any = {"type": "string"}
    for _ in range(10):
        nested = {"anyOf": [copy.copy(nested), {"type": "array", "items": nested, "minItems": 3}]}
    hostile = [
        {"regex": "(" * 200 + "a" + "){1,9}" * 200},
        {"regex": "((a|b)?){1,2000}((b|c)?){1,2000}x{1,3000}"},
        {"json": nested},
        {"json": {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$", "maxLength": 100_000}},
    ] * 2
    statuses: list[int] = []

    def attack(constraint: dict[str, Any]) -> None:
        body = {"prompt": "x", "max_tokens": 2, "structured_outputs": constraint}
        statuses.append(guarded.post("/v1/completions", body)[0])

    threads = [threading.Thread(target=attack, args=(constraint,)) for constraint in hostile]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    innocent = {"prompt": "x", "max_tokens": 4, "structured_outputs": {"choice": ["up", "down"]}}
    status, text, seconds = guarded.post("/v1/completions", innocent)
    assert status == 200, text
    assert seconds < 20.0
    plain, text, seconds = guarded.post("/v1/completions", {"prompt": "x", "max_tokens": 4})
    assert plain == 200 and seconds < 5.0, (plain, seconds)
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 400}, statuses


def test_unique_schemas_leave_nothing_behind(guarded: Guarded) -> None:
    """T-20: CVE-2025-29770, CVE-2025-32381: the cache has a bound in bytes; `guarded` looks at the memory."""
    for number in range(60):
        schema = {"type": "object", "properties": {f"p{number}_{i}": {"type": "string"} for i in range(50)}}
        body = {"prompt": "x", "max_tokens": 1, "structured_outputs": {"json": schema}}
        assert guarded.post("/v1/completions", body)[0] == 200
