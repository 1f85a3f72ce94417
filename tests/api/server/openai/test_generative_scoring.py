"""Scores of label tokens: what reaches the engine, how probabilities are shared, and what is refused."""

from __future__ import annotations

import math

import pytest
from tests.api.server import scripted_engine

from quire.api.server.openai.generative_scoring import label_scores
from quire.base.messages import PositionLogprobs

PATH = "/generative_scoring"


@pytest.fixture(autouse=True)
def listed(monkeypatch):
    """The scripted engine tells the labels 7 and 9 beside the token it draws."""

    def with_labels(token_id, num_top, listed=()):
        return PositionLogprobs([token_id, 7, 9], [-0.1, math.log(0.2), math.log(0.6)], 1, 2)

    monkeypatch.setattr(scripted_engine, "_logprobs", with_labels)


async def score(http, **fields):
    body = {"query": "one ", "items": ["two", "three"], "label_token_ids": [9, 7], **fields}
    reply = await http.post(PATH, json=body)
    return reply.status_code, reply.json()


async def test_each_item_is_scored_after_the_query(http, engine, tokenizer):
    status, reply = await score(http)
    assert status == 200, reply
    assert [one["index"] for one in reply["data"]] == [0, 1]
    assert reply["data"][0]["score"] == pytest.approx(0.75)
    assert reply["data"][0]["label_scores"] == pytest.approx([0.75, 0.25])
    prompts = [request.prompt_token_ids for request in engine.requests]
    assert prompts == [tokenizer.encode("one two"), tokenizer.encode("one three")]
    assert {request.sampling.max_tokens for request in engine.requests} == {1}
    assert reply["usage"]["prompt_tokens"] == sum(map(len, prompts))


async def test_probabilities_may_be_those_of_the_whole_vocabulary(http):
    _, reply = await score(http, apply_softmax=False)
    assert reply["data"][1]["label_scores"] == pytest.approx([0.6, 0.2])


async def test_the_item_may_come_first_and_tokens_do_as_well(http, engine):
    await score(http, query=[1, 2], items=[[3], [4, 5]], item_first=True)
    assert [request.prompt_token_ids for request in engine.requests] == [[3, 1, 2], [4, 5, 1, 2]]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"items": []}, "items"),
        ({"items": [[1]]}, "items"),
        ({"items": [""], "query": ""}, "items"),
        ({"label_token_ids": []}, "label_token_ids"),
        ({"label_token_ids": [10**6]}, "label_token_ids"),
        ({"model": "other"}, "model"),
        ({"temperature": 1}, "temperature"),
    ],
)
async def test_what_is_wrong_is_named(http, fields, name):
    status, reply = await score(http, **fields)
    assert 400 <= status < 500
    assert reply["error"]["param"] == name


def test_shares_of_far_apart_labels_are_finite():
    assert label_scores([-1e4, -1e4 - 1], shared=True) == pytest.approx([0.7310586, 0.2689414])
    assert label_scores([-9999.0, -math.inf], shared=True) == [1.0, 0.0]
