"""POST /v1/chat/completions: messages in, one assistant message per sample out, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from msgspec import UNSET
from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.dialogue import Ask, Dialogue, News, converse, prepare_dialogue
from quire.api.server.disconnect import unless_disconnected
from quire.api.server.fields import renamed
from quire.api.server.openai.chat_answer import ChatAnswer, delta_of
from quire.api.server.openai.conversation import read_messages, read_tools, text_of
from quire.api.server.openai.intake import read_generation
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.protocol_chat import (
    CHAT_BATCH_FIELDS,
    CHAT_FIELDS,
    ChatBatchRequest,
    ChatChoice,
    ChatChunk,
    ChatFields,
    ChatReply,
    ChatRequest,
    ChunkChoice,
    Delta,
)
from quire.api.server.openai.reply_head import ReplyHead, reply_head
from quire.api.server.openai.sampling import beam_params, check_streaming, sampling_params
from quire.api.server.openai.usage import UsageTally, timing_header, usage_tally
from quire.api.server.replies import event, json_reply
from quire.api.server.service import Service
from quire.api.server.streaming import StreamedReply
from quire.base.errors import InvalidValue
from quire.base.messages import EngineRequest, SamplingParams
from quire.text.session import Session


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One accepted request. `lead` is what every answer starts with (echo of a continued message)."""

    fields: ChatFields
    head: ReplyHead
    dialogue: Dialogue
    lead: str
    role: str
    speller: LogprobSpeller

    @property
    def engine_request(self) -> EngineRequest:
        return self.dialogue.prepared.request


MAX_CONVERSATIONS = 1024  # of a batch
CHAT_NAMES = {"max_tokens": "max_completion_tokens", "logprobs": "top_logprobs"}  # of SamplingParams' fields


async def chat_completions(service: Service, request: Request) -> ASGIApp:
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_generation(service, request, ChatRequest, CHAT_FIELDS)
    head = reply_head(service, request, fields, prefix="chatcmpl")
    call = await prepare_chat(service, session, fields, head, fields.messages)
    service.admit([call.engine_request])
    if fields.stream:
        return StreamedReply(service, _events(service, session, call))
    with service.under_way():
        reply = await unless_disconnected(request.receive, _whole(service, session, [call]))
        return json_reply(reply, headers=timing_header(reply.metrics))


async def chat_batch(service: Service, request: Request) -> ASGIApp:
    """Many conversations in one call: a choice for each, in their order."""
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_generation(service, request, ChatBatchRequest, CHAT_BATCH_FIELDS)
    if not 0 < len(fields.messages) <= MAX_CONVERSATIONS:
        raise InvalidValue(
            f"messages must hold 1 to {MAX_CONVERSATIONS} conversations, got {len(fields.messages)}",
            field="messages",
        )
    head = reply_head(service, request, fields, prefix="chatcmpl")
    calls = [
        await prepare_chat(service, session, fields, head, messages, number, path=f"messages[{number}]")
        for number, messages in enumerate(fields.messages)
    ]
    service.admit([call.engine_request for call in calls])
    with service.under_way():
        reply = await unless_disconnected(request.receive, _whole(service, session, calls))
        return json_reply(reply, headers=timing_header(reply.metrics))


async def prepare_chat(
    service: Service,
    session: Session,
    fields: ChatFields,
    head: ReplyHead,
    conversation: list[dict[str, Any]],
    number: int = 0,
    *,
    path: str = "messages",
) -> ChatCall:
    """The call about conversation `number`, which stands at `path` of the request."""
    check_streaming(fields)
    names = {**CHAT_NAMES, "prompt": path, "messages": path, "extra_args": "vllm_xargs"}
    if fields.max_completion_tokens is None:
        del names["max_tokens"]
    if fields.response_format is not None:
        names["structured_outputs"] = "response_format"
    with renamed(names):
        sampling = _sampling(session, fields)
        messages = read_messages(conversation, path)
        tools = read_tools(
            fields.tools,
            fields.tool_choice,
            hides_unwanted=service.config.exclude_tools_when_tool_choice_none,
        )
        ask = _ask(fields, head.engine_id(number), messages, tools, sampling)
        dialogue = await prepare_dialogue(service, session, ask)
        beams = beam_params(session, fields, dialogue.prepared.request.sampling)
    dialogue = replace(dialogue, prepared=replace(dialogue.prepared, beams=beams))
    return _call(service, session, fields, head, dialogue, messages)


def _ask(
    fields: ChatFields,
    request_id: str,
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]] | None,
    sampling: SamplingParams,
) -> Ask:
    return Ask(
        request_id=request_id,
        messages=messages,
        sampling=sampling,
        tools=tools,
        tool_choice=fields.tool_choice,
        parallel_tool_calls=fields.parallel_tool_calls,
        include_reasoning=fields.include_reasoning,
        reasoning_effort=fields.reasoning_effort,
        add_generation_prompt=fields.add_generation_prompt,
        continue_final_message=fields.continue_final_message,
        chat_template_kwargs=fields.chat_template_kwargs,
        chat_template=fields.chat_template,
        documents=fields.documents,
        add_special_tokens=bool(fields.add_special_tokens),
        priority=fields.priority,
        cache_salt=fields.cache_salt or "",
        is_streamed=fields.stream,
    )


