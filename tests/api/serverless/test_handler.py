"""Jobs against a scripted server: every way a reply can be cut, refused or broken off."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass

import pytest

pytest.importorskip("aiohttp", reason="the worker's extra is not installed")

from tests.api.serverless.scripted_server import ScriptedServer

from quire.api.serverless.failures import UNHEALTHY, ServerLost
from quire.api.serverless.handler import JobHandler
from quire.api.serverless.upstream import Upstream
from quire.api.serverless.worker_settings import Compat, WorkerSettings

AUTO = WorkerSettings()
V1 = WorkerSettings(compat=Compat.V1)
V3 = WorkerSettings(compat=Compat.V3)
REFUSAL = {"error": {"message": "too hot", "type": "t", "param": "temperature", "code": "c"}}
ENGINE_DEAD = {
    "error": {"message": "gone", "type": "service_unavailable", "param": None, "code": "engine_dead"}
}


@dataclass
class Life:
    """A server's life as the handler sees it."""

    is_lost: bool = False
    num_recoveries: int = 0

    async def ready(self) -> None:
        if self.is_lost:
            raise ServerLost

    async def recovered(self) -> None:
        self.num_recoveries += 1
        await self.ready()


def stream_of(*texts: str) -> bytes:
    events = [
        {"choices": [{"index": 0, "text": text, "token_ids": [1]}], "usage": {"prompt_tokens": 1}}
        for text in texts
    ]
    data = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    return (data + "data: [DONE]\n\n").encode()


def handler_of(
    server: ScriptedServer, settings: WorkerSettings = AUTO, life: Life | None = None
) -> JobHandler:
    upstream = Upstream(
        server.port,
        api_key="secret",
        timeout_s=settings.request_timeout_s,
        quotes_status=settings.compat is Compat.V3,
    )
    return JobHandler(settings, upstream, life or Life())


async def run(handler: JobHandler, fields) -> list:
    return [item async for item in handler.handle({"id": "j", "input": fields})]


NATIVE = {"prompt": "x", "stream": True}
OPENAI = {"openai_route": "/v1/completions", "openai_input": {"prompt": "x", "stream": True}}


async def test_a_stream_cut_at_every_byte_gives_the_same_items():
    data = stream_of("né", "🎈\u2028", "c")
    async with ScriptedServer().running() as server:
        handler = handler_of(server)
        for cut in range(len(data)):
            server.will_stream(data[:cut], data[cut:])
            items = await run(handler, NATIVE)
            assert [item["choices"][0]["tokens"] for item in items] == [["né"], ["🎈\u2028", "c"]]
            server.will_stream(data[:cut], data[cut:])
            assert "".join(await run(handler, OPENAI)).encode() == data
            server.will_stream(data[:cut], data[cut:])
            assert "".join(await run(handler_of(server, V3), OPENAI)).encode() == data


async def test_what_is_sent_carries_the_key_and_the_body_as_it_was():
    async with ScriptedServer().running() as server:
        server.will_reply(200, {"data": []})
        await run(handler_of(server), {"openai_route": "/v1/models?limit=2"})
        server.will_reply(200, {"choices": [{"text": "a"}], "usage": {}})
        await run(handler_of(server), {"openai_route": "/v1/completions", "openai_input": {"prompt": "né"}})
    (get, headers, nothing), (post, _, body) = server.requests
    assert (get, nothing) == ("GET /v1/models?limit=2 HTTP/1.1", None)
    assert headers["authorization"] == "Bearer secret"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert (post, body) == ("POST /v1/completions HTTP/1.1", {"prompt": "né"})


@pytest.mark.parametrize("fields", [NATIVE, OPENAI])
async def test_an_error_reply_fails_the_job_in_the_servers_words(fields):
    async with ScriptedServer().running() as server:
        server.will_reply(400, REFUSAL)
        (item,) = await run(handler_of(server), fields)
        assert json.loads(item["error"]) == REFUSAL["error"]
        server.will_reply(400, REFUSAL)
        (item,) = await run(handler_of(server, V3), fields)
        detail = json.loads(item["error"])
        assert detail["message"].startswith("vLLM returned HTTP 400: {")
        assert (detail["type"], detail["code"]) == ("t", 400)
        server.will_reply(502, b"<html>bad</html>")
        (item,) = await run(handler_of(server), fields)
        assert json.loads(item["error"])["message"] == "<html>bad</html>"


async def test_the_first_generation_completed_openai_jobs_with_the_bare_error():
    async with ScriptedServer().running() as server:
        server.will_reply(400, REFUSAL)
        assert await run(handler_of(server, V1), OPENAI) == [{"object": "error", **REFUSAL["error"]}]
        server.will_reply(400, REFUSAL)
        (item,) = await run(handler_of(server, V1), NATIVE)
        assert "error" in item


