"""What the small routes say in every phase of the server's life."""

from __future__ import annotations

import re

import pytest

from quire import __version__
from quire.engine.client import EngineState

CHAT = {"messages": [{"role": "user", "content": "hello"}]}
TEXT = {"prompt": "hello"}


async def statuses(http):
    return {
        path: (await http.get(path)).status_code
        for path in ("/health", "/ready", "/live", "/ping", "/v1/models", "/version", "/metrics")
    }


async def test_while_weights_load(http, service, engine):
    engine.state, engine.load_done_bytes, engine.load_total_bytes = EngineState.LOADING, 25, 100
    open_routes = {"/v1/models": 200, "/version": 200, "/metrics": 200, "/live": 200}
    assert await statuses(http) == {"/health": 503, "/ready": 503, "/ping": 503, **open_routes}
    for path, body in (("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)):
        reply = await http.post(path, json=body)
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) >= 1
        assert "25 %" in reply.json()["error"]["message"]


async def test_tokenize_works_before_the_weights_are_there(http, engine, service):
    engine.state = EngineState.LOADING
    assert (await http.post("/tokenize", json=TEXT)).status_code == 200
    service.session = None
    assert (await http.post("/tokenize", json=TEXT)).status_code == 503


async def test_when_ready(http):
    assert set((await statuses(http)).values()) == {200}
    assert (await http.post("/ping")).status_code == 200
    assert (await http.get("/version")).json() == {"version": __version__}
    assert (await http.get("/load")).json() == {"server_load": 0}


async def test_while_draining(http, service):
    service.is_draining = True
    assert {path for path, status in (await statuses(http)).items() if status == 503} == {"/ready"}
    reply = await http.post("/v1/completions", json=TEXT)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "service_unavailable")


async def test_after_the_engine_died(http, engine):
    engine.die("killed at 0x7fff0000 in /usr/lib/x.py")
    assert {path for path, status in (await statuses(http)).items() if status == 503} == {
        "/health",
        "/ready",
        "/live",
        "/ping",
    }
    reply = await http.post("/v1/completions", json=TEXT)
    assert reply.status_code == 503
    assert "0x" not in reply.text and "/usr" not in reply.text


async def test_models_are_listed_and_shown_by_name(http):
    listed = (await http.get("/v1/models")).json()
    assert [entry["id"] for entry in listed["data"]] == ["scripted", "alias"]
    assert listed["object"] == "list"
    alias = (await http.get("/v1/models/alias")).json()
    assert (alias["id"], alias["root"], alias["max_model_len"]) == ("alias", "scripted", 256)
    reply = await http.get("/v1/models/org/other")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/nowhere/", 404, "not_found"),
        ("POST", "/v1/images/generations", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/completions/", 404, "not_found"),
    ],
)
async def test_what_is_not_there_has_an_openai_error_body(method, path, status, code, http):
    reply = await http.request(method, path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (status, code, None)
    assert path in error["message"]


async def test_a_bug_of_ours_says_nothing_about_this_machine(http, engine):
    def broken(*_):
        raise RuntimeError("secret at 0x7fffdeadbeef in /usr/lib/secret.py")

    engine.submit = broken
    reply = await http.post("/v1/completions", json=TEXT)
    assert reply.status_code == 500
    assert not re.search(r"0x|/usr|secret|Traceback", reply.text)
    assert reply.json()["error"]["type"] == "internal_server_error"


async def test_request_ids_come_back_where_enabled(make_service, connect):
    async with connect(make_service(enable_request_id_headers=True)) as http:
        reply = await http.post("/v1/completions", json=TEXT, headers={"x-request-id": "abc-1"})
        assert reply.headers["x-request-id"] == "abc-1"
        assert reply.json()["id"] == "cmpl-abc-1"
        made = await http.post("/v1/completions", json=TEXT, headers={"x-request-id": "bad id\t"})
        assert made.json()["id"] == "cmpl-" + made.headers["x-request-id"]
        assert "x-request-id" in (await http.get("/nowhere")).headers


async def test_cors_is_closed_unless_origins_are_allowed(make_service, connect, http):
    asks = {"origin": "https://page.test", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in (await http.get("/health", headers=asks)).headers
    async with connect(make_service(allowed_origins=["https://page.test"], api_keys=["k"])) as open_http:
        preflight = await open_http.options("/v1/completions", headers=asks)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://page.test"
        refused = await open_http.post("/v1/completions", json=TEXT, headers=asks)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://page.test"