def _call(
    service: Service,
    session: Session,
    fields: ChatFields,
    head: ReplyHead,
    dialogue: Dialogue,
    messages: list[dict[str, Any]],
) -> ChatCall:
    request = dialogue.prepared.request
    speller = LogprobSpeller(
        session.tokenizer,
        as_token_ids=fields.return_tokens_as_token_ids,
        num_top=request.sampling.logprobs or 0,
        listed=fields.logprob_token_ids or (),
    )
    role = service.config.response_role
    lead = text_of(messages[-1]) if fields.echo and messages[-1]["role"] == role else ""
    return ChatCall(fields, head, dialogue, lead, role, speller)


def _sampling(session: Session, fields: ChatFields) -> SamplingParams:
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


async def _whole(service: Service, session: Session, calls: Sequence[ChatCall]) -> ChatReply:
    """All samples of all calls, numbered call by call. The prompt is told of where there is one."""
    call, num_samples = calls[0], calls[0].engine_request.sampling.n
    answers = [ChatAnswer(one.lead) for one in calls for _ in range(num_samples)]
    usage = _tally(service, calls)
    prompt_logprobs = None
    async with aclosing(converse(service, session, [one.dialogue for one in calls])) as stream:
        async for number, output, news in stream:
            usage.count(number, output)
            prompt_logprobs = prompt_logprobs or output.prompt_logprobs
            for one in news:
                answers[number * num_samples + one.index].add(one)
    wants_ids = call.fields.return_token_ids and len(calls) == 1
    return ChatReply(
        id=call.head.id,
        created=call.head.created,
        model=call.head.model,
        choices=[_choice(call, index, answer) for index, answer in enumerate(answers)],
        usage=usage.as_usage(),
        system_fingerprint=call.head.fingerprint,
        prompt_logprobs=call.speller.prompt(prompt_logprobs) if prompt_logprobs else UNSET,
        prompt_token_ids=call.engine_request.prompt_token_ids if wants_ids else UNSET,
        prompt_text=(call.dialogue.prepared.prompt_text or "") if call.fields.return_prompt_text else UNSET,
        metrics=usage.timings(),
    )


def _tally(service: Service, calls: Sequence[ChatCall]) -> UsageTally:
    usage = usage_tally(service)
    usage.prompt_tokens = sum(len(call.engine_request.prompt_token_ids) for call in calls)
    return usage


def _choice(call: ChatCall, index: int, answer: ChatAnswer) -> ChatChoice:
    return ChatChoice(
        index=index,
        message=answer.message(call.role),
        logprobs=call.speller.chat(answer.logprobs) if call.fields.logprobs else None,
        finish_reason=answer.finish_reason,
        stop_reason=answer.stop_reason,
        token_ids=answer.token_ids if call.fields.return_token_ids else UNSET,
    )


async def _events(service: Service, session: Session, call: ChatCall) -> AsyncGenerator[bytes, None]:
    """Per sample: a chunk with the role, chunks of text, a last one with the finish reason; then the usage."""
    options = call.fields.stream_options
    continuous = options is not None and options.continuous_usage_stats
    usage = _tally(service, [call])
    begun: set[int] = set()
    async with aclosing(converse(service, session, [call.dialogue])) as stream:
        async for _, output, news in stream:
            usage.count(0, output)
            chunks: list[ChatChunk] = []
            for one in news:
                if one.index not in begun:
                    begun.add(one.index)
                    chunks.append(_role_chunk(call, one.index))
                chunks += [_chunk(call.head, [choice]) for choice in _chunk_choices(call, one)]
            if continuous:
                for chunk in chunks:
                    chunk.usage = usage.as_usage()
            if chunks:
                yield b"".join(map(event, chunks))
    if options is not None and (options.include_usage or continuous):
        last = _chunk(call.head, [])
        last.usage = usage.as_usage()
        last.metrics = usage.timings()
        yield event(last)


def _role_chunk(call: ChatCall, index: int) -> ChatChunk:
    chunk = _chunk(call.head, [ChunkChoice(index, Delta(role=call.role, content=call.lead), None, None)])
    if call.fields.return_token_ids:
        chunk.prompt_token_ids = call.engine_request.prompt_token_ids
    if call.fields.return_prompt_text:
        chunk.prompt_text = call.dialogue.prepared.prompt_text or ""
    return chunk


def _chunk_choices(call: ChatCall, news: News) -> list[ChunkChoice]:
    """A choice for each event, log-probabilities and ids with the first, the end with the last.

    None at all where there is nothing to show yet: half a character, a possible stop string or marker.
    """
    fields, sample = call.fields, news.sample
    deltas = [delta_of(event) for event in news.events]
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
            choices[-1].finish_reason = news.finish_reason
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
