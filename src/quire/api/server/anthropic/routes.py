"""The table of Anthropic's routes."""

from __future__ import annotations

from starlette.routing import Route

from quire.api.server.anthropic.messages import count_message_tokens, create_message
from quire.api.server.routing import Handler, service_route
from quire.api.server.service import Service

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1/messages", create_message),
    ("POST", "/v1/messages/count_tokens", count_message_tokens),
)


def anthropic_routes(service: Service) -> list[Route]:
    return [service_route(service, *row) for row in _ROUTES]
