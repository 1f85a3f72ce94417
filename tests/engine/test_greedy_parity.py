"""The whole engine against transformers: greedy tokens of every family, however prompts are cut and cached."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

from quire.base.config import CacheConfig, EngineConfig, SchedulerConfig
from quire.base.messages import EngineRequest, SamplingParams
from quire.engine.client import InProcessClient
from quire.model.checkpoint import read_card
from tests.model.tiny import SHAPES, VOCAB, tiny_checkpoint, tiny_model

NUM_OUTPUTS = 24
PROMPT_LENGTHS = (1, 3, 17, 50, 100, 131)
SHARED = 40  # tokens the last two prompts have in common, more than two blocks


@cache
def prompts() -> list[list[int]]:
    source = random.Random(5)
    drawn = [[source.randrange(1, VOCAB) for _ in range(length)] for length in PROMPT_LENGTHS]
    drawn[-1][:SHARED] = drawn[-2][:SHARED]
    return drawn


@cache
def expected(family: str) -> list[list[int]]:
    """transformers, one prompt at a time, without its cache's help: each next token from the whole text."""
    model = tiny_model(family)
    streams = []
    for prompt in prompts():
        ids = torch.tensor([prompt])
        with torch.no_grad():
            grown = model.generate(
                ids, max_new_tokens=NUM_OUTPUTS, do_sample=False, eos_token_id=None, pad_token_id=0
            )
        streams.append(grown[0, len(prompt) :].tolist())
    return streams


@cache
def folder(family: str) -> Path:
    return tiny_checkpoint(family, Path(mkdtemp()))


def run(family: str, *, chunk: int, prefix_caching: bool, num_blocks: int) -> tuple[list[list[int]], int]:
    card = read_card(folder(family), name=family)
    config = EngineConfig(
        card=card,
        dtype="float32",
        max_model_len=256,
        cache=CacheConfig(
            block_size=16, num_blocks=num_blocks, dtype="float32", enable_prefix_caching=prefix_caching
        ),
        scheduler=SchedulerConfig(
            max_num_batched_tokens=512, max_num_seqs=16, long_prefill_token_threshold=chunk
        ),
        num_threads=1,
    )
    client = InProcessClient(config, audit_steps=True)
    for number, prompt in enumerate(prompts()):
        sampling = SamplingParams(temperature=0.0, max_tokens=NUM_OUTPUTS, ignore_eos=True)
        client.submit(
            EngineRequest(request_id=str(number), prompt_token_ids=prompt, sampling=sampling, seed=0)
        )
    streams: list[list[int]] = [[] for _ in prompts()]
    while client.has_work:
        for event in client.step():
            assert event.error is None, event.error
            streams[int(event.request_id)] += event.token_ids
    assert client.stats.num_blocks_used == 0
    return streams, client.stats.num_preemptions


@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize("prefix_caching", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_greedy_tokens_equal_transformers(family, chunk, prefix_caching):
    streams, _ = run(family, chunk=chunk, prefix_caching=prefix_caching, num_blocks=64)
    assert streams == expected(family)


@pytest.mark.parametrize("family", SHAPES)
def test_greedy_tokens_survive_preemption(family):
    streams, num_preemptions = run(family, chunk=7, prefix_caching=True, num_blocks=14)
    assert num_preemptions > 0
    assert streams == expected(family)
