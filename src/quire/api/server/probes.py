"""The small GET routes: is it alive, is it ready, which version, how busy, what the metrics say."""

from __future__ import annotations

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quire import __version__
from quire.api.server.replies import json_reply
from quire.api.server.routing import DocumentedRoute, Spec
from quire.api.server.service import Phase, Service


class StatusReply(msgspec.Struct):
    status: str


class VersionReply(msgspec.Struct):
    version: str


class LoadReply(msgspec.Struct):
    server_load: int


_PROBES = "Probes"
_HEALTH = Spec(summary="Is the server well", tag=_PROBES, reply=StatusReply)
_READY = Spec(summary="Would a request be taken now", tag=_PROBES, reply=StatusReply)
_LIVE = Spec(summary="Is it alive, so that a restart would not help", tag=_PROBES, reply=StatusReply)
_VERSION = Spec(summary="Which version", tag=_PROBES, reply=VersionReply)
_LOAD = Spec(summary="How many requests are under way", tag=_PROBES, reply=LoadReply)
_METRICS = Spec(summary="Metrics for Prometheus", tag=_PROBES, media_type="text/plain")


def probe_routes(service: Service) -> list[Route]:
    """Routes that answer in every phase, also while weights load."""

    async def health(_request: Request) -> Response:
        """200 from ready until the end, a drain included; 503 while loading and after the engine died."""
        return _by(service.phase in (Phase.READY, Phase.DRAINING))

    async def ready(_request: Request) -> Response:
        """200 exactly while a new request would be taken."""
        return _by(service.phase is Phase.READY)

    async def live(_request: Request) -> Response:
        """503 only when a restart is the remedy."""
        return _by(service.phase is not Phase.DEAD)

    def _by(is_well: bool) -> Response:
        return json_reply(StatusReply(service.phase.value), status=200 if is_well else 503)

    async def version(_request: Request) -> Response:
        return json_reply(VersionReply(__version__))

    async def load(_request: Request) -> Response:
        return json_reply(LoadReply(service.num_under_way))

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return [
        DocumentedRoute("/health", health, ["GET"], _HEALTH),
        DocumentedRoute("/ready", ready, ["GET"], _READY),
        DocumentedRoute("/live", live, ["GET"], _LIVE),
        DocumentedRoute("/ping", health, ["GET", "POST"], _HEALTH),
        DocumentedRoute("/version", version, ["GET"], _VERSION),
        DocumentedRoute("/load", load, ["GET"], _LOAD),
        DocumentedRoute("/metrics", metrics, ["GET"], _METRICS),
    ]
