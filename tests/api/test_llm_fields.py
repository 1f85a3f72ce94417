"""Parameters of sampling that only a real engine shows: each next to what happens without it."""

from __future__ import annotations

import pytest

from quire import LLM, SamplingParams
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import RepetitionDetection
from quire.text.session import FlatLogprobs
from tests.model.tiny import VOCAB, tiny_checkpoint

PROMPT = [5 + 3 * place % 140 for place in range(70)]


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    folder = tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))
    return LLM(str(folder), dtype="float32", max_num_batched_tokens=32, num_gpu_blocks_override=64)


def generate(llm, prompt=PROMPT, **fields):
    params = SamplingParams(**{"temperature": 0.0, "max_tokens": 4, "ignore_eos": True, **fields})
    (output,) = llm.generate([prompt], params, use_tqdm=False)
    return output


def test_listed_tokens_are_told_beside_the_leading_ones(llm):
    every = generate(llm, logprobs=20, prompt_logprobs=20)
    listed = generate(llm, logprob_token_ids=[3, 9], prompt_logprobs=0, prompt_logprob_token_ids=[7])
    for whole, told in zip(every.outputs[0].logprobs, listed.outputs[0].logprobs, strict=True):
        assert {3, 9} <= told.keys() and len(told) <= 3
        for token_id in told.keys() & whole.keys():
            assert told[token_id].logprob == whole[token_id].logprob
    assert [None if one is None else 7 in one for one in listed.prompt_logprobs] == [None] + [True] * 69
    assert listed.outputs[0].cumulative_logprob == every.outputs[0].cumulative_logprob


@pytest.mark.parametrize("start", [0, 1, 5, 33, 64, 69, 70, 200])
def test_prompt_positions_before_the_start_are_not_scored(llm, start):
    whole = generate(llm, prompt_logprobs=1).prompt_logprobs
    part = generate(llm, prompt_logprobs=1, prompt_logprob_start=start).prompt_logprobs
    assert part == [None if place < start else entry for place, entry in enumerate(whole)]


def test_flat_log_probabilities_read_like_the_others(llm):
    plain = generate(llm, logprobs=2, prompt_logprobs=1)
    flat = generate(llm, logprobs=2, prompt_logprobs=1, flat_logprobs=True)
    for one, other in (
        (plain.outputs[0].logprobs, flat.outputs[0].logprobs),
        (plain.prompt_logprobs, flat.prompt_logprobs),
    ):
        assert isinstance(other, FlatLogprobs)
        assert list(other) == [entry or {} for entry in one]
        assert list(other[1:3]) == [entry or {} for entry in one[1:3]]


def test_the_prefix_cache_is_left_alone_where_the_request_says_so(llm):
    generate(llm)
    assert generate(llm).num_cached_tokens == 64
    skipping = generate(llm, skip_reading_prefix_cache=True)
    assert skipping.num_cached_tokens == 0
    assert skipping.outputs[0].token_ids == generate(llm).outputs[0].token_ids


def test_a_repetition_ends_the_reply_with_its_own_reason(llm):
    only = {"allowed_token_ids": [7], "max_tokens": 50}
    found = RepetitionDetection(max_pattern_size=3, min_pattern_size=2, min_count=4)
    sample = generate(llm, **only, repetition_detection=found).outputs[0]
    assert (len(sample.token_ids), sample.finish_reason) == (8, "repetition")
    assert generate(llm, **only).outputs[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("tokens", "first", "fields", "ends"),
    [
        ([9, 9, 1, 2, 1, 2, 1, 2], 1, (3, 0, 3), True),
        ([1, 2, 1, 2, 1], 0, (3, 0, 3), False),
        ([5, 5, 5], 0, (3, 0, 3), True),
        ([5, 5, 5], 1, (3, 0, 3), False),  # the first one is the prompt's
        ([5, 5, 5, 5], 0, (3, 2, 2), True),
        ([5, 5, 5], 0, (3, 2, 2), False),
        ([7, 2, 3, 1, 2, 3, 1, 2, 3], 0, (3, 1, 3), False),
        ([1, 1, 1], 0, (0, 0, 0), False),
    ],
)
def test_what_counts_as_a_repetition(tokens, first, fields, ends):
    found = RepetitionDetection(max_pattern_size=fields[0], min_pattern_size=fields[1], min_count=fields[2])
    assert found.ends(tokens, first) is ends


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"logprob_token_ids": [VOCAB]}, InvalidValue),
        ({"prompt_logprob_token_ids": [1]}, InvalidValue),
        ({"thinking_token_budget": 3}, Unsupported),
        ({"truncation_side": "left"}, InvalidValue),
    ],
)
def test_what_cannot_be_is_refused_by_name(llm, fields, error):
    with pytest.raises(error) as caught:
        generate(llm, **fields)
    assert caught.value.field == next(iter(fields))
