"""/start_profile and /stop_profile: a trace of the engine's steps between them, where a profiler is configured."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.administration.asked import read_optional
from quire.api.server.errors import HttpError
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.commands import PROFILER_IS_OFF, StartProfile, StopProfile
from quire.base.errors import Unsupported

Count = Annotated[int, msgspec.Meta(ge=0)]


class ProfileBody(msgspec.Struct):
    """What is left out is as `--profiler-config` has it."""

    profile_prefix: str = ""
    delay_iterations: Count | None = None
    max_iterations: Count | None = None
    profiler_kwargs: dict[str, object] | None = None


async def start_profile(service: Service, request: Request) -> Response:
    _check(service)
    asked = await read_optional(request, ProfileBody)
    if asked.profiler_kwargs:
        raise Unsupported(
            "profiler_kwargs is not supported: the profiler's options are those of --profiler-config",
            field="profiler_kwargs",
        )
    command = StartProfile(
        prefix=asked.profile_prefix,
        delay_iterations=asked.delay_iterations,
        max_iterations=asked.max_iterations,
    )
    await service.client.ask(command)
    return json_reply({"status": "started"})


async def stop_profile(service: Service, _request: Request) -> Response:
    _check(service)
    return json_reply({"status": "stopped", "trace": await service.client.ask(StopProfile())})


def _check(service: Service) -> None:
    if service.engine_config.profiler is None:
        raise HttpError(PROFILER_IS_OFF, status=404, code="profiler_is_off")
    service.administrator_now()
