"""Routes that tell the engine what to do. All of them are for development: they let any caller meddle."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.administration.asked import read_optional, read_query
from quire.api.server.errors import HttpError
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.commands import FreeKV, Part, ResetPrefixes
from quire.engine.client import Level, Mode


class SleepQuery(msgspec.Struct):
    level: Level = 1
    mode: Mode = "abort"


class WakeUpQuery(msgspec.Struct):
    tags: list[Part] = msgspec.field(default_factory=list)


class PauseQuery(msgspec.Struct):
    mode: Mode = "abort"
    clear_cache: bool = True


class ResetQuery(msgspec.Struct):
    reset_running_requests: bool = False
    reset_external: bool = False


class AbortBody(msgspec.Struct):
    """`request_ids` as the replies have them (`cmpl-…`), or as X-Request-Id; None for all."""

    request_ids: list[str] | None = None


class CallBody(msgspec.Struct):
    method: str = ""
    args: list[object] = []
    kwargs: dict[str, object] = {}
    timeout: float | None = None


async def sleep(service: Service, request: Request) -> Response:
    asked = read_query(request, SleepQuery)
    await service.administrator_now().sleep(asked.level, asked.mode)
    return json_reply({"status": "asleep"})


async def wake_up(service: Service, request: Request) -> Response:
    asked = read_query(request, WakeUpQuery)
    administrator = service.administrator_now()
    await administrator.wake_up(asked.tags or None)
    return json_reply({"status": "asleep" if administrator.is_sleeping else "awake"})


async def is_sleeping(service: Service, _request: Request) -> Response:
    return json_reply({"is_sleeping": service.administrator.is_sleeping})


async def pause(service: Service, request: Request) -> Response:
    asked = read_query(request, PauseQuery)
    await service.administrator_now().pause(asked.mode, clear_cache=asked.clear_cache)
    return json_reply({"status": "paused"})


async def resume(service: Service, _request: Request) -> Response:
    await service.administrator_now().resume()
    return json_reply({"status": "resumed"})


async def is_paused(service: Service, _request: Request) -> Response:
    return json_reply({"is_paused": service.administrator.is_paused})


async def abort_requests(service: Service, request: Request) -> Response:
    asked = await read_optional(request, AbortBody)
    administrator = service.administrator_now()
    if asked.request_ids is None:
        return json_reply({"num_aborted": administrator.abort()})
    return json_reply({"num_aborted": administrator.abort(_engine_ids(service, asked.request_ids))})


def _engine_ids(service: Service, asked: list[str]) -> list[str]:
    """An engine id is a reply's id with two parts behind it, and that is the caller's own with a word before it; of
    requests in tokens it is that alone."""
    chosen = set(asked)
    matches = []
    for engine_id in service.client.request_ids():
        reply_id = engine_id.rsplit("-", 2)[0]
        if chosen & {engine_id, reply_id, *(one.partition("-")[2] for one in (engine_id, reply_id))}:
            matches.append(engine_id)
    return matches


async def reset_prefix_cache(service: Service, request: Request) -> Response:
    """Outside of the engine nothing is cached, so `reset_external` finds that empty."""
    asked = read_query(request, ResetQuery)
    service.administrator_now()
    command = ResetPrefixes(with_running=asked.reset_running_requests)
    return json_reply({"success": await service.client.ask(command)})


async def reset_media_cache(service: Service, _request: Request) -> Response:
    """There is no such cache, so nothing of it is left."""
    service.administrator_now()
    return json_reply({"success": True})


async def release_kv_cache_memory(service: Service, _request: Request) -> Response:
    service.administrator_now()
    await service.client.ask(FreeKV())
    return json_reply({"success": True})


async def collective_rpc(service: Service, request: Request) -> Response:
    asked = await read_optional(request, CallBody)
    if not asked.method:
        raise HttpError(
            "method is required: the name of one of the worker's",
            status=400,
            code="invalid_value",
            field="method",
        )
    administrator = service.administrator_now()
    value = await administrator.call_worker(asked.method, asked.args, asked.kwargs, asked.timeout)
    return json_reply({"results": [value]})


async def get_world_size(_service: Service, _request: Request) -> Response:
    """One worker computes."""
    return json_reply({"world_size": 1})
