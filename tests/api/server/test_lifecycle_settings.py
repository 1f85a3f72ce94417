"""Settings of the running server: what it logs of its load, whom it outlives, what it wraps around requests."""

from __future__ import annotations

import http.client
import logging
import time

import pytest
from tests.api.server.test_lifecycle import LIMIT_S, Running, frames

from quire.api.server.stats_log import StatsLog
from quire.base.commands import ResetPrefixes
from quire.base.errors import ConfigError


@pytest.fixture
def run(model_folder, tmp_path):
    servers = []

    def start(**changes) -> Running:
        gate = tmp_path / str(len(servers))
        gate.mkdir()
        servers.append(Running(model_folder, gate, **changes))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


async def test_load_is_logged_while_there_is_some(make_service, connect, caplog):
    caplog.set_level(logging.INFO, "quire")
    service = make_service()
    log = StatsLog(service)
    log.log_rates()
    assert not caplog.records  # nothing happened
    async with connect(service) as client:
        await client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 4})
    log.log_rates()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("prompts ") and "; 0 running, 0 waiting; KV cache 0.0% used" in line
    caplog.clear()
    log.log_rates()
    assert not caplog.records
    log.log_step_sizes()
    assert caplog.records[0].getMessage() == "4 steps: 3 of 1 tokens, 1 of 20 tokens"
    log.log_step_sizes()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("changes", "rates", "sizes"),
    [
        ({"log_stats_interval_s": 0.05}, True, False),
        ({"log_stats_interval_s": 0.0}, False, False),
        ({"log_stats_interval_s": 0.0, "log_batch_sizes_interval_s": 0.05}, False, True),
    ],
)
def test_intervals_say_how_often(run, changes, rates, sizes):
    server = run(**changes)
    server.load()
    frames(server.post("hello", stream=True))  # 30 tokens at 20 ms: longer than the interval
    server.signal()
    _, _, err = server.end()
    assert ("answers" in err) is rates
    assert ("steps: 3 of 1 tokens" in err) is sizes


def test_a_server_may_outlive_its_engine(run):
    server = run(outlives_engine=True)
    server.load()
    frames(server.post("die", stream=True))
    time.sleep(0.5)  # the watch looks five times a second
    assert server.process.poll() is None
    assert server.get("/health") == 503
    server.signal()
    code, _, err = server.end()
    assert code == 1
    assert "the engine died" in err


async def test_routes_for_development_are_there_only_where_asked(make_service, connect):
    for has_routes, status in ((False, 404), (True, 200)):
        service = make_service(has_dev_routes=has_routes, api_keys=[])
        async with connect(service) as client:
            info = await client.get("/server_info")
            reset = await client.post("/reset_prefix_cache")
        assert (info.status_code, reset.status_code) == (status, status)
        assert service.client.asked == ([ResetPrefixes()] if has_routes else [])
    assert info.json()["engine"]["cache"]["block_size"] == 16
    assert "api_keys" not in info.json()["server"]


class Stamp:
    """ASGI middleware that adds a header."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"1")]
            await send(message)

        await self._app(scope, receive, stamped)


async def refuse_models(request, call_next):
    from starlette.responses import PlainTextResponse

    if request.url.path == "/v1/models":
        return PlainTextResponse("not today", status_code=418)
    return await call_next(request)


NOT_MIDDLEWARE = 3


async def test_middleware_of_ones_own_is_wrapped_around(make_service, connect):
    service = make_service(middleware=[f"{__name__}.Stamp", f"{__name__}.refuse_models"])
    async with connect(service) as client:
        assert (await client.get("/version")).headers["x-stamp"] == "1"
        assert (await client.get("/v1/models")).status_code == 418
    for path, message in (
        (f"{__name__}.NOT_MIDDLEWARE", "neither a class nor"),
        ("nowhere.X", "cannot be imported"),
    ):
        with pytest.raises(ConfigError, match=message):
            connect(make_service(middleware=[path]))


async def test_prompts_are_logged_at_debug_only_and_cut(make_service, connect, caplog):
    service = make_service(enable_log_requests=True, max_log_chars=4)
    for level, num_lines in (("INFO", 0), ("DEBUG", 1)):
        caplog.clear()
        caplog.set_level(level, "quire")
        async with connect(service) as client:
            await client.post("/v1/completions", json={"prompt": "hello world", "max_tokens": 1})
        lines = [record.getMessage() for record in caplog.records if "asks" in record.getMessage()]
        assert len(lines) == num_lines
    assert lines[0].endswith("asks: 'hell'")


def test_an_idle_connection_stays_open_as_long_as_asked(run):
    for seconds, stays in ((1, False), (30, True)):
        server = run(keep_alive_s=seconds)
        server.load()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
        connection.request("GET", "/version")
        connection.getresponse().read()
        connection.sock.settimeout(2.5)
        try:
            assert (connection.sock.recv(1) == b"") is not stays
        except TimeoutError:
            assert stays
        connection.close()
