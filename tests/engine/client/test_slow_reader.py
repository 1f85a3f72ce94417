"""A request nobody reads is paused, with little in memory; it goes on when its reader comes back."""

from __future__ import annotations

import asyncio

import pytest

from quire.engine.client import ProcessClient, vigil
from quire.engine.client.stream import MAX_WAITING_EVENTS
from tests.engine.client.test_process_client import read, spoken, wish
from tests.model.tiny import engine_config, tiny_checkpoint


@pytest.fixture
async def client(tmp_path):
    client = ProcessClient(engine_config(tiny_checkpoint("qwen3", tmp_path), max_model_len=2048))
    await client.connect()
    yield client
    await client.shutdown()


async def test_what_is_not_read_pauses_and_what_is_read_goes_on(client, monkeypatch):
    monkeypatch.setattr(vigil, "STILL_LIMIT_S", 0.6)
    request = wish(0, [5, 6, 7], max_tokens=500)
    expected = spoken(await read(client, request))
    stream = client.submit(request)
    while not stream.is_paused:
        await asyncio.sleep(0.01)
    other = await read(client, wish(1, [8, 9], max_tokens=100))
    assert other[-1].finish_reason == "length"
    assert (client.stats.num_running, client.stats.num_blocks_used) == (0, 0)  # the paused one holds nothing
    await asyncio.sleep(1.8)
    assert client.num_restarts == 0  # an engine with nothing but paused requests may stand still
    first = await anext(stream)
    assert MAX_WAITING_EVENTS < len(first) < MAX_WAITING_EVENTS + 100
    rest = [event async for events in stream for event in events]
    assert spoken([*first, *rest]) == expected
