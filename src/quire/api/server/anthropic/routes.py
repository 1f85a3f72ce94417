"""The table of Anthropic's routes."""

from __future__ import annotations

from starlette.routing import Route

from quire.api.server.anthropic.messages import count_message_tokens, create_message
from quire.api.server.anthropic.protocol import (
    COUNT_FIELDS,
    MESSAGES_FIELDS,
    CountTokensRequest,
    MessagesRequest,
)
from quire.api.server.anthropic.reply_types import MessageReply, TokenCount
from quire.api.server.routing import Handler, Spec, service_route
from quire.api.server.service import Service

_ROUTES: tuple[tuple[str, str, Handler, Spec], ...] = (
    (
        "POST",
        "/v1/messages",
        create_message,
        Spec(
            summary="Answer a conversation, in Anthropic's shapes",
            tag="Anthropic",
            request=MessagesRequest,
            fields=MESSAGES_FIELDS,
            reply=MessageReply,
        ),
    ),
    (
        "POST",
        "/v1/messages/count_tokens",
        count_message_tokens,
        Spec(
            summary="How many tokens a conversation's prompt makes",
            tag="Anthropic",
            request=CountTokensRequest,
            fields=COUNT_FIELDS,
            reply=TokenCount,
        ),
    ),
)


def anthropic_routes(service: Service) -> list[Route]:
    return [service_route(service, *row) for row in _ROUTES]
