"""POST /tokenize and /detokenize: a text or a conversation to token ids, and back. Needs no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.body import read_request
from quire.api.server.dialogue import encode, render
from quire.api.server.fields import FieldTable, renamed
from quire.api.server.openai.conversation import read_messages, read_tools
from quire.api.server.openai.shared_fields import Int, names_of
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.errors import InvalidValue
from quire.text.session import Session
from quire.text.tokenizer import read_tokenizer_config


class TokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Exactly one of `prompt` and `messages`. A conversation gets no special tokens beyond its template's."""

    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_strs: bool = False


class TokenizeReply(msgspec.Struct, kw_only=True, omit_defaults=True):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    model: str | None = None
    tokens: list[Int]


class DetokenizeReply(msgspec.Struct):
    prompt: str


TOKENIZE_FIELDS = FieldTable(taken=names_of(TokenizeRequest), harmless={}, refused={})
DETOKENIZE_FIELDS = FieldTable(taken=names_of(DetokenizeRequest), harmless={}, refused={})


async def tokenize(service: Service, request: Request) -> Response:
    session = service.text_session()
    fields = await read_request(request, TokenizeRequest, TOKENIZE_FIELDS)
    service.served_name(fields.model)
    text, adds_special_tokens = _text(service, session, fields)
    tokens = await encode(session, text, add_special_tokens=adds_special_tokens)
    texts = [session.tokenizer.token_text(token) for token in tokens] if fields.return_token_strs else None
    return json_reply(
        TokenizeReply(
            count=len(tokens),
            max_model_len=service.engine_config.max_model_len,
            tokens=tokens,
            token_strs=texts,
        )
    )


def _text(service: Service, session: Session, fields: TokenizeRequest) -> tuple[str, bool]:
    """What to tokenize, and whether the tokens a model wants around a text are to be added."""
    if (fields.prompt is None) == (fields.messages is None):
        raise InvalidValue("send either prompt or messages", field="prompt")
    if fields.prompt is not None:
        return fields.prompt, fields.add_special_tokens is not False
    with renamed({"prompt": "messages"}):
        messages = read_messages(fields.messages or [])
        tools = read_tools(fields.tools, None)
        return render(service, session, fields, messages, tools=tools), bool(fields.add_special_tokens)


async def detokenize(service: Service, request: Request) -> Response:
    session = service.text_session()
    fields = await read_request(request, DetokenizeRequest, DETOKENIZE_FIELDS)
    service.served_name(fields.model)
    return json_reply(DetokenizeReply(session.detokenize(fields.tokens)))


async def tokenizer_info(service: Service, _request: Request) -> Response:
    """tokenizer_config.json as the model has it, and the chat template in use."""
    session = service.text_session()
    info = read_tokenizer_config(Path(service.engine_config.text_folder))
    info.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    templates = session.template.sources if session.template else {}
    info["chat_template"] = templates.get("default")
    return json_reply(info)
