"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from quire.api.server.anthropic.asking import make_ask, names_for, sampling_for
from quire.api.server.anthropic.protocol import (
    COUNT_FIELDS,
    MESSAGES_FIELDS,
    CountTokensRequest,
    MessagesRequest,
)
from quire.api.server.anthropic.reply_types import (
    MessageDelta,
    MessageEnd,
    MessageReply,
    MessageStart,
    MessageStop,
    MessageUsage,
    OutputTokensDetails,
    Ping,
    StreamEvent,
    TokenCount,
    event_name,
)
from quire.api.server.anthropic.writing import BlockWriter
from quire.api.server.body import read_request
from quire.api.server.dialogue import Dialogue, News, converse, count_tokens, prepare_dialogue
from quire.api.server.disconnect import unless_disconnected
from quire.api.server.errors import anthropic_error_body
from quire.api.server.fields import renamed
from quire.api.server.openai.reply_head import ReplyHead
from quire.api.server.openai.usage import UsageTally
from quire.api.server.replies import json_reply, named_event
from quire.api.server.request_id import choose_request_id
from quire.api.server.service import Service
from quire.api.server.streaming import StreamedReply
from quire.base.messages import SamplingParams
from quire.text.session import Session


@dataclass(frozen=True, slots=True)
class MessageCall:
    """One accepted request, the reply it comes to, and events of it that nobody took yet."""

    fields: MessagesRequest
    dialogue: Dialogue
    reply: MessageReply
    events: list[bytes]

    def emit(self, event: StreamEvent) -> None:
        if self.fields.stream:
            self.events.append(named_event(event_name(event), event))


async def create_message(service: Service, request: Request) -> ASGIApp:
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_request(request, MessagesRequest, MESSAGES_FIELDS)
    call = await _prepare(service, session, fields, request)
    service.admit([call.dialogue.prepared.request])
    if fields.stream:
        events = _events(service, session, call)
        return StreamedReply(service, events, spell_error=_error_event, ending=b"")
    with service.under_way():
        return json_reply(await unless_disconnected(request.receive, _whole(service, session, call)))


async def count_message_tokens(service: Service, request: Request) -> Response:
    """How many tokens the same request's prompt would have. Needs no engine."""
    session = service.text_session()
    fields = await read_request(request, CountTokensRequest, COUNT_FIELDS)
    service.served_name(fields.model)
    with renamed(names_for(fields)):
        ask = make_ask(service, session, fields, SamplingParams(), request_id="")
        return json_reply(TokenCount(await count_tokens(service, session, ask)))


async def _prepare(
    service: Service, session: Session, fields: MessagesRequest, request: Request
) -> MessageCall:
    model = service.served_name(fields.model)
    head = ReplyHead(f"msg_{choose_request_id(fields.request_id, request)}", 0, model, service.fingerprint)
    with renamed(names_for(fields)):
        sampling = sampling_for(session, fields)
        ask = make_ask(service, session, fields, sampling, request_id=head.engine_id(0))
        dialogue = await prepare_dialogue(service, session, ask)
    usage = MessageUsage(input_tokens=0, cache_read_input_tokens=0, output_tokens=0)
    return MessageCall(fields, dialogue, MessageReply(id=head.id, model=model, usage=usage), [])


async def _whole(service: Service, session: Session, call: MessageCall) -> MessageReply:
    async with aclosing(_write(service, session, call)) as steps:
        async for _ in steps:
            pass
    return call.reply


async def _events(service: Service, session: Session, call: MessageCall) -> AsyncGenerator[bytes, None]:
    async with aclosing(_write(service, session, call)) as steps:
        async for _ in steps:
            if call.events:
                yield b"".join(call.events)
                call.events.clear()


async def _write(service: Service, session: Session, call: MessageCall) -> AsyncGenerator[None, None]:
    """Fills the reply in; yields whenever there may be events. With the first news it is known what was cached."""
    reply, writer = call.reply, BlockWriter(call.emit)
    tally = UsageTally(with_details=True)
    tally.prompt_tokens = len(call.dialogue.prepared.request.prompt_token_ids)
    has_begun = False
    async with aclosing(converse(service, session, [call.dialogue])) as stream:
        async for _, output, news in stream:
            tally.count(0, output)
            if not has_begun:
                has_begun = True
                reply.usage = _usage(tally, 0)
                call.emit(MessageStart(reply))
                call.emit(Ping())
            for one in news:
                for event in one.events:
                    writer.add(event)
                if one.finish_reason is not None:
                    reply.stop_reason, reply.stop_sequence = _end(call, one)
            yield
    writer.finish()
    reply.content, reply.usage = writer.blocks, _usage(tally, tally.completion_tokens)
    thinking = session.tokenizer.encode(writer.thinking, add_special_tokens=False) if writer.thinking else []
    reply.usage.output_tokens_details = OutputTokensDetails(min(len(thinking), tally.completion_tokens))
    call.emit(MessageDelta(MessageEnd(reply.stop_reason, reply.stop_sequence), reply.usage))
    call.emit(MessageStop())
    yield


def _usage(tally: UsageTally, output_tokens: int) -> MessageUsage:
    return MessageUsage(
        input_tokens=tally.prompt_tokens - tally.cached_tokens,
        cache_read_input_tokens=tally.cached_tokens,
        output_tokens=output_tokens,
    )


def _end(call: MessageCall, news: News) -> tuple[str, str | None]:
    """stop_reason and stop_sequence."""
    if news.finish_reason == "tool_calls":
        return "tool_use", None
    if news.finish_reason == "length":
        max_tokens = call.dialogue.prepared.request.sampling.max_tokens or 0
        is_cut = max_tokens < call.fields.max_tokens
        return "model_context_window_exceeded" if is_cut else "max_tokens", None
    if isinstance(news.sample.stop_reason, str):
        return "stop_sequence", news.sample.stop_reason
    return "end_turn", None


def _error_event(error: Exception) -> bytes:
    return named_event("error", anthropic_error_body(error))
