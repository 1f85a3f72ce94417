"""What is always there: invocations, profiles, refusals by name; and the server's description of itself."""

from __future__ import annotations

import json

import msgspec
import pytest

from quire.api.server.administration.refusals import REFUSED
from quire.api.server.administration.server_info import shown_variables
from quire.base.commands import ProfilerConfig, StartProfile, StopProfile
from quire.base.observe import KvEventsConfig, WatchConfig

TEXT = {"prompt": "hello", "max_tokens": 4}
CHAT = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@pytest.mark.parametrize(
    ("body", "path"),
    [(TEXT, "/v1/completions"), (CHAT, "/v1/chat/completions"), ({**CHAT, "prompt": "x"}, None)],
)
async def test_an_invocation_is_answered_by_the_route_of_its_shape(body, path, http):
    reply = await http.post("/invocations", json=body)
    if path is None:  # a conversation with a field that conversations do not have
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")
        return
    assert reply.status_code == 200
    assert reply.json()["choices"] == (await http.post(path, json=body)).json()["choices"]
    async with http.stream("POST", "/invocations", json={**body, "stream": True}) as stream:
        lines = [line async for line in stream.aiter_lines() if line]
    assert lines[-1] == "data: [DONE]" and len(lines) > 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"x": 1}', "invalid_request_error"),
        (b"[1]", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
    ],
)
async def test_an_invocation_of_no_shape_is_refused(content, code, http):
    reply = await http.post("/invocations", content=content, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(("method", "path", "reason"), REFUSED)
async def test_what_quire_does_not_have_is_refused_by_name(method, path, reason, http):
    reply = await http.request(method, path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["message"]) == (501, "not_implemented", reason)


async def test_nobody_publishes_kv_events_unless_asked(http):
    assert (await http.get("/kv_event_sources")).json() == {"sources": []}


async def test_the_publisher_of_kv_events_is_named(make_service, connect):
    service = make_service()
    events = KvEventsConfig(
        endpoint="tcp://127.0.0.1:5557", replay_endpoint="tcp://127.0.0.1:5558", topic="kv"
    )
    service.engine_config = msgspec.structs.replace(
        service.engine_config, watch=WatchConfig(kv_events=events)
    )
    async with connect(service) as http:
        (source,) = (await http.get("/kv_event_sources")).json()["sources"]
    assert source == {"endpoint": events.endpoint, "replay_endpoint": events.replay_endpoint, "topic": "kv"}


async def test_profiles_are_taken_where_one_is_configured(make_service, connect):
    service = make_service()
    async with connect(service) as http:
        for path in ("/start_profile", "/stop_profile"):
            reply = await http.post(path)
            assert reply.status_code == 404 and "--profiler-config" in reply.json()["error"]["message"]
        service.engine_config = msgspec.structs.replace(
            service.engine_config, profiler=ProfilerConfig(folder="/t")
        )
        service.client.answers[StopProfile] = "/t/a.json"
        asked = {"profile_prefix": "p", "delay_iterations": 2, "max_iterations": 3}
        assert (await http.post("/start_profile", json=asked)).json() == {"status": "started"}
        assert (await http.post("/start_profile")).status_code == 200
        assert (await http.post("/stop_profile")).json() == {"status": "stopped", "trace": "/t/a.json"}
        for body in ({"delay_iterations": -1}, {"profiler_kwargs": {"a": 1}}, {"prefix": "x"}):
            assert (await http.post("/start_profile", json=body)).status_code == 400
    assert service.client.asked == [StartProfile("p", 2, 3), StartProfile(), StopProfile()]


async def test_the_server_describes_itself_without_keys(make_service, connect, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "hush-hush")
    monkeypatch.setenv("QUIRE_LOGGING_LEVEL", "INFO")
    service = make_service(has_dev_routes=True, ssl_keyfile="/hush-hush.pem")
    async with connect(service) as http:
        text = (await http.get("/server_info")).json()
        typed = (await http.get("/server_info?config_format=json")).json()
        assert (await http.get("/server_info?config_format=xml")).status_code == 400
    assert json.loads(text["vllm_config"]) == typed["vllm_config"]
    assert typed["vllm_config"]["engine"]["cache"]["block_size"] == 16
    assert typed["vllm_config"]["server"]["served_model_names"] == ["scripted", "alias"]
    assert typed["vllm_env"]["QUIRE_LOGGING_LEVEL"] == "INFO"
    assert typed["system_env"]["libraries"]["msgspec"]
    assert "hush-hush" not in json.dumps([text, typed])


def test_secret_variables_are_not_shown():
    environ = {
        "VLLM_API_KEY": "a",
        "QUIRE_HF_TOKEN": "b",
        "VLLM_PORT": "1",
        "HOME": "/",
        "QUIRE_PASSWORD": "c",
    }
    assert shown_variables(environ) == {"VLLM_PORT": "1"}
