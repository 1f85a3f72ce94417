"""The small GET routes: is it alive, is it ready, which version, how busy, what the metrics say."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quire import __version__
from quire.api.server.replies import json_reply
from quire.api.server.service import Phase, Service


def probe_routes(service: Service) -> list[Route]:
    """Routes that answer in every phase, also while weights load."""

    async def health(_request: Request) -> Response:
        """200 from ready until the end, sleep and drain included; 503 while loading and after the engine died."""
        return _by(service.phase in (Phase.READY, Phase.ASLEEP, Phase.DRAINING))

    async def ready(_request: Request) -> Response:
        """200 exactly while a new request would be taken."""
        return _by(service.phase is Phase.READY)

    async def live(_request: Request) -> Response:
        """503 only when a restart is the remedy."""
        return _by(service.phase is not Phase.DEAD)

    def _by(is_well: bool) -> Response:
        return json_reply({"status": service.phase.value}, status=200 if is_well else 503)

    async def version(_request: Request) -> Response:
        return json_reply({"version": __version__})

    async def load(_request: Request) -> Response:
        return json_reply({"server_load": service.num_under_way})

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/health", health),
        Route("/ready", ready),
        Route("/live", live),
        Route("/ping", health, methods=["GET", "POST"]),
        Route("/version", version),
        Route("/load", load),
        Route("/metrics", metrics),
    ]
