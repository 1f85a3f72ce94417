"""POST /v1/chat/completions: messages in, one assistant message per sample out, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET
from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.body import read_request
from quire.api.server.disconnect import unless_disconnected
from quire.api.server.generation import Prepared, generate
from quire.api.server.openai.conversation import read_messages, read_tools
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.protocol_chat import (
    CHAT_FIELDS,
    ChatChoice,
    ChatChunk,
    ChatReply,
    ChatRequest,
    ChunkChoice,
    Delta,
    ReplyMessage,
)
from quire.api.server.openai.protocol_logprobs import ChatLogprobs
from quire.api.server.openai.rendering import render
from quire.api.server.openai.reply_head import ReplyHead, reply_head
from quire.api.server.openai.sampling import check_streaming, renamed, sampling_params
from quire.api.server.openai.usage import UsageTally
from quire.api.server.replies import event, json_reply
from quire.api.server.service import Service
from quire.api.server.streaming import StreamedReply
from quire.base.errors import InvalidValue
from quire.base.messages import SamplingParams
from quire.text.session import CompletionOutput, RequestOutput, Session


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One accepted request. `lead` is what every answer starts with (echo of a continued message)."""

    fields: ChatRequest
    head: ReplyHead
    prepared: Prepared
    lead: str
    role: str
    speller: LogprobSpeller
    usage: UsageTally


async def chat_completions(service: Service, request: Request) -> ASGIApp:
    session = service.generating_session()
    fields = await read_request(request, ChatRequest, CHAT_FIELDS)
    call = await _prepare(service, session, fields, reply_head(service, request, fields, prefix="chatcmpl"))
    if fields.stream:
        return StreamedReply(service, _events(service, session, call))
    with service.under_way():
        return json_reply(await unless_disconnected(request.receive, _whole(service, session, call)))


async def _prepare(service: Service, session: Session, fields: ChatRequest, head: ReplyHead) -> ChatCall:
    check_streaming(fields)
    names = {"prompt": "messages", "logprobs": "top_logprobs"}
    if fields.max_completion_tokens is not None:
        names["max_tokens"] = "max_completion_tokens"
    with renamed(names):
        sampling = _sampling(session, fields)
        messages = read_messages(fields.messages)
        prompt = render(
            service,
            session,
            fields,
            messages,
            tools=read_tools(fields.tools, fields.tool_choice),
            reasoning_effort=fields.reasoning_effort,
        )
        engine_request = await session.prepare(
            prompt,
            sampling,
            request_id=head.engine_id(0),
            priority=fields.priority,
            cache_salt=fields.cache_salt or "",
            add_special_tokens=bool(fields.add_special_tokens),  # the template wrote them already
        )
    speller = LogprobSpeller(
        session.tokenizer,
        as_token_ids=fields.return_tokens_as_token_ids,
        num_top=engine_request.sampling.logprobs or 0,
    )
    usage = UsageTally(with_details=service.config.enable_prompt_tokens_details)
    usage.prompt_tokens = len(engine_request.prompt_token_ids)
    lead = (
        messages[-1]["content"]
        if fields.echo and messages[-1]["role"] == service.config.response_role
        else ""
    )
    prepared = Prepared(engine_request, prompt)
    return ChatCall(fields, head, prepared, lead, service.config.response_role, speller, usage)


def _sampling(session: Session, fields: ChatRequest) -> SamplingParams:
    if fields.top_logprobs is not None and not fields.logprobs:
        raise InvalidValue("top_logprobs needs logprobs=true", field="top_logprobs")
    own: dict[str, Any] = {"logprobs": (fields.top_logprobs or 0) if fields.logprobs else None}
    if fields.max_completion_tokens is not None:
        if fields.max_tokens not in (None, fields.max_completion_tokens):
            raise InvalidValue(
                "max_tokens and max_completion_tokens differ; send one of them", field="max_tokens"
            )
        own["max_tokens"] = fields.max_completion_tokens
    return sampling_params(session, fields, own)


class _Answer:
    """One sample's deltas put together."""

    def __init__(self, lead: str) -> None:
        self.texts = [lead]
        self.token_ids: list[int] = []
        self.logprobs: list[Any] = []
        self.finish_reason: str | None = None
        self.stop_reason: int | str | None = None

    def add(self, sample: CompletionOutput) -> None:
        self.texts.append(sample.text)
        self.token_ids += sample.token_ids
        self.logprobs += sample.logprobs or []
        self.finish_reason, self.stop_reason = sample.finish_reason, sample.stop_reason


