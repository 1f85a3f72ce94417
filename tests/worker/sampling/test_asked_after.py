"""A grammar that is asked once a token is drawn: the same distribution as drawing under its mask."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from quire.base.constraints import Constraint, Grammar
from quire.base.messages import SamplingParams, SequenceStart
from quire.model.checkpoint import builtin_folder
from quire.worker.grammar import GrammarStore, Vocabulary
from quire.worker.sampling import Sampler, SampleRequest

SIZE, END = 2048, 2039
WORD = Constraint(grammar=Grammar(backend="guidance", kind="regex", text="[a-z]{1,9}"))
NUM_DRAWS = 4000


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(builtin_folder(), SIZE, [END])


@pytest.fixture(scope="module")
def allowed(vocabulary):
    matcher = GrammarStore(lambda: vocabulary, 1 << 20).prepare(WORD).result().matcher()
    words = np.zeros(vocabulary.num_words, dtype=np.int32)
    matcher.fill(words)
    return np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)


@pytest.fixture
def sampler(vocabulary):
    return Sampler(SIZE, "raw_logprobs", 20, GrammarStore(lambda: vocabulary, 1 << 20))


def start(number: int, constraint: Constraint | None = WORD, **sampling) -> SequenceStart:
    return SequenceStart(
        sequence_id=number,
        token_ids=[300, 301],
        num_prompt_tokens=2,
        sampling=SamplingParams(**sampling),
        seed=number,
        constraint=constraint,
    )


def draw(sampler: Sampler, logits_RV: torch.Tensor, numbers: list[int], num_samples: int = 1) -> list[int]:
    requests = [SampleRequest(number, num_samples, position=2) for number in numbers]
    rows = sampler.sample(logits_RV.clone(), requests)
    assert not [row.error for row in rows if row.error]
    return [row.token_ids[0] for row in rows]


def random_logits(rows: int) -> torch.Tensor:
    return 3 * torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(5))


def test_tokens_have_the_distribution_of_the_mask(sampler, allowed):
    logits = random_logits(1)
    sampler.start(start(7, temperature=0.8))
    found = Counter(draw(sampler, logits, [7], NUM_DRAWS))
    weights = np.where(allowed, np.exp(logits[0].double().numpy() / 0.8), 0)
    assert weights.sum() < 0.7 * np.exp(logits[0].double().numpy() / 0.8).sum()  # so many are drawn again
    shares = weights / weights.sum()
    assert all(allowed[token] for token in found)
    likely = np.argsort(shares)[-30:]
    for token in likely:
        expected = NUM_DRAWS * shares[token]
        assert abs(found[int(token)] - expected) < 5 * np.sqrt(expected)


def test_what_the_grammar_allows_is_what_a_free_row_draws(sampler, allowed):
    logits, numbers = random_logits(64), list(range(64))
    for number in numbers:
        sampler.start(start(number, None))
    free = draw(sampler, logits, numbers)
    for number in numbers:
        sampler.start(start(number))
    held = draw(sampler, logits, numbers)
    kept = [one for one in numbers if allowed[free[one]]]
    assert 5 < len(kept) < 59
    assert [held[one] for one in kept] == [free[one] for one in kept]
    assert all(allowed[token] for token in held)


@pytest.mark.parametrize("more", [{}, {"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.2}, {"temperature": 0.0}])
def test_a_row_alone_draws_as_in_company(more, sampler):
    logits, numbers = random_logits(24), list(range(24))
    for number in numbers:
        sampler.start(start(number, **(more if number % 2 else {})))
    together = draw(sampler, logits, numbers)
    for number in numbers:
        sampler.start(start(number, **(more if number % 2 else {})))
    assert [draw(sampler, logits[one : one + 1], [one])[0] for one in numbers] == together


def test_truncation_goes_by_what_is_allowed(sampler, allowed):
    logits = random_logits(16)
    for number in range(16):
        sampler.start(start(number, top_k=1))
    masked = np.where(allowed, logits.numpy(), -np.inf)
    assert draw(sampler, logits, list(range(16))) == masked.argmax(axis=1).tolist()
