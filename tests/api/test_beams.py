"""Beam search against a scalar search over transformers' logits: the same continuations in the same order."""

from __future__ import annotations

import math

import pytest
import torch

from quire import LLM, BeamSearchParams
from quire.base.errors import InvalidValue, Unsupported
from tests.model.tiny import EOS, VOCAB, tiny_checkpoint, tiny_model

PROMPTS = [[5, 9, 33, 71], [100], [20 + place for place in range(40)]]


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    folder = tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))
    return LLM(str(folder), dtype="float32", max_num_seqs=16, num_gpu_blocks_override=256)


@pytest.fixture(scope="module")
def network():
    return tiny_model("qwen3")


def oracle(network, prompt, width, max_tokens, penalty, *, ends, allowed=None):
    """Every beam from its whole text, candidates two to a beam, nothing left out early."""
    live, ended = [([], 0.0)], []
    for _ in range(max_tokens):
        grown = []
        for tokens, total in live:
            with torch.no_grad():
                row = network(torch.tensor([prompt + tokens])).logits[0, -1].log_softmax(0)
            ranked = sorted(allowed or range(VOCAB), key=lambda token: -row[token].item())[: 2 * width]
            for token in ranked:
                child = ([*tokens, token], total + row[token].item())
                (ended if token in ends else grown).append(child)
        live = sorted(grown, key=lambda beam: -beam[1])[:width]

    def score(beam):
        tokens, total = beam
        return total / (len(prompt) + len(tokens) - (tokens[-1] in ends)) ** penalty

    return sorted(ended + live, key=score, reverse=True)[:width]


@pytest.mark.parametrize(
    ("width", "max_tokens", "penalty", "ignore_eos"),
    [(1, 6, 1.0, False), (3, 8, 1.0, False), (3, 8, 3.0, False), (4, 6, 0.0, True), (4, 9, -1.0, False)],
)
def test_the_best_are_those_of_a_scalar_search(llm, network, width, max_tokens, penalty, ignore_eos):
    ends = set() if ignore_eos else {EOS}
    params = BeamSearchParams(
        beam_width=width, max_tokens=max_tokens, length_penalty=penalty, ignore_eos=ignore_eos
    )
    outputs = llm.beam_search(PROMPTS, params)
    for prompt, output in zip(PROMPTS, outputs, strict=True):
        expected = oracle(network, prompt, width, max_tokens, penalty, ends=ends)
        shown = [prompt + [one for one in tokens if one not in ends] for tokens, _ in expected]
        assert [sequence.tokens for sequence in output.sequences] == shown
        for sequence, (tokens, total) in zip(output.sequences, expected, strict=True):
            assert math.isclose(sequence.cum_logprob, total, abs_tol=1e-3)
            assert sequence.finish_reason == ("stop" if tokens[-1] in ends else "length")
            assert len(sequence.logprobs) == len(tokens)
            own = sum(
                position[token].logprob for token, position in zip(tokens, sequence.logprobs, strict=True)
            )
            assert math.isclose(own, total, abs_tol=1e-3)


def test_only_allowed_tokens_are_looked_at(llm, network):
    allowed = list(range(40, 60))
    params = BeamSearchParams(beam_width=3, max_tokens=5, allowed_token_ids=allowed)
    (output,) = llm.beam_search([PROMPTS[0]], params)
    expected = oracle(network, PROMPTS[0], 3, 5, 1.0, ends={EOS}, allowed=allowed)
    assert [sequence.tokens for sequence in output.sequences] == [
        PROMPTS[0] + tokens for tokens, _ in expected
    ]


def test_how_many_prompts_are_worked_on_at_once_changes_nothing(llm):
    params = BeamSearchParams(beam_width=2, max_tokens=5)
    one, all_of_them = (llm.beam_search(PROMPTS, params, concurrency_limit=limit) for limit in (1, None))
    assert one == all_of_them
    assert not llm._client.has_work


def test_what_cannot_be_searched_is_refused_by_name(llm):
    for fields, error, name in (
        ({"beam_width": 0}, InvalidValue, "beam_width"),
        ({"beam_width": 2, "length_penalty": math.nan}, InvalidValue, "length_penalty"),
        ({"beam_width": 2, "structured_outputs": {"regex": "a"}}, Unsupported, "structured_outputs"),
        ({"beam_width": 2, "allowed_token_ids": [1]}, InvalidValue, "allowed_token_ids"),
        ({"beam_width": 11}, InvalidValue, "n"),
    ):
        with pytest.raises(error) as caught:
            llm.beam_search([PROMPTS[0]], BeamSearchParams(**{"max_tokens": 4, **fields}))
        assert caught.value.field == name
