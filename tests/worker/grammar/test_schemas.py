"""Random walks through schemas, keyword by keyword: whatever is finished is valid to `jsonschema`."""

from __future__ import annotations

import json
import random

import jsonschema
import numpy as np
import pytest

from quire.base.constraints import Constraint, Grammar
from quire.worker.grammar import GrammarRefused
from tests.worker.grammar.test_grammars import END, VOCABULARY, store

SCHEMAS = [
    {"type": "null"},
    {"type": ["integer", "boolean"]},
    {"type": "integer", "minimum": -3, "maximum": 12},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "pattern": "^[a-c]{1,3}$"},
    {"type": "string", "format": "date"},
    {"enum": [1, "two", None, [3], {"four": 4}]},
    {"const": {"a": ["ü", 1.5]}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
    {"prefixItems": [{"type": "boolean"}, {"const": 1}], "items": False, "type": "array"},
    {"type": "object", "required": ["x"], "properties": {"x": {"enum": ["y"]}}, "maxProperties": 3},
    {"type": "object", "patternProperties": {"^k[0-9]$": {"type": "integer"}}, "additionalProperties": False},
    {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]},
    {"allOf": [{"minimum": 3}, {"maximum": 9}, {"type": "integer"}]},
    {
        "$ref": "#/$defs/list",
        "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}, "maxItems": 2}},
    },
]
REFUSED = [
    {"not": {"type": "string"}},
    {"uniqueItems": True},
    {"type": 5},
    {"$ref": "#/nowhere"},
    {"enum": []},
]
CLOSERS = (b"}", b"]", b'"', b"]}", b'"}')


def walk(constraint: Constraint, seed: int, max_tokens: int = 120) -> bytes | None:
    """A random reply; None where it did not come to an end."""
    chance, said = random.Random(seed), []
    progress = store().progress(constraint, [])
    for _ in range(max_tokens):
        ids = np.flatnonzero(np.unpackbits(progress.mask().view(np.uint8), bitorder="little")).tolist()
        if END in ids:
            return b"".join(map(VOCABULARY.bytes_of, said))
        closing = [token_id for token_id in ids if VOCABULARY.bytes_of(token_id) in CLOSERS]
        said.append(chance.choice(closing if closing and chance.random() < 0.4 else ids))
        progress.accept(said[-1])
    return None


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_what_is_finished_is_valid(schema):
    constraint = Constraint(grammar=Grammar("guidance", "json_schema", json.dumps(schema)))
    finished = [text for seed in range(12) if (text := walk(constraint, seed)) is not None]
    assert finished
    for text in finished:
        jsonschema.Draft202012Validator(schema).validate(json.loads(text))


@pytest.mark.parametrize("schema", REFUSED, ids=json.dumps)
def test_what_cannot_be_held_to_is_refused_before_anything_is_computed(schema):
    with pytest.raises(GrammarRefused):
        store().prepare(Constraint(grammar=Grammar("guidance", "json_schema", json.dumps(schema)))).result()
