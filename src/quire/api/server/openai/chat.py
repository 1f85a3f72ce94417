"""POST /v1/chat/completions: messages in, one assistant message per sample out, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET
from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.disconnect import unless_disconnected
from quire.api.server.generation import Prepared, generate
from quire.api.server.openai.conversation import forced_functions, read_messages, read_tools
from quire.api.server.openai.intake import read_generation
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.protocol_chat import (
    CHAT_FIELDS,
    ChatChoice,
    ChatChunk,
    ChatReply,
    ChatRequest,
    ChunkChoice,
    Delta,
    ReplyFunction,
    ReplyMessage,
    ReplyToolCall,
)
from quire.api.server.openai.rendering import render
from quire.api.server.openai.reply_head import ReplyHead, reply_head
from quire.api.server.openai.reply_parsing import Reading, SampleReader, choose_reading
from quire.api.server.openai.sampling import beam_params, check_streaming, renamed, sampling_params
from quire.api.server.openai.usage import UsageTally, timing_header, usage_tally
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
    reading: Reading
    lead: str
    role: str
    speller: LogprobSpeller
    usage: UsageTally


async def chat_completions(service: Service, request: Request) -> ASGIApp:
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_generation(service, request, ChatRequest, CHAT_FIELDS)
    call = await prepare_chat(
        service, session, fields, reply_head(service, request, fields, prefix="chatcmpl")
    )
    service.admit([call.prepared.request])
    if fields.stream:
        return StreamedReply(service, _events(service, session, call))
    with service.under_way():
        reply = await unless_disconnected(request.receive, _whole(service, session, call))
        return json_reply(reply, headers=timing_header(reply.metrics))


async def prepare_chat(service: Service, session: Session, fields: ChatRequest, head: ReplyHead) -> ChatCall:
    check_streaming(fields)
    names = {"prompt": "messages", "logprobs": "top_logprobs"}
    if fields.max_completion_tokens is not None:
        names["max_tokens"] = "max_completion_tokens"
    if fields.response_format is not None:
        names["structured_outputs"] = "response_format"
    with renamed(names):
        sampling = _sampling(session, fields)
        messages = read_messages(fields.messages)
        tools = read_tools(
            fields.tools,
            fields.tool_choice,
            hides_unwanted=service.config.exclude_tools_when_tool_choice_none,
        )
        forced = forced_functions(tools, fields.tool_choice)
        if forced:
            names["structured_outputs"] = "tools"
        prompt = render(
            service,
            session,
            fields,
            messages,
            tools=tools,
            reasoning_effort=fields.reasoning_effort,
            documents=fields.documents,
            chat_template=fields.chat_template,
        )
        called = None if fields.tool_choice == "none" else tools
        reading = choose_reading(service, session, fields, called, prompt, forced)
        engine_request = await session.prepare(
            prompt,
            sampling,
            request_id=head.engine_id(0),
            priority=fields.priority,
            cache_salt=fields.cache_salt or "",
            add_special_tokens=bool(fields.add_special_tokens),  # the template wrote them already
            grammar=reading.grammar,
            reasoning=reading.reasoning_format,
        )
    speller = LogprobSpeller(
        session.tokenizer,
        as_token_ids=fields.return_tokens_as_token_ids,
        num_top=engine_request.sampling.logprobs or 0,
        listed=fields.logprob_token_ids or (),
    )
    usage = usage_tally(service)
    usage.prompt_tokens = len(engine_request.prompt_token_ids)
    lead = (
        messages[-1]["content"]
        if fields.echo and messages[-1]["role"] == service.config.response_role
        else ""
    )
    with renamed(names):
        beams = beam_params(session, fields, engine_request.sampling)
    prepared = Prepared(engine_request, prompt, reading.shown_ids, beams)
    return ChatCall(fields, head, prepared, reading, lead, service.config.response_role, speller, usage)


def _sampling(session: Session, fields: ChatRequest) -> SamplingParams:
    if fields.logprob_token_ids is not None and fields.logprobs is None:
        fields.logprobs = True
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

    def __init__(self, call: ChatCall) -> None:
        self._reader = SampleReader(call.reading)
        self.texts = [call.lead]
        self.reasoning: list[str] = []
        self.calls: list[ReplyToolCall] = []
        self._arguments: list[list[str]] = []  # of each call, in pieces
        self.token_ids: list[int] = []
        self.logprobs: list[Any] = []
        self.finish_reason: str | None = None
        self.stop_reason: int | str | None = None

    def add(self, sample: CompletionOutput) -> None:
        for delta in self._reader.read(sample):
            self.texts.append(delta.content or "")
            self.reasoning.append(delta.reasoning or "")
            for call in delta.tool_calls or ():
                if call.id is not None:
                    self.calls.append(ReplyToolCall(call.id, ReplyFunction(call.function.name or "", "")))
                    self._arguments.append([])
                self._arguments[call.index].append(call.function.arguments or "")
        self.token_ids += sample.token_ids
        self.logprobs += sample.logprobs or []
        self.finish_reason, self.stop_reason = self._reader.finish_reason(sample), sample.stop_reason

    def message(self, role: str) -> ReplyMessage:
        """Content is null where there is nothing but calls; parts that the reply has none of are left out."""
        for call, arguments in zip(self.calls, self._arguments, strict=True):
            call.function.arguments = "".join(arguments)
        content, reasoning = "".join(self.texts), "".join(self.reasoning) or UNSET
        return ReplyMessage(
            role,
            None if self.calls and not content else content,
            reasoning=reasoning,
            reasoning_content=reasoning,
            tool_calls=self.calls or UNSET,
        )


async def _whole(service: Service, session: Session, call: ChatCall) -> ChatReply:
    answers = [_Answer(call) for _ in range(call.prepared.request.sampling.n)]
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
        prompt_text=(call.prepared.prompt_text or "") if call.fields.return_prompt_text else UNSET,
        metrics=call.usage.timings(),
    )


def _choice(call: ChatCall, index: int, answer: _Answer) -> ChatChoice:
    return ChatChoice(
        index=index,
        message=answer.message(call.role),
        logprobs=call.speller.chat(answer.logprobs) if call.fields.logprobs else None,
        finish_reason=answer.finish_reason,
        stop_reason=answer.stop_reason,
        token_ids=answer.token_ids if call.fields.return_token_ids else UNSET,
    )


def _count(usage: UsageTally, output: RequestOutput) -> None:
    usage.note_cached(0, output.num_cached_tokens)
    usage.note_end(output)
    for sample in output.outputs:
        usage.completion_tokens += len(sample.token_ids)


async def _events(service: Service, session: Session, call: ChatCall) -> AsyncGenerator[bytes, None]:
    """Per sample: a chunk with the role, chunks of text, a last one with the finish reason; then the usage."""
    options = call.fields.stream_options
    continuous = options is not None and options.continuous_usage_stats
    readers: dict[int, SampleReader] = {}
    async with aclosing(generate(service, session, [call.prepared])) as outputs:
        async for _, output in outputs:
            _count(call.usage, output)
            chunks: list[ChatChunk] = []
            for sample in output.outputs:
                reader = readers.get(sample.index)
                if reader is None:
                    reader = readers[sample.index] = SampleReader(call.reading)
                    chunks.append(_role_chunk(call, sample.index))
                chunks += [_chunk(call.head, [choice]) for choice in _chunk_choices(call, reader, sample)]
            if continuous:
                for chunk in chunks:
                    chunk.usage = call.usage.as_usage()
            if chunks:
                yield b"".join(map(event, chunks))
    if options is not None and (options.include_usage or continuous):
        last = _chunk(call.head, [])
        last.usage = call.usage.as_usage()
        last.metrics = call.usage.timings()
        yield event(last)


def _role_chunk(call: ChatCall, index: int) -> ChatChunk:
    chunk = _chunk(call.head, [ChunkChoice(index, Delta(role=call.role, content=call.lead), None, None)])
    if call.fields.return_token_ids:
        chunk.prompt_token_ids = call.prepared.request.prompt_token_ids
    if call.fields.return_prompt_text:
        chunk.prompt_text = call.prepared.prompt_text or ""
    return chunk


def _chunk_choices(call: ChatCall, reader: SampleReader, sample: CompletionOutput) -> list[ChunkChoice]:
    """A choice for each delta, log-probabilities and ids with the first, the end with the last.

    None at all where there is nothing to show yet: half a character, a possible stop string or marker.
    """
    fields = call.fields
    deltas = reader.read(sample)
    finished = sample.finish_reason is not None
    if not deltas and (finished or (sample.token_ids and (fields.logprobs or fields.return_token_ids))):
        deltas = [Delta()]
    choices = [ChunkChoice(sample.index, delta, None, None) for delta in deltas]
    if choices:
        if fields.logprobs:
            choices[0].logprobs = call.speller.chat(sample.logprobs or [])
        if fields.return_token_ids:
            choices[0].token_ids = sample.token_ids
            for other in choices[1:]:
                other.token_ids = []
        if finished:
            choices[-1].finish_reason = reader.finish_reason(sample)
            choices[-1].stop_reason = sample.stop_reason
    return choices


def _chunk(head: ReplyHead, choices: list[ChunkChoice]) -> ChatChunk:
    return ChatChunk(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=choices,
        system_fingerprint=head.fingerprint,
    )
