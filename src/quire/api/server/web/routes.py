"""The routes a browser opens, made after all others, since the OpenAPI document describes those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from quire.api.server.replies import json_reply
from quire.api.server.routing import DocumentedRoute
from quire.api.server.web.document import openapi_document
from quire.api.server.web.pages import page_routes
from quire.base.config import ServerConfig


def web_routes(
    config: ServerConfig, others: Sequence[BaseRoute], *, public_paths: Iterable[str]
) -> list[Route]:
    """The chat page, the reference page and the OpenAPI document, as far as `config` has them."""
    pages = page_routes(has_chat=config.has_ui and not config.tokens_only, has_reference=config.has_docs)
    if not config.has_docs:
        return pages

    @cache  # made when first asked for: starting must not wait for it
    def document() -> dict[str, Any]:
        return openapi_document(
            [route for route in others if isinstance(route, DocumentedRoute)],
            public_paths=frozenset(public_paths),
            needs_key=bool(config.api_keys),
            server_path=config.root_path,
        )

    async def openapi(_request: Request) -> Response:
        return json_reply(document())

    return [*pages, Route("/openapi.json", openapi)]
