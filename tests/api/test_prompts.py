"""Prompts of `LLM` and `AsyncLLM` as dicts: vectors in place of tokens, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from quire import LLM, AsyncLLM, SamplingParams
from quire.base.errors import InvalidValue, Unsupported
from quire.text.session import BeamSearchParams, RequestOutput
from tests.model.tiny import random_prompts, tiny_checkpoint, tiny_model

TOKENS = random_prompts((20,))[0]
ASK = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True, logprobs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def llm(folder: Path) -> LLM:
    return LLM(str(folder), dtype="float32", num_gpu_blocks_override=64, enable_prompt_embeds=True)


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    """The model's own vectors of the tokens."""
    return tiny_model("qwen3").get_input_embeddings().weight[torch.tensor(TOKENS)]


def said(output: RequestOutput) -> tuple:
    (sample,) = output.outputs
    return sample.token_ids, sample.logprobs


@pytest.mark.parametrize(
    "shape", [lambda rows: rows, lambda rows: rows[None], lambda rows: rows.detach().numpy()]
)
def test_vectors_of_tokens_are_continued_as_the_tokens(llm, rows, shape):
    prompts = [{"prompt_embeds": shape(rows)}, {"prompt_token_ids": TOKENS}]
    vectors, tokens = llm.generate(prompts, ASK, use_tqdm=False)
    assert said(vectors) == said(tokens)
    assert (vectors.prompt_token_ids, tokens.prompt_token_ids) == ([], TOKENS)
    (again,) = llm.generate(prompts[0], ASK, use_tqdm=False)
    assert said(again) == said(tokens) and again.num_cached_tokens == 16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_vectors_of_less_precision_mean_those_numbers(llm, rows, dtype):
    short = rows.to(dtype)
    one, other = llm.generate(
        [{"prompt_embeds": short}, {"prompt_embeds": short.float()}], ASK, use_tqdm=False
    )
    assert said(one) == said(other)


async def test_an_engine_in_its_own_process_takes_vectors_too(llm, folder, rows):
    apart = AsyncLLM(str(folder), dtype="float32", num_gpu_blocks_override=64, enable_prompt_embeds=True)
    try:
        outputs = [output async for output in apart.generate({"prompt_embeds": rows}, ASK)]
    finally:
        await apart.shutdown()
    assert said(outputs[-1]) == said(llm.generate(TOKENS, ASK, use_tqdm=False)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:, 1:], r"has the shape \(20, 63\), and this model takes \(tokens, 64\)"),
        (lambda rows: rows[:0], r"has the shape \(0, 64\)"),
        (lambda rows: rows * torch.inf, "holds numbers that are not finite"),
        (lambda rows: rows.double(), "is float64"),
        (lambda rows: rows.int(), "is int32"),
        (lambda rows: rows.tolist(), "is list"),
    ],
)
def test_what_is_no_matrix_of_the_model_is_refused(llm, rows, change, message):
    with pytest.raises(InvalidValue, match=f"^prompt_embeds {message}"):
        llm.generate({"prompt_embeds": change(rows)}, ASK)


def test_vectors_that_do_not_fit_are_refused(llm):
    for other in ({"prompt": "a"}, {"prompt_token_ids": [5]}):
        with pytest.raises(
            InvalidValue, match=r"^prompt_embeds and a prompt of another kind exclude each other"
        ):
            llm.generate({"prompt_embeds": np.zeros((2, 64), np.float32), **other}, ASK)
    with pytest.raises(InvalidValue, match="prompt has 600 tokens"):
        llm.generate({"prompt_embeds": np.zeros((600, 64), np.float32)}, ASK)
    with pytest.raises(Unsupported, match=r"^prompt_logprobs is not supported with prompt_embeds"):
        llm.generate({"prompt_embeds": np.zeros((2, 64), np.float32)}, SamplingParams(prompt_logprobs=1))


def test_vectors_are_taken_by_generate_alone_and_only_where_it_is_switched_on(llm, folder, rows):
    with pytest.raises(Unsupported, match=r"^prompt_embeds is taken by generate alone"):
        llm.beam_search({"prompt_embeds": rows}, BeamSearchParams(beam_width=2, max_tokens=2))
    for settings in ({}, {"runner": "pooling", "enable_prompt_embeds": True}):
        other = LLM(str(folder), dtype="float32", num_gpu_blocks_override=64, **settings)
        call = other.embed if settings else other.generate
        with pytest.raises(Unsupported, match="only with enable_prompt_embeds=True") as caught:
            call({"prompt_embeds": rows})
        assert caught.value.field == "prompt_embeds"


@pytest.mark.parametrize("name", ["multi_modal_data", "prompt_token_id"])
def test_what_a_prompt_dict_does_not_take_is_refused_by_name(llm, name):
    with pytest.raises(
        Unsupported, match=f"^{name} of a prompt dict is not supported; it takes prompt, prompt_token_ids"
    ):
        llm.generate({"prompt": "a", name: [1]}, ASK)
    with pytest.raises(InvalidValue, match="a prompt dict needs prompt or prompt_token_ids or prompt_embeds"):
        llm.generate({"cache_salt": "a"}, ASK)
