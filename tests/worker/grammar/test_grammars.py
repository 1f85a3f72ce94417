"""A sequence's place in a grammar: before, in and after reasoning, rebuilt from its tokens, in every library."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.base.constraints import Constraint, Grammar
from quire.base.errors import EngineFault
from quire.model.checkpoint import BUILTIN_MODEL, locate_model
from quire.worker.grammar import GrammarRefused, GrammarStore, Vocabulary

FOLDER = locate_model(BUILTIN_MODEL, revision=None, download_dir=None)
END = 2037
VOCABULARY = Vocabulary(FOLDER, 2048, [END])
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


def store(budget_bytes: int = 1 << 30) -> GrammarStore:
    return GrammarStore(lambda: VOCABULARY, budget_bytes)


def allowed(progress) -> list[int]:
    return np.flatnonzero(np.unpackbits(progress.mask().view(np.uint8), bitorder="little")).tolist()


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=60))
@settings(deadline=None, max_examples=30)
def test_whatever_is_chosen_the_end_is_valid_json_and_a_rebuilt_place_is_the_same(choices):
    grammars, constraint = store(), Constraint(grammar=Grammar("guidance", "json_schema", json.dumps(SCHEMA)))
    progress, said = grammars.progress(constraint, []), []
    for choice in choices:
        ids = allowed(progress)
        assert allowed(grammars.progress(constraint, said)) == ids
        token_id = END if END in ids else ids[choice % len(ids)]
        assert progress.allows(token_id)
        progress.accept(token_id)
        if token_id == END:
            value = json.loads(b"".join(map(VOCABULARY.bytes_of, said)))
            assert isinstance(value["a"], int) and value["b"] in ("x", "y")
            return
        said.append(token_id)


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=60))
@settings(deadline=None, max_examples=30)
def test_the_only_token_is_told_exactly_where_there_is_one(choices):
    grammars, constraint = store(), Constraint(grammar=Grammar("guidance", "json_schema", json.dumps(SCHEMA)))
    progress = grammars.progress(constraint, [])
    for choice in choices:
        told = progress.only_token()  # before the mask is made: greedy sequences have none
        ids = allowed(progress)
        assert told == (ids[0] if len(ids) == 1 else None) == progress.only_token()
        token_id = END if END in ids else ids[choice % len(ids)]
        progress.accept(token_id)
        if token_id == END:
            return


def test_reasoning_is_free_but_for_the_end_and_one_line_end_may_follow_it():
    think, end_think = (
        VOCABULARY.library.tokenize_str(m, parse_special=True)[0] for m in ("<think>", "</think>")
    )
    constraint = Constraint(
        grammar=Grammar("guidance", "choice", '["yes"]'),
        reasoning_begin_ids=[think],
        reasoning_ends=["</think>"],
    )
    progress = store().progress(constraint, [])
    assert progress.allows(think) and think in allowed(progress)
    progress.accept(think)
    assert allowed(progress) == [token_id for token_id in range(VOCABULARY.size) if token_id != END]
    assert progress.allows(5) and not progress.allows(END) and not progress.must_end
    for token_id in (5, 6, end_think):
        progress.accept(token_id)
    (line_end, *_) = VOCABULARY.line_end_ids
    assert line_end in allowed(progress)
    progress.accept(line_end)
    assert line_end not in allowed(progress)
    for token_id in VOCABULARY.library.tokenize_str("yes"):
        progress.accept(token_id)
    assert allowed(progress) == [END]
    assert progress.must_end
    bare = store().progress(constraint, [])
    bare.accept(VOCABULARY.library.tokenize_str("yes")[0])
    assert think not in allowed(bare)


def test_a_token_against_the_grammar_fails_the_sequence():
    progress = store().progress(Constraint(grammar=Grammar("guidance", "regex", "a+")), [7])
    assert not progress.allows(7)
    with pytest.raises(EngineFault, match="cannot be followed any further"):
        progress.mask()


def test_the_least_used_grammars_go_when_the_budget_is_full():
    grammars = store(budget_bytes=300_000)
    constraints = [
        Constraint(grammar=Grammar("guidance", "regex", f"a{{{n}}}"), num_bytes=100_000) for n in (1, 2, 3)
    ]
    futures = [grammars.prepare(one) for one in constraints]
    assert grammars.held_bytes < 300_000
    assert grammars.prepare(constraints[2]) is futures[2]
    assert grammars.prepare(constraints[0]) is not futures[0]


@pytest.mark.parametrize(
    "backend", ["guidance", "outlines", pytest.param("xgrammar", marks=pytest.mark.slow)]
)
def test_every_library_says_the_same(backend):
    if backend == "xgrammar" and importlib.util.find_spec("xgrammar") is None:
        pytest.skip("xgrammar is an extra")
    grammars = store()
    for kind, text, good in (
        ("regex", "[0-9]{2}", "42"),
        ("choice", '["red", "green"]', "green"),
        ("json_schema", '{"enum": ["x"]}', '"x"'),
    ):
        progress = grammars.progress(Constraint(grammar=Grammar(backend, kind, text)), [])
        for token_id in VOCABULARY.library.tokenize_str(good):
            assert END not in allowed(progress)
            assert progress.allows(token_id) and token_id in allowed(progress)
            progress.accept(token_id)
        assert allowed(progress) == [END]
    with pytest.raises(GrammarRefused):
        grammars.prepare(Constraint(grammar=Grammar(backend, "regex", "("))).result()


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ({}, "has `format`"),
        ({"format": {"type": "song"}}, "no type of a structural tag"),
        ({"format": {"type": "sequence", "elements": []}}, "at least one"),
        ({"format": {"type": "const_string"}}, "value of a const_string"),
        ({"structures": [{"begin": "<a>", "end": "</a>", "schema": {}}], "triggers": ["<b>"]}, "no trigger"),
    ],
)
def test_a_broken_structural_tag_is_refused_with_its_reason(tag, reason):
    grammar = Grammar("guidance", "structural_tag", json.dumps(tag))
    with pytest.raises(GrammarRefused, match=reason):
        store().prepare(Constraint(grammar=grammar)).result()
