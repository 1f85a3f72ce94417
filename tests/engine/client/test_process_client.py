"""The engine process through its client: same events as in-process, aborts, streams that outlive the process."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from quire.base.errors import CheckpointError, EngineDead, InvalidValue
from quire.base.messages import EngineRequest, SamplingParams, TokenEvent
from quire.engine.client import EngineState, InProcessClient, ProcessClient
from tests.model.tiny import engine_config, random_prompts, tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
async def client(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    client = ProcessClient(engine_config(folder))
    client.spawn()
    await client.connect()
    yield client
    await client.shutdown()
    assert list(tmp_path.iterdir()) == []
    assert not Path(f"/proc/{client.pid}").exists()


def wish(number: int, prompt: list[int], **sampling: object) -> EngineRequest:
    params = SamplingParams(
        **{"temperature": 0.7, "max_tokens": 8, "ignore_eos": True, "logprobs": 1, **sampling}
    )
    return EngineRequest(request_id=str(number), prompt_token_ids=prompt, sampling=params, seed=number)


def said(events: list[TokenEvent]) -> list[tuple]:
    return [(event.index, event.token_ids, event.logprobs, event.finish_reason) for event in events]


async def read(client: ProcessClient, request: EngineRequest) -> list[TokenEvent]:
    return [event async for events in client.submit(request) for event in events]


async def test_events_equal_those_of_the_engine_in_process(client, folder):
    requests = [wish(n, prompt, n=1 + n % 2) for n, prompt in enumerate(random_prompts((3, 18, 40)))]
    streams = await asyncio.gather(*(read(client, request) for request in requests))
    local = InProcessClient(engine_config(folder))
    for request in requests:
        local.submit(request)
    expected: dict[str, list[TokenEvent]] = {}
    while local.has_work:
        for event in local.step():
            expected.setdefault(event.request_id, []).append(event)
    for request, events in zip(requests, streams, strict=True):
        assert sorted(said(events), key=lambda e: e[0]) == sorted(
            said(expected[request.request_id]), key=lambda e: e[0]
        )
    assert client.num_streams == 0 and client.stats.num_blocks_used == 0
    assert sum(client.step_sizes.values()) == client.stats.num_steps


async def test_abort_ends_the_stream_and_frees_its_blocks(client):
    stream = client.submit(wish(0, [5, 6, 7], max_tokens=400))
    first = await anext(stream)
    client.abort("0")
    rest = [event async for events in stream for event in events]
    assert [*first, *rest][-1].finish_reason == "abort"
    await read(client, wish(1, [5], max_tokens=1))
    assert client.stats.num_blocks_used == 0


async def test_a_request_id_in_use_is_refused(client):
    stream = client.submit(wish(0, [5, 6, 7]))
    with pytest.raises(InvalidValue, match="in use"):
        client.submit(wish(0, [5, 6, 7]))
    assert [event async for events in stream for event in events][-1].finish_reason == "length"


async def test_an_idle_engine_uses_no_cpu(client):
    await read(client, wish(0, [5, 6, 7]))

    def cpu_ticks() -> int:
        fields = Path(f"/proc/{client.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    await asyncio.sleep(0.3)  # whatever follows the last step, such as the thread pool's spinning
    before = cpu_ticks()
    await asyncio.sleep(0.5)
    assert cpu_ticks() - before <= 1


async def undisturbed(client: ProcessClient, requests: list[EngineRequest]) -> list[list[tuple]]:
    return [spoken(await read(client, request)) for request in requests]


def spoken(events: list[TokenEvent]) -> list[tuple]:
    """Per sample: all its tokens, their log-probabilities, and why it ended."""
    streams: dict[int, tuple[list, list]] = {}
    reasons = {}
    for event in events:
        tokens, logprobs = streams.setdefault(event.index, ([], []))
        tokens += event.token_ids
        logprobs += event.logprobs or []
        if event.finish_reason is not None:
            assert event.index not in reasons, "a sample ended twice"
            reasons[event.index] = event.finish_reason
    return [(index, *streams[index], reasons[index]) for index in sorted(streams)]


async def test_streams_of_a_killed_engine_go_on_as_if_nothing_had_happened(client):
    prompts = random_prompts((3, 18, 40, 70))
    requests = [
        wish(n, prompt, n=1 + n % 2, temperature=0.9 * (n % 3), max_tokens=60, repetition_penalty=1.1)
        for n, prompt in enumerate(prompts)
    ]
    expected = await undisturbed(client, requests)
    for restarts in (1, 2):
        reading = [asyncio.create_task(read(client, request)) for request in requests]
        while client.stats.num_steps < 20 * restarts or client.num_streams < len(requests):
            await asyncio.sleep(0.002)
        os.kill(client.pid, signal.SIGKILL)
        assert [spoken(events) for events in await asyncio.gather(*reading)] == expected
        assert client.num_restarts == restarts
    assert client.stats.num_blocks_used == 0 and client.num_streams == 0


async def test_an_abort_the_dead_engine_did_not_hear_still_ends_the_stream(client):
    stream = client.submit(wish(0, [5, 6, 7], max_tokens=400))
    await anext(stream)
    os.kill(client.pid, signal.SIGKILL)
    client.abort("0")
    assert [event async for events in stream for event in events][-1].finish_reason == "abort"
    assert len(await read(client, wish(1, [5], max_tokens=3))) == 3


async def test_an_engine_that_keeps_dying_is_given_up_loudly(client):
    stream = client.submit(wish(0, [5, 6, 7], max_tokens=400))
    for _ in range(3):
        pid = client.pid
        os.kill(pid, signal.SIGKILL)
        while client.pid == pid and client.state is not EngineState.DEAD:
            await asyncio.sleep(0.01)
    with pytest.raises(EngineDead, match="3 times within 60 s"):
        async for _ in stream:
            pass
    with pytest.raises(EngineDead):
        client.submit(wish(1, [5]))


async def test_what_loading_fails_with_is_raised_here(folder, tmp_path):
    config = engine_config(folder)
    damaged = msgspec.structs.replace(config, card=msgspec.structs.replace(config.card, folder=str(tmp_path)))
    client = ProcessClient(damaged)
    with pytest.raises(CheckpointError):
        await client.connect()
    await client.shutdown()
