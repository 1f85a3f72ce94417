"""The table of Anthropic's routes."""

from __future__ import annotations

from starlette.routing import Route

from quire.api.server.anthropic.messages import count_message_tokens, create_message
from quire.api.server.anthropic.protocol import (
    COUNT_FIELDS,
    MESSAGES_FIELDS,
    CountTokensRequest,
    Message,
    MessagesRequest,
    Tool,
)
from quire.api.server.anthropic.reply_types import AnyEvent, MessageReply, TokenCount
from quire.api.server.errors import AnthropicErrorBody
from quire.api.server.routing import Spec, service_route
from quire.api.server.service import Service

_TAG = "Messages"
_INNER = {"messages": list[Message], "tools": list[Tool]}
_CREATE = Spec(
    summary="Answer a conversation of blocks",
    tag=_TAG,
    request=MessagesRequest,
    fields=MESSAGES_FIELDS,
    inner=_INNER,
    reply=MessageReply,
    event=AnyEvent,
    error=AnthropicErrorBody,
    sampling={},
)
_COUNT = Spec(
    summary="Count the tokens of a prompt of blocks",
    tag=_TAG,
    request=CountTokensRequest,
    fields=COUNT_FIELDS,
    inner=_INNER,
    reply=TokenCount,
    error=AnthropicErrorBody,
)


def anthropic_routes(service: Service) -> list[Route]:
    return [
        service_route(service, "POST", "/v1/messages", create_message, _CREATE),
        service_route(service, "POST", "/v1/messages/count_tokens", count_message_tokens, _COUNT),
    ]
