"""Prompts of vectors among prompts of tokens: nothing that befalls an engine changes what they are answered."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest
import torch

from quire.base.config import EngineConfig
from quire.base.messages import EngineRequest, PromptEmbeddings, SamplingParams, TokenEvent
from quire.engine.client import InProcessClient, ProcessClient
from tests.model.tiny import engine_config, tiny_checkpoint

LENGTHS = (3, 18, 40, 70, 70)  # the last two are the same vectors
WIDTH = 64  # hidden_size of tiny checkpoints
CHUNK_TOKENS = 7


def config_of(folder: Path, num_blocks: int = 64) -> EngineConfig:
    config = engine_config(folder, num_blocks=num_blocks)
    scheduler = msgspec.structs.replace(config.scheduler, long_prefill_token_threshold=CHUNK_TOKENS)
    return msgspec.structs.replace(config, scheduler=scheduler)


def wishes(max_tokens: int) -> list[EngineRequest]:
    """Greedy and drawn, of one sample and of two; the second is of tokens."""
    torch.manual_seed(4)
    requests = []
    for number, length in enumerate(LENGTHS):
        sampling = SamplingParams(
            n=1 + number % 2,
            temperature=0.9 * (number % 3),
            max_tokens=max_tokens,
            ignore_eos=True,
            logprobs=1,
            repetition_penalty=1.1,
        )
        if number != len(LENGTHS) - 1:
            rows = torch.randn(length, WIDTH).numpy().tobytes()
        vectors = PromptEmbeddings(dtype="float32", num_tokens=length, data=rows)
        request = EngineRequest(
            request_id=str(number), prompt_token_ids=[0] * length, sampling=sampling, seed=number
        )
        key = f"vectors {len(rows)}"
        requests.append(
            msgspec.structs.replace(request, prompt_token_ids=list(range(1, length + 1)))
            if number == 1
            else msgspec.structs.replace(request, embeddings=vectors, media_keys=[key])
        )
    return requests


def spoken(events: list[TokenEvent]) -> dict[int, list]:
    """Each sample's tokens with their log-probabilities, to the bit."""
    said: dict[int, list] = {}
    for event in events:
        assert event.error is None, event.error
        said.setdefault(event.index, []).extend(zip(event.token_ids, event.logprobs or [], strict=True))
    return said


def run(folder: Path, requests: list[EngineRequest], num_blocks: int) -> tuple[list[dict[int, list]], int]:
    """What each request is answered, all at once; and how many preemptions there were."""
    client = InProcessClient(config_of(folder, num_blocks), audit_steps=True)
    events: dict[str, list[TokenEvent]] = {request.request_id: [] for request in requests}
    for request in requests:
        client.submit(request)
    while client.has_work:
        for event in client.step():
            events[event.request_id].append(event)
    assert client.stats.num_blocks_used == 0
    return [spoken(one) for one in events.values()], client.stats.num_preemptions


@pytest.fixture(
    scope="module",
    params=["qwen3", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gemma2", "opt"))],
)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(request.param, tmp_path_factory.mktemp(request.param))


def test_vectors_survive_preemption(folder: Path) -> None:
    alone = [run(folder, [request], 64)[0][0] for request in wishes(24)]
    crowd, num_preemptions = run(folder, wishes(24), 12)
    assert num_preemptions > 0
    assert crowd == alone
    assert len({tuple(token for token, _ in said[0]) for said in alone}) > 3  # they say different things


async def test_vectors_outlive_a_killed_engine(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    client = ProcessClient(config_of(folder))
    client.spawn()
    await client.connect()

    async def read(request: EngineRequest) -> dict[int, list]:
        return spoken([event async for events in client.submit(request) for event in events])

    try:
        expected = [await read(request) for request in wishes(60)]
        crowd = [asyncio.create_task(read(request)) for request in wishes(60)]
        before = client.stats.num_steps
        while client.stats.num_steps < before + 15:  # prompts are under way, and answers
            await asyncio.sleep(0.002)
        os.kill(client.pid, signal.SIGKILL)
        assert await asyncio.gather(*crowd) == expected
        assert client.num_restarts == 1
    finally:
        await client.shutdown()