async def _whole(service: Service, session: Session, call: ChatCall) -> ChatReply:
    answers = [_Answer(call.lead) for _ in range(call.prepared.request.sampling.n)]
    prompt_logprobs = None
    async with aclosing(generate(service, session, [call.prepared])) as outputs:
        async for _, output in outputs:
            _count(call.usage, output)
            prompt_logprobs = prompt_logprobs or output.prompt_logprobs
            for sample in output.outputs:
                answers[sample.index].add(sample)
    wants_ids = call.fields.return_token_ids
    return ChatReply(
        id=call.head.id,
        created=call.head.created,
        model=call.head.model,
        choices=[_choice(call, index, answer) for index, answer in enumerate(answers)],
        usage=call.usage.as_usage(),
        system_fingerprint=call.head.fingerprint,
        prompt_logprobs=call.speller.prompt(prompt_logprobs) if prompt_logprobs else UNSET,
        prompt_token_ids=call.prepared.request.prompt_token_ids if wants_ids else UNSET,
    )


def _choice(call: ChatCall, index: int, answer: _Answer) -> ChatChoice:
    return ChatChoice(
        index=index,
        message=ReplyMessage(call.role, "".join(answer.texts)),
        logprobs=call.speller.chat(answer.logprobs) if call.fields.logprobs else None,
        finish_reason=answer.finish_reason,
        stop_reason=answer.stop_reason,
        token_ids=answer.token_ids if call.fields.return_token_ids else UNSET,
    )


def _count(usage: UsageTally, output: RequestOutput) -> None:
    usage.note_cached(0, output.num_cached_tokens)
    for sample in output.outputs:
        usage.completion_tokens += len(sample.token_ids)


async def _events(service: Service, session: Session, call: ChatCall) -> AsyncGenerator[bytes, None]:
    """Per sample: a chunk with the role, chunks of text, a last one with the finish reason; then the usage."""
    options = call.fields.stream_options
    continuous = options is not None and options.continuous_usage_stats
    begun: set[int] = set()
    async with aclosing(generate(service, session, [call.prepared])) as outputs:
        async for _, output in outputs:
            _count(call.usage, output)
            chunks: list[ChatChunk] = []
            for sample in output.outputs:
                if sample.index not in begun:
                    begun.add(sample.index)
                    chunks.append(_role_chunk(call, sample.index))
                choice = _chunk_choice(call, sample)
                if choice is not None:
                    chunks.append(_chunk(call.head, [choice]))
            if continuous:
                for chunk in chunks:
                    chunk.usage = call.usage.as_usage()
            if chunks:
                yield b"".join(map(event, chunks))
    if options is not None and (options.include_usage or continuous):
        last = _chunk(call.head, [])
        last.usage = call.usage.as_usage()
        yield event(last)


def _role_chunk(call: ChatCall, index: int) -> ChatChunk:
    chunk = _chunk(call.head, [ChunkChoice(index, Delta(role=call.role, content=call.lead), None, None)])
    if call.fields.return_token_ids:
        chunk.prompt_token_ids = call.prepared.request.prompt_token_ids
    return chunk


def _chunk_choice(call: ChatCall, sample: CompletionOutput) -> ChunkChoice | None:
    """None where there is nothing to show yet: the bytes of half a character, or a possible stop string."""
    fields = call.fields
    logprobs: ChatLogprobs | None = call.speller.chat(sample.logprobs or []) if fields.logprobs else None
    finished = sample.finish_reason is not None
    if not (sample.text or finished or (sample.token_ids and (fields.logprobs or fields.return_token_ids))):
        return None
    return ChunkChoice(
        index=sample.index,
        delta=Delta(content=sample.text) if sample.text else Delta(),
        logprobs=logprobs,
        finish_reason=sample.finish_reason,
        stop_reason=sample.stop_reason if finished else UNSET,
        token_ids=sample.token_ids if fields.return_token_ids else UNSET,
    )


def _chunk(head: ReplyHead, choices: list[ChunkChoice]) -> ChatChunk:
    return ChatChunk(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=choices,
        system_fingerprint=head.fingerprint,
    )
