"""Routes for development, served under VLLM_SERVER_DEV_MODE only: they let any caller look in and meddle."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quire.api.server.replies import json_reply
from quire.api.server.routing import DocumentedRoute, Spec
from quire.api.server.service import Service
from quire.base.commands import ResetPrefixes

_SECRET_FIELDS = ("api_keys", "ssl_keyfile")


_DEVELOPMENT = "Development"
_RESET = Spec(summary="Compute prompts anew that begin like earlier ones", tag=_DEVELOPMENT)
_INFO = Spec(summary="Both configurations, without keys", tag=_DEVELOPMENT)


def development_routes(service: Service) -> list[Route]:
    async def reset_prefix_cache(_request: Request) -> Response:
        """Prompts that begin like earlier ones are computed anew."""
        service.generating_session()  # refuses while there is no engine to tell
        return json_reply({"success": await service.client.ask(ResetPrefixes())})

    async def server_info(_request: Request) -> Response:
        """Both configurations, without keys."""
        server = msgspec.to_builtins(service.config)
        for field in _SECRET_FIELDS:
            server.pop(field)
        return json_reply({"engine": msgspec.to_builtins(service.engine_config), "server": server})

    return [
        DocumentedRoute("/reset_prefix_cache", reset_prefix_cache, ["POST"], _RESET),
        DocumentedRoute("/server_info", server_info, ["GET"], _INFO),
    ]
