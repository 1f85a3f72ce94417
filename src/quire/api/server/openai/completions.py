"""POST /v1/completions: prompts in (texts or token ids), `n` continuations of each out, whole or streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.types import ASGIApp

from quire.api.server.disconnect import unless_disconnected
from quire.api.server.fields import renamed
from quire.api.server.generation import Prepared, generate
from quire.api.server.openai.completion_text import CompletionText
from quire.api.server.openai.intake import read_generation
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.prompt_embeds import read_embeddings
from quire.api.server.openai.protocol_completions import (
    COMPLETION_FIELDS,
    CompletionChoice,
    CompletionReply,
    CompletionRequest,
)
from quire.api.server.openai.reply_head import ReplyHead, reply_head
from quire.api.server.openai.sampling import beam_params, check_streaming, sampling_params
from quire.api.server.openai.usage import UsageTally, timing_header, usage_tally
from quire.api.server.replies import event, json_reply
from quire.api.server.service import Service
from quire.api.server.streaming import StreamedReply
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import EngineRequest, PromptEmbeddings, SamplingParams
from quire.text.session import PositionList, RequestOutput, Session
from quire.text.tokenizer import WITHOUT

MAX_PROMPTS = 1024
MAX_CHOICES = 4096  # prompts times n
DEFAULT_MAX_TOKENS = 16  # OpenAI's


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """One accepted request: its prompts made ready, and one text in the making per choice."""

    fields: CompletionRequest
    head: ReplyHead
    prepared: list[Prepared]
    texts: list[CompletionText]
    usage: UsageTally
    prompt_logprobs: dict[int, PositionList] = field(default_factory=dict)

    def add(self, number: int, output: RequestOutput) -> list[int]:
        """Take in news of prompt `number`; returns the choices they are about, numbered prompt by prompt."""
        self.usage.note(number, output)
        if output.prompt_logprobs is not None:  # told once, yet every sample of the prompt may show them
            self.prompt_logprobs[number] = output.prompt_logprobs
        changed: list[int] = []
        for sample in output.outputs:
            index = number * self.prepared[0].request.sampling.n + sample.index
            self.texts[index].add(sample, self.prompt_logprobs.get(number))
            changed.append(index)
            if self.fields.max_tokens != 0:
                self.usage.completion_tokens += len(sample.token_ids)
        return changed


async def completions(service: Service, request: Request) -> ASGIApp:
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_generation(service, request, CompletionRequest, COMPLETION_FIELDS)
    call = await prepare_completions(
        service, session, fields, reply_head(service, request, fields, prefix="cmpl")
    )
    service.admit([item.request for item in call.prepared])
    if fields.stream:
        return StreamedReply(service, _events(service, session, call))
    with service.under_way():
        reply = await unless_disconnected(request.receive, _whole(service, session, call))
        return json_reply(reply, headers=timing_header(reply.metrics))


async def prepare_completions(
    service: Service, session: Session, fields: CompletionRequest, head: ReplyHead
) -> CompletionCall:
    names = {"extra_args": "vllm_xargs"}
    if fields.prompt_embeds is not None:
        names["prompt"] = "prompt_embeds"
    if fields.response_format is not None:
        names["structured_outputs"] = "response_format"
    with renamed(names):
        return await _prepare_call(service, session, fields, head)


async def _prepare_call(
    service: Service, session: Session, fields: CompletionRequest, head: ReplyHead
) -> CompletionCall:
    check_streaming(fields)
    if not service.engine_config.has_tokenizer:
        _answer_in_ids(fields)
    vectors = await _vectors(service, fields)
    prompts = vectors or _prompts(fields.prompt)
    sampling = _sampling(session, fields)
    if len(prompts) * sampling.n > MAX_CHOICES:
        raise InvalidValue(
            f"n times the number of prompts must be at most {MAX_CHOICES}, got {sampling.n} x {len(prompts)}",
            field="n",
        )
    bounds_tokens = fields.max_tokens is None and "max_tokens" not in service.config.sampling_defaults
    prepared: list[Prepared] = []
    for number, prompt in enumerate(prompts):
        engine_request = await session.prepare(
            prompt,
            sampling,
            request_id=head.engine_id(number),
            priority=fields.priority,
            cache_salt=fields.cache_salt or "",
            add_special_tokens=fields.add_special_tokens is not False,
        )
        if bounds_tokens:
            engine_request = _bounded(engine_request, DEFAULT_MAX_TOKENS)
        beams = beam_params(session, fields, engine_request.sampling)
        text = prompt if isinstance(prompt, str) else None
        prepared.append(Prepared(engine_request, text, beams=beams))
    usage = usage_tally(service)
    usage.prompt_tokens = sum(len(item.request.prompt_token_ids) for item in prepared)
    return CompletionCall(fields, head, prepared, _texts(session, fields, prepared), usage)


def _answer_in_ids(fields: CompletionRequest) -> None:
    """Without a tokenizer there is no text to answer in."""
    if fields.echo:
        raise Unsupported(f"echo is not supported: {WITHOUT}; the prompt is token ids", field="echo")
    fields.return_token_ids = fields.return_tokens_as_token_ids = True


async def _vectors(service: Service, fields: CompletionRequest) -> list[PromptEmbeddings]:
    """The prompts that are vectors; empty where they are not."""
    if fields.prompt_embeds is None:
        return []
    if not service.config.enable_prompt_embeds:
        raise Unsupported(
            "prompt_embeds is not taken here; start the server with --enable-prompt-embeds",
            field="prompt_embeds",
        )
    others = {
        "prompt": bool(fields.prompt),  # clients that must send one send it empty
        "echo": fields.echo,
        "use_beam_search": fields.use_beam_search,
    }
    for name, is_asked in others.items():
        if is_asked:
            raise Unsupported(f"prompt_embeds and {name} exclude each other; send one", field="prompt_embeds")
    given = [fields.prompt_embeds] if isinstance(fields.prompt_embeds, str) else fields.prompt_embeds
    if not 0 < len(given) <= MAX_PROMPTS:
        raise InvalidValue(
            f"prompt_embeds must hold 1 to {MAX_PROMPTS} prompts, got {len(given)}", field="prompt_embeds"
        )
    return [await asyncio.to_thread(read_embeddings, one, service.engine_config) for one in given]


def _prompts(prompt: str | list[str | int | list[int]] | None) -> list[str | list[int]]:
    if prompt is None:
        raise InvalidValue("prompt is required", field="prompt")
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise InvalidValue("prompt must not be empty", field="prompt")
    kinds = set(map(type, prompt))  # one pass in C: a list may hold millions of ids
    if len(kinds) > 1:
        raise InvalidValue(
            "prompt must be a text, a list of texts, a list of token ids, or a list of such lists",
            field="prompt",
        )
    if int in kinds:
        return [cast(list[int], prompt)]
    if len(prompt) > MAX_PROMPTS:
        raise InvalidValue(
            f"prompt may hold at most {MAX_PROMPTS} prompts, got {len(prompt)}", field="prompt"
        )
    return cast(list[str | list[int]], prompt)


def _sampling(session: Session, fields: CompletionRequest) -> SamplingParams:
    if fields.logprob_token_ids is not None and fields.logprobs is None:
        fields.logprobs = 0
    own: dict[str, Any] = {"logprobs": fields.logprobs}
    if fields.echo and fields.logprobs is not None and fields.prompt_logprobs is None:
        own["prompt_logprobs"] = fields.logprobs
    if fields.echo and fields.max_tokens == 0:
        own["max_tokens"] = 1  # only the prompt is wanted; the one token drawn is not shown
    return sampling_params(session, fields, own)


def _bounded(request: EngineRequest, max_tokens: int) -> EngineRequest:
    """At most `max_tokens`, or fewer where the context has less room."""
    bounded = min(max_tokens, request.sampling.max_tokens or max_tokens)
    return msgspec.structs.replace(
        request, sampling=msgspec.structs.replace(request.sampling, max_tokens=bounded)
    )


def _texts(session: Session, fields: CompletionRequest, prepared: Sequence[Prepared]) -> list[CompletionText]:
    speller = LogprobSpeller(
        session.tokenizer,
        as_token_ids=fields.return_tokens_as_token_ids,
        num_top=prepared[0].request.sampling.logprobs or 0,
        listed=fields.logprob_token_ids or (),
    )
    texts: list[CompletionText] = []
    for item in prepared:
        echo = None
        if fields.echo:
            is_cut = fields.truncate_prompt_tokens is not None
            known = None if is_cut else item.prompt_text
            echo = known or session.detokenize(item.request.prompt_token_ids)
        texts += [CompletionText(fields, item.request, speller, echo) for _ in range(item.request.sampling.n)]
    return texts


async def _whole(service: Service, session: Session, call: CompletionCall) -> CompletionReply:
    async with aclosing(generate(service, session, call.prepared)) as outputs:
        async for number, output in outputs:
            call.add(number, output)
    choices = [text.take(index) for index, text in enumerate(call.texts)]
    reply = _reply(call, choices)
    reply.usage = call.usage.as_usage()
    reply.metrics = call.usage.timings()
    return reply


async def _events(service: Service, session: Session, call: CompletionCall) -> AsyncGenerator[bytes, None]:
    options = call.fields.stream_options
    continuous = options is not None and options.continuous_usage_stats
    async with aclosing(generate(service, session, call.prepared)) as outputs:
        async for number, output in outputs:
            changed = [index for index in call.add(number, output) if call.texts[index].has_news]
            replies = [_reply(call, [call.texts[index].take(index)]) for index in changed]
            if continuous:
                for reply in replies:
                    reply.usage = call.usage.as_usage()
            if replies:
                yield b"".join(map(event, replies))
    if options is not None and (options.include_usage or continuous):
        last = _reply(call, [])
        last.usage = call.usage.as_usage()
        last.metrics = call.usage.timings()
        yield event(last)


def _reply(call: CompletionCall, choices: list[CompletionChoice]) -> CompletionReply:
    head = call.head
    return CompletionReply(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=choices,
        system_fingerprint=head.fingerprint,
        usage=UNSET,
    )
