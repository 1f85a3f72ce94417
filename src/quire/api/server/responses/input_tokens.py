"""POST /v1/responses/input_tokens: how many tokens the prompt of such a response would have."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.body import read_request
from quire.api.server.dialogue import count_tokens, fitted
from quire.api.server.fields import renamed
from quire.api.server.replies import json_reply
from quire.api.server.responses.asking import make_ask, names_for
from quire.api.server.responses.create import conversation
from quire.api.server.responses.protocol import INPUT_TOKENS_FIELDS, InputTokensRequest
from quire.api.server.responses.reply_types import InputTokens
from quire.api.server.responses.store import ResponseStore
from quire.api.server.service import Service
from quire.base.messages import SamplingParams


async def count_input_tokens(store: ResponseStore, service: Service, request: Request) -> ASGIApp:
    """Needs no engine. With `truncation: auto` what would be dropped does not count."""
    session = service.text_session()
    fields = await read_request(request, InputTokensRequest, INPUT_TOKENS_FIELDS)
    service.served_name(fields.model)
    messages, _ = conversation(store, fields)
    with renamed(names_for(fields)):
        ask = make_ask(fields, messages, SamplingParams(max_tokens=None))
        if fields.truncation == "auto":
            ask = await fitted(service, session, ask)
        return json_reply(InputTokens(await count_tokens(service, session, ask)))
