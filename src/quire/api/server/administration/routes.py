"""The table of administration: what is always there, and what is there under VLLM_SERVER_DEV_MODE only."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quire.api.server.administration import engine, profile
from quire.api.server.administration.invocations import invocations
from quire.api.server.administration.refusals import REFUSED, refusal
from quire.api.server.administration.server_info import server_info
from quire.api.server.replies import json_reply
from quire.api.server.routing import Handler, Spec, service_route
from quire.api.server.service import Service


async def kv_event_sources(service: Service, _request: Request) -> Response:
    """Who publishes events of KV blocks: the engine, where `--kv-events-config` says so."""
    config = service.engine_config.watch.kv_events
    if config is None:
        return json_reply({"sources": []})
    source = {"endpoint": config.endpoint, "replay_endpoint": config.replay_endpoint, "topic": config.topic}
    return json_reply({"sources": [source]})


_ALWAYS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/invocations", invocations),
    ("GET", "/kv_event_sources", kv_event_sources),
    ("POST", "/start_profile", profile.start_profile),
    ("POST", "/stop_profile", profile.stop_profile),
)
_DEVELOPMENT: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/sleep", engine.sleep),
    ("POST", "/wake_up", engine.wake_up),
    ("GET", "/is_sleeping", engine.is_sleeping),
    ("POST", "/pause", engine.pause),
    ("POST", "/resume", engine.resume),
    ("GET", "/is_paused", engine.is_paused),
    ("POST", "/abort_requests", engine.abort_requests),
    ("POST", "/reset_prefix_cache", engine.reset_prefix_cache),
    ("POST", "/reset_mm_cache", engine.reset_media_cache),
    ("POST", "/reset_encoder_cache", engine.reset_media_cache),
    ("POST", "/release_kv_cache_memory", engine.release_kv_cache_memory),
    ("POST", "/collective_rpc", engine.collective_rpc),
    ("GET", "/get_world_size", engine.get_world_size),
    ("GET", "/server_info", server_info),
)


def administration_routes(service: Service) -> list[Route]:
    config = service.config
    rows = [*_ALWAYS, *(_DEVELOPMENT if config.has_dev_routes else ())]
    if config.tokens_only:
        abort = ("POST", "/abort_requests", engine.abort_requests)
        rows = [*dict.fromkeys([*(row for row in rows if row[1] != "/invocations"), abort])]
    routes = [service_route(service, method, path, handler, _spec(path)) for method, path, handler in rows]
    return routes + [
        service_route(service, method, path, refusal(why), Spec(summary=why, tag="Refused", status=501))
        for method, path, why in REFUSED
    ]


def _spec(path: str) -> Spec:
    return Spec(summary=path.strip("/").replace("_", " ").capitalize(), tag="Administration")