async def test_an_error_after_the_stream_began_fails_the_job_at_its_end():
    begun = stream_of("a", "b").removesuffix(b"data: [DONE]\n\n")
    data = begun + f"data: {json.dumps(REFUSAL)}\n\ndata: [DONE]\n\n".encode()
    for settings in (AUTO, V3, WorkerSettings(is_raw_openai=False)):
        async with ScriptedServer().running() as server:
            server.will_stream(begun, data.removeprefix(begun))
            items = await run(handler_of(server, settings), OPENAI)
            assert json.loads(items[-1]["error"])["message"] == "too hot"


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_stream_that_breaks_off_after_some_items_never_completes(is_whole):
    begun = stream_of("a", "b").removesuffix(b"data: [DONE]\n\n")
    life = Life()
    async with ScriptedServer().running() as server:
        server.will_stream(begun, is_whole=is_whole)
        items = await run(handler_of(server, life=life), NATIVE)
    assert items[0]["choices"][0]["tokens"] == ["a"]
    assert json.loads(items[-1]["error"])["type"] == "worker_error"
    assert life.num_recoveries == 0


@pytest.mark.parametrize("loss", ["nothing", "503", "event"])
async def test_a_server_lost_before_the_first_item_is_asked_once_more(loss):
    life = Life()
    async with ScriptedServer().running() as server:
        for _ in range(2):
            if loss == "503":
                server.will_reply(503, ENGINE_DEAD)
            elif loss == "event":
                server.will_stream(f"data: {json.dumps(ENGINE_DEAD)}\n\ndata: [DONE]\n\n".encode())
            else:
                server.will_stream(is_whole=False)
        server.scripts[1:] = []
        server.will_stream(stream_of("a"))
        items = await run(handler_of(server, life=life), NATIVE)
        assert [item["choices"][0]["tokens"] for item in items] == [["a"]]
        assert life.num_recoveries == 1
        server.will_stream(is_whole=False)
        server.will_stream(is_whole=False)
        (item,) = await run(handler_of(server, life=life), NATIVE)
        assert json.loads(item["error"])["code"] == 503


async def test_an_overloaded_server_is_not_a_lost_one():
    life = Life()
    async with ScriptedServer().running() as server:
        server.will_reply(
            503, {"error": {"message": "full", "type": "service_unavailable", "code": "overloaded"}}
        )
        (item,) = await run(handler_of(server, life=life), NATIVE)
    assert json.loads(item["error"])["code"] == "overloaded"
    assert life.num_recoveries == 0


async def test_without_a_server_every_job_fails_with_the_known_sentence():
    async with ScriptedServer().running() as server:
        (item,) = await run(handler_of(server, life=Life(is_lost=True)), NATIVE)
    assert json.loads(item["error"])["message"] == UNHEALTHY
    assert server.requests == []


async def test_a_job_may_take_only_so_long():
    settings = WorkerSettings(request_timeout_s=0.05)
    async with ScriptedServer().running() as server:
        server.will_stream(b"data: ", hangs=True)
        (item,) = await run(handler_of(server, settings), NATIVE)
        assert "REQUEST_TIMEOUT" in json.loads(item["error"])["message"]
        while not server.num_hung_up:
            await asyncio.sleep(0.001)


async def test_a_cancelled_job_hangs_up_at_once_also_while_its_item_is_on_the_way():
    async with ScriptedServer().running() as server:
        server.will_stream(stream_of("a"), hangs=True)
        has_item = asyncio.Event()

        async def post_items() -> None:
            handling = handler_of(server).handle({"id": "j", "input": NATIVE})
            handlings.append(handling)  # as the SDK's frames may keep it alive
            async for _ in handling:
                has_item.set()
                await asyncio.sleep(60)

        handlings: list = []
        task = asyncio.create_task(post_items())
        await has_item.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while not server.num_hung_up:
            await asyncio.sleep(0.001)
        async with aclosing(handlings[0]):
            pass


async def test_replies_that_are_no_json_come_as_text():
    async with ScriptedServer().running() as server:
        server.will_stream(b"a 1\n", content_type="text/plain")
        server.will_stream(b"", content_type="text/plain")
        handler = handler_of(server)
        assert await run(handler, {"route": "/metrics"}) == ["a 1\n"]
        assert await run(handler, {"route": "/health"}) == [{"status": 200}]


async def test_a_redirect_is_not_followed():
    async with ScriptedServer().running() as server:
        server.will_reply(302, {"error": {"message": "elsewhere"}})
        (item,) = await run(handler_of(server), {"route": "/health"})
    assert json.loads(item["error"])["message"] == "elsewhere"
