"""A budget of reasoning: counted from its beginning, ended by its marker, wherever the sequence is taken up again."""

from __future__ import annotations

import msgspec
import pytest
import torch
from tests.worker.sampling.test_sampler import VOCAB, request_for, sequence

from quire.base.messages import ThinkingBudget
from quire.worker.sampling import Sampler

BEGIN, END, OTHER = 11, 12, 20


def stream(budget, num_tokens, *, prefers, outputs=(), seed=None):
    """What a model says that gives `prefers(place)` the largest logit; seeded draws follow suit."""
    sampling = {"temperature": 0.0} if seed is None else {"temperature": 0.5}
    start = sequence(outputs=list(outputs), seed=seed or 0, **sampling)
    sampler = Sampler(VOCAB, "raw_logprobs", -1)
    sampler.start(msgspec.structs.replace(start, thinking=budget))
    said = list(outputs)
    while len(said) < num_tokens:
        logits = torch.zeros(1, VOCAB)
        logits[0, prefers(len(said))] = 50.0
        (row,) = sampler.sample(logits, [request_for(start)])
        said += row.token_ids
    return said


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("limit", [0, 1, 4])
def test_reasoning_ends_when_its_budget_is_spent(limit, seed):
    begins = ThinkingBudget(max_tokens=limit, end_id=END, forced_ids=[END], begin_ids=[BEGIN])
    said = stream(begins, 10, prefers=lambda place: BEGIN if place == 0 else OTHER, seed=seed)
    assert said == [BEGIN, *[OTHER] * limit, END, *[OTHER] * (8 - limit)]
    inside = ThinkingBudget(max_tokens=limit, end_id=END, forced_ids=[END], starts_inside=True)
    said = stream(inside, 10, prefers=lambda place: OTHER, seed=seed)
    assert said == [*[OTHER] * limit, END, *[OTHER] * (9 - limit)]


@pytest.mark.parametrize("num_known", range(9))
def test_a_whole_sentence_may_end_it(num_known):
    budget = ThinkingBudget(max_tokens=2, end_id=END, forced_ids=[30, END + 1, END], begin_ids=[BEGIN])

    def prefers(place):
        return BEGIN if place == 0 else OTHER

    whole = [BEGIN, OTHER, OTHER, 30, END + 1, END, OTHER, OTHER, OTHER]
    assert stream(budget, 9, prefers=prefers, outputs=whole[:num_known]) == whole
    early = stream(budget, 5, prefers=lambda place: (BEGIN, OTHER, END, OTHER, OTHER)[place])
    assert early == [BEGIN, OTHER, END, OTHER, OTHER]


def test_reasoning_that_ends_by_itself_is_left_alone():
    budget = ThinkingBudget(max_tokens=5, end_id=END, forced_ids=[END], starts_inside=True)
    said = stream(budget, 12, prefers=lambda place: END if place == 2 else OTHER)
    assert said == [OTHER, OTHER, END, *[OTHER] * 9]


def test_a_reply_without_reasoning_is_left_alone():
    budget = ThinkingBudget(max_tokens=1, end_id=END, forced_ids=[END], begin_ids=[BEGIN])
    assert stream(budget, 6, prefers=lambda place: OTHER) == [OTHER] * 6


@pytest.mark.parametrize("num_known", range(8))
def test_a_sequence_that_is_taken_up_again_goes_on_as_it_would_have(num_known):
    budget = ThinkingBudget(max_tokens=3, end_id=END, forced_ids=[END], begin_ids=[BEGIN])

    def prefers(place):
        return BEGIN if place == 1 else OTHER

    whole = stream(budget, 8, prefers=prefers)
    assert whole == [OTHER, BEGIN, OTHER, OTHER, OTHER, END, OTHER, OTHER]
    assert stream(budget, 8, prefers=prefers, outputs=whole[:num_known]) == whole


def test_an_end_that_the_model_holds_impossible_comes_all_the_same():
    budget = ThinkingBudget(max_tokens=0, end_id=END, forced_ids=[END], starts_inside=True)
    sampler = Sampler(VOCAB, "raw_logprobs", -1)
    start = msgspec.structs.replace(sequence(temperature=0.0), thinking=budget)
    sampler.start(start)
    logits = torch.zeros(1, VOCAB)
    logits[0, END] = -torch.inf
    assert sampler.sample(logits, [request_for(start)])[0].token_ids == [END]
