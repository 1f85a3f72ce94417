"""Routes that tell the engine what to do: what each asks of it, and what it answers."""

from __future__ import annotations

import asyncio

import pytest

from quire.base.commands import (
    CallWorker,
    FreeKV,
    Hold,
    Release,
    ResetPrefixes,
    Sleep,
    WakeUp,
)
from quire.base.errors import CommandFailed
from quire.engine.client import Administrator, EngineState

TEXT = {"prompt": "hello", "max_tokens": 4}


@pytest.fixture
def service(make_service):
    service = make_service(has_dev_routes=True)
    service.administrator = Administrator(service.client, may_sleep=True)
    return service


@pytest.mark.parametrize(
    ("path", "commands"),
    [
        ("/pause", [Hold(), ResetPrefixes(with_running=True)]),
        ("/pause?mode=keep&clear_cache=false", [Hold()]),
        ("/sleep", [Hold(), Sleep(1)]),
        ("/sleep?level=2&mode=wait", [Hold(), Sleep(2)]),
        ("/sleep?level=0", [Hold()]),
        ("/reset_prefix_cache", [ResetPrefixes()]),
        (
            "/reset_prefix_cache?reset_running_requests=true&reset_external=1",
            [ResetPrefixes(with_running=True)],
        ),
        ("/release_kv_cache_memory", [FreeKV()]),
        ("/reset_mm_cache", []),
        ("/reset_encoder_cache", []),
        ("/resume", [Release()]),
        ("/wake_up", []),
    ],
)
async def test_a_route_asks_this_of_the_engine(path, commands, http, engine):
    reply = await http.post(path)
    assert reply.status_code == 200, reply.text
    assert engine.asked == commands


async def test_what_is_reset_is_said(http):
    for path in (
        "/reset_prefix_cache",
        "/reset_mm_cache",
        "/reset_encoder_cache",
        "/release_kv_cache_memory",
    ):
        assert (await http.post(path)).json() == {"success": True}
    assert (await http.get("/get_world_size")).json() == {"world_size": 1}


async def test_a_paused_server_says_so_until_it_is_resumed(http):
    for path, is_paused in (("/pause", True), ("/resume", False)):
        assert (await http.post(path)).status_code == 200
        assert (await http.get("/is_paused")).json() == {"is_paused": is_paused}
        assert (await http.get("/ready")).status_code == 200  # requests are taken, and wait


async def test_a_sleeping_server_refuses_with_the_remedy_until_it_is_awake(http, engine):
    assert "engine_sleep_state{" in (await http.get("/metrics")).text
    for path, level in (("/sleep?level=1", 1), ("/sleep?level=2", 2)):
        assert (await http.post(path)).json() == {"status": "asleep"}
        assert (await http.get("/is_sleeping")).json() == {"is_sleeping": True}
        assert await sleep_states(http) == {
            "awake": 0.0, "weights_offloaded": float(level == 1), "discard_all": float(level == 2),
        }  # fmt: skip
        for route in ("/v1/completions", "/v1/chat/completions", "/invocations"):
            refusal = await http.post(route, json={**TEXT, "messages": []} if "chat" in route else TEXT)
            assert refusal.status_code == 503 and refusal.headers["retry-after"] == "5"
            assert "POST /wake_up" in refusal.json()["error"]["message"]
        assert [(await http.get(p)).status_code for p in ("/health", "/live", "/ready")] == [200, 200, 503]
        assert (await http.post("/wake_up?tags=weights")).json() == {"status": "asleep"}
        assert (await http.post("/wake_up?tags=kv_cache&tags=weights")).json() == {"status": "awake"}
        assert (await http.get("/is_sleeping")).json() == {"is_sleeping": False}
        assert (await sleep_states(http))["awake"] == 1.0
        assert (await http.post("/v1/completions", json=TEXT)).status_code == 200
    assert [type(command) for command in engine.asked][-3:] == [WakeUp, WakeUp, Release]


async def sleep_states(http) -> dict[str, float]:
    lines = (await http.get("/metrics")).text.splitlines()
    found = [line for line in lines if line.startswith("vllm:engine_sleep_state{")]
    return {line.split('sleep_state="')[1].split('"')[0]: float(line.split()[-1]) for line in found}


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/sleep?level=3", "level"),
        ("/sleep?level=one", "level"),
        ("/sleep?mode=now", "mode"),
        ("/sleep?lvel=1", "lvel"),
        ("/pause?clear_cache=perhaps", "clear_cache"),
        ("/wake_up?tags=dreams", "tags[0]"),
        ("/reset_prefix_cache?reset_running_requests=2", "reset_running_requests"),
    ],
)
async def test_a_wrong_word_of_the_query_is_named(path, param, http, engine):
    reply = await http.post(path)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert not engine.asked


async def test_sleep_without_its_option_names_it(make_service, connect):
    async with connect(make_service(has_dev_routes=True)) as http:
        reply = await http.post("/sleep")
        assert reply.status_code == 400 and "--enable-sleep-mode" in reply.json()["error"]["message"]


async def test_requests_are_aborted_by_the_names_their_callers_know(http, engine):
    engine.pause_after = 1
    names = ("one", "two", "three")
    replies = [
        asyncio.create_task(http.post("/v1/completions", json=TEXT, headers={"x-request-id": name}))
        for name in names
    ]
    while engine.num_in_flight < 3:
        await asyncio.sleep(0.001)
    ended = await http.post("/abort_requests", json={"request_ids": ["one", "cmpl-two", "none"]})
    assert ended.json() == {"num_aborted": 2}
    assert [name.split("-")[1] for name in engine.aborted] == ["one", "two"]
    assert (await http.post("/abort_requests")).json() == {"num_aborted": 1}
    for reply in replies:
        reply.cancel()


async def test_the_workers_methods_are_called(http, engine):
    engine.answers[CallWorker] = {"a": [1]}
    call = {"method": "look", "args": [1], "kwargs": {"deep": True}, "timeout": 5}
    assert (await http.post("/collective_rpc", json=call)).json() == {"results": [{"a": [1]}]}
    assert engine.asked == [CallWorker("look", [1], {"deep": True})]
    engine.answers[CallWorker] = CommandFailed("ZeroDivisionError: by test")
    reply = await http.post("/collective_rpc", json={"method": "look"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "command_failed")
    assert reply.json()["error"]["message"] == "ZeroDivisionError: by test"
    for body in ({}, {"method": 3}, {"methid": "x"}):
        assert (await http.post("/collective_rpc", json=body)).status_code == 400


@pytest.mark.parametrize(("state", "status"), [(EngineState.LOADING, 503), (EngineState.DEAD, 503)])
async def test_an_engine_that_cannot_hear_is_not_told(state, status, http, engine):
    engine.state = state
    for path in ("/sleep", "/wake_up", "/pause", "/resume", "/reset_prefix_cache", "/abort_requests"):
        assert (await http.post(path)).status_code == status
    assert not engine.asked
