"""The table of OpenAI routes, and the two tokenizer routes that go with them."""

from __future__ import annotations

from starlette.routing import Route

from quire.api.server.openai.chat import chat_batch, chat_completions
from quire.api.server.openai.completions import completions
from quire.api.server.openai.models import list_models, show_model
from quire.api.server.openai.tokenize import detokenize, tokenize
from quire.api.server.routing import Handler, service_route
from quire.api.server.service import Service

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1/chat/completions", chat_completions),
    ("POST", "/v1/chat/completions/batch", chat_batch),
    ("POST", "/v1/completions", completions),
    ("GET", "/v1/models", list_models),
    ("GET", "/v1/models/{model:path}", show_model),
    ("POST", "/tokenize", tokenize),
    ("POST", "/detokenize", detokenize),
)


def openai_routes(service: Service) -> list[Route]:
    return [service_route(service, *row) for row in _ROUTES]
