"""T-24: every value of every feature of a request meets every value of every other one, at least once."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from tests.security.conftest import Guarded

FEATURES: dict[str, list[dict[str, Any]]] = {
    "sampling": [
        {"temperature": 0},
        {"temperature": 1.5, "seed": 3},
        {"temperature": 0.7, "top_k": 5, "seed": 1},
    ],
    "cut": [{}, {"top_p": 0.1}, {"min_p": 0.5}, {"top_k": 1}],
    "penalties": [{}, {"repetition_penalty": 1.9, "presence_penalty": -2}, {"frequency_penalty": 2}],
    "bias": [
        {},
        {"logit_bias": {"5": 100, "9": -100}},
        {"allowed_token_ids": [5, 6, 7]},
        {"bad_words": ["the", " a"]},
    ],
    "samples": [{}, {"n": 3}],
    "logprobs": [{}, {"logprobs": 5}, {"logprobs": 0}],
    "prompt": [{}, {"prompt_logprobs": 3}, {"echo": True}, {"truncate_prompt_tokens": 2}],
    "end": [{}, {"stop": ["e", "zz"]}, {"stop_token_ids": [5], "min_tokens": 3}, {"ignore_eos": True}],
    "stream": [
        {},
        {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    ],
    "ids": [{}, {"return_token_ids": True}, {"return_tokens_as_token_ids": True}],
    "cache": [{}, {"cache_salt": "x"}, {"priority": 0}],
}


def all_pairs() -> list[dict[str, Any]]:
    """Requests in which each pair of values of two features comes together at least once (greedily few)."""
    names = list(FEATURES)
    open_pairs = {
        (a, i, b, j)
        for a, b in combinations(names, 2)
        for i in range(len(FEATURES[a]))
        for j in range(len(FEATURES[b]))
    }
    rows: list[dict[str, Any]] = []
    while open_pairs:
        a, i, b, j = min(open_pairs)
        chosen = {a: i, b: j}
        for name in names:
            if name not in chosen:
                chosen[name] = max(
                    range(len(FEATURES[name])),
                    key=lambda value: sum(
                        pair_of(name, value, other, at) in open_pairs for other, at in chosen.items()
                    ),
                )
        open_pairs -= {pair_of(x, chosen[x], y, chosen[y]) for x, y in combinations(names, 2)}
        rows.append({key: value for name in names for key, value in FEATURES[name][chosen[name]].items()})
    return rows


def pair_of(a: str, i: int, b: str, j: int) -> tuple[str, int, str, int]:
    names = list(FEATURES)
    return (a, i, b, j) if names.index(a) < names.index(b) else (b, j, a, i)


@pytest.mark.parametrize("features", all_pairs(), ids=json.dumps)
def test_features_that_meet(features: dict[str, Any], guarded: Guarded) -> None:
    """T-24: CVE-2026-44223, GHSA-8wr5-jm2h-8r4f: two features that are each right and together end the engine.
    Answered, or refused by name where the two contradict; what comes out are tokens of the vocabulary."""
    body = {"prompt": "Once upon", "max_tokens": 6, **features}
    status, text, _ = guarded.post("/v1/completions", body)
    assert status in (200, 400), text
    if status == 400:
        assert json.loads(text)["error"]["param"] in body, text
