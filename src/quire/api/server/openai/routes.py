"""The table of OpenAI routes, and the two tokenizer routes that go with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quire.api.server.disconnect import ClientGone
from quire.api.server.openai.chat import chat_completions
from quire.api.server.openai.completions import completions
from quire.api.server.openai.generative_scoring import generative_scoring
from quire.api.server.openai.models import list_models, show_model
from quire.api.server.openai.scale_out import (
    generate_tokens,
    refuse_derender,
    render_chat,
    render_completions,
)
from quire.api.server.openai.tokenize import detokenize, tokenize, tokenizer_info
from quire.api.server.service import Service

Handler = Callable[[Service, Request], Awaitable[ASGIApp]]

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1/chat/completions", chat_completions),
    ("POST", "/v1/completions", completions),
    ("GET", "/v1/models", list_models),
    ("GET", "/v1/models/{model:path}", show_model),
    ("POST", "/tokenize", tokenize),
    ("POST", "/detokenize", detokenize),
    ("POST", "/v1/chat/completions/render", render_chat),
    ("POST", "/v1/completions/render", render_completions),
    ("POST", "/v1/chat/completions/derender", refuse_derender),
    ("POST", "/v1/completions/derender", refuse_derender),
    ("POST", "/inference/v1/generate", generate_tokens),
    ("POST", "/generative_scoring", generative_scoring),
)

_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; only the access log sees it


def openai_routes(service: Service) -> list[Route]:
    routes = [*_ROUTES]
    if service.config.enable_tokenizer_info_endpoint:
        routes.append(("GET", "/tokenizer_info", tokenizer_info))
    return [Route(path, _endpoint(service, handler), methods=[method]) for method, path, handler in routes]


def _endpoint(service: Service, handler: Handler) -> Callable[[Request], Awaitable[ASGIApp]]:
    async def endpoint(request: Request) -> ASGIApp:
        try:
            return await handler(service, request)
        except ClientGone:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)

    return endpoint
