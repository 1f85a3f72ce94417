"""Routes that split a request between servers: a prompt made into tokens here, generated from there.

`…/render` gives, for a chat or completion request, what `/inference/v1/generate` takes. They answer 403 unless the
server was started with --enable-scale-out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from quire.api.server.administration.engine import abort_requests
from quire.api.server.body import convert, read_request
from quire.api.server.disconnect import unless_disconnected
from quire.api.server.errors import HttpError
from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.generation import Prepared, generate
from quire.api.server.openai.chat import prepare_chat
from quire.api.server.openai.completions import prepare_completions
from quire.api.server.openai.intake import read_generation
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.protocol_chat import CHAT_FIELDS, ChatRequest
from quire.api.server.openai.protocol_completions import COMPLETION_FIELDS, CompletionRequest
from quire.api.server.openai.protocol_logprobs import ChatLogprobs, PromptLogprobs
from quire.api.server.openai.reply_head import reply_head
from quire.api.server.openai.shared_fields import Int, StreamOptions, names_of
from quire.api.server.openai.usage import Usage, UsageTally, usage_tally
from quire.api.server.replies import event, json_reply
from quire.api.server.request_id import choose_request_id
from quire.api.server.service import Service
from quire.api.server.streaming import StreamedReply
from quire.base.constraints import StructuredOutputsParams
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import EngineRequest, OutputKind, SamplingParams
from quire.text.session import RequestOutput, Session

OFFSETS = "return_token_offsets"


class RenderChat(ChatRequest, kw_only=True, forbid_unknown_fields=True):
    """`return_token_offsets` asks where in the prompt's text each of its tokens stands."""

    return_token_offsets: bool | None = None


class RenderCompletion(CompletionRequest, kw_only=True, forbid_unknown_fields=True):
    """As RenderChat."""

    return_token_offsets: bool | None = None


def _with_offsets(struct: type[msgspec.Struct], fields: FieldTable) -> FieldTable:
    refused = {name: why for name, why in fields.refused.items() if name != OFFSETS}
    return FieldTable(taken=names_of(struct), harmless=fields.harmless, refused=refused)


RENDER_CHAT_FIELDS = _with_offsets(RenderChat, CHAT_FIELDS)
RENDER_COMPLETION_FIELDS = _with_offsets(RenderCompletion, COMPLETION_FIELDS)


class GenerateRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tokens in. `sampling_params` are named as SamplingParams' fields are. `token_offsets`, of render, say where in
    the prompt's text each token begins and ends, in characters; (0, 0) of tokens that are put around it."""

    token_ids: list[Int]
    sampling_params: dict[str, Any] = {}
    request_id: str | None = None
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    cache_salt: str | None = None
    priority: Int = 0
    token_offsets: list[tuple[Int, Int]] | None = None


GENERATE_FIELDS = FieldTable(
    taken=[name for name in names_of(GenerateRequest) if name != "token_offsets"],
    harmless={"token_offsets": list},  # of the text, which is not here
    refused={
        "features": Refusal("prompts are tokens alone"),
        "kv_transfer_params": Refusal("keys and values are not moved between servers"),
    },
)


class GeneratedTokens(msgspec.Struct):
    index: int
    token_ids: list[int]
    finish_reason: str | None
    stop_reason: int | str | None
    logprobs: ChatLogprobs | None = None


class GenerateReply(msgspec.Struct, kw_only=True):
    """Tokens out; as a chunk of a stream, those that are new."""

    request_id: str
    choices: list[GeneratedTokens]
    usage: Usage | msgspec.UnsetType = UNSET
    prompt_logprobs: PromptLogprobs | msgspec.UnsetType = UNSET


def require_scale_out(service: Service) -> None:
    if not (service.config.enable_scale_out or service.config.tokens_only):
        raise HttpError(
            "This route splits a request between servers and is switched off; start the server with "
            "--enable-scale-out.",
            status=403,
            code="forbidden",
        )


async def render_chat(service: Service, request: Request) -> Response:
    require_scale_out(service)
    session = service.generating_session()
    fields = await read_generation(service, request, RenderChat, RENDER_CHAT_FIELDS)
    head = reply_head(service, request, fields, prefix="chatcmpl")
    call = await prepare_chat(service, session, fields, head, fields.messages)
    return json_reply(_rendered(session, call.dialogue.prepared, fields, head.id))


async def render_completions(service: Service, request: Request) -> Response:
    require_scale_out(service)
    session = service.generating_session()
    fields = await read_generation(service, request, RenderCompletion, RENDER_COMPLETION_FIELDS)
    head = reply_head(service, request, fields, prefix="cmpl")
    call = await prepare_completions(service, session, fields, head)
    return json_reply(
        [_rendered(session, item, fields, f"{head.id}-{number}") for number, item in enumerate(call.prepared)]
    )


async def refuse_derender(service: Service, request: Request) -> Response:
    require_scale_out(service)
    raise HttpError(
        f"{request.url.path} is not implemented: /detokenize makes text of tokens.",
        status=501,
        code="not_implemented",
    )


def _rendered(
    session: Session, item: Prepared, fields: RenderChat | RenderCompletion, request_id: str
) -> GenerateRequest:
    if item.beams is not None:
        raise Unsupported(
            "use_beam_search is not supported by render: a search takes many requests",
            field="use_beam_search",
        )
    request = item.request
    if request.embeddings is not None:
        raise Unsupported(
            "prompt_embeds is not supported by render: vectors are no tokens", field="prompt_embeds"
        )
    return GenerateRequest(
        token_ids=request.prompt_token_ids,
        sampling_params=msgspec.to_builtins(_portable_sampling(request), str_keys=True),
        request_id=request_id,
        model=fields.model,
        stream=fields.stream,
        stream_options=fields.stream_options,
        cache_salt=fields.cache_salt,
        priority=fields.priority,
        token_offsets=_offsets(session, item, fields) if fields.return_token_offsets else None,
    )


def _offsets(
    session: Session, item: Prepared, fields: RenderChat | RenderCompletion
) -> list[tuple[int, int]] | None:
    """None for a prompt that came in tokens."""
    if fields.truncate_prompt_tokens is not None:
        raise Unsupported(
            f"{OFFSETS} is not supported with truncate_prompt_tokens; send what is left of the text",
            field=OFFSETS,
        )
    if item.prompt_text is None:
        return None
    usual = isinstance(fields, CompletionRequest)  # a chat template writes its own
    adds = usual if fields.add_special_tokens is None else fields.add_special_tokens
    return session.tokenizer.offsets(item.prompt_text, add_special_tokens=adds)


def _portable_sampling(request: EngineRequest) -> SamplingParams:
    """The request's parameters as another server takes them: a grammar of forced calls as a structural tag."""
    sampling = msgspec.structs.replace(
        request.sampling, output_kind=OutputKind.CUMULATIVE, truncate_prompt_tokens=None, truncation_side=None
    )
    if request.constraint is not None and sampling.structured_outputs is None:
        tag = StructuredOutputsParams(structural_tag=request.constraint.grammar.text)
        sampling = msgspec.structs.replace(sampling, structured_outputs=tag)
    return sampling


async def abort_tokens(service: Service, request: Request) -> Response:
    require_scale_out(service)
    return await abort_requests(service, request)


async def generate_tokens(service: Service, request: Request) -> ASGIApp:
    require_scale_out(service)
    session = service.generating_session()
    service.admit()  # before the body is read
    fields = await read_request(request, GenerateRequest, GENERATE_FIELDS)
    service.served_name(fields.model)
    request_id = choose_request_id(fields.request_id, request)
    prepared = await _prepare(session, fields, request_id)
    service.admit([prepared.request])
    usage = usage_tally(service)
    usage.prompt_tokens = len(fields.token_ids)
    if fields.stream:
        return StreamedReply(service, _events(service, session, prepared, fields, request_id, usage))
    with service.under_way():
        work = _whole(service, session, prepared, request_id, usage)
        return json_reply(await unless_disconnected(request.receive, work))


async def _prepare(session: Session, fields: GenerateRequest, request_id: str) -> Prepared:
    asked = {name: value for name, value in fields.sampling_params.items() if value is not None}
    if fields.stream_options is not None and not fields.stream:
        raise InvalidValue("stream_options needs stream=true", field="stream_options")
    for name in ("detokenize", "output_kind"):
        asked.pop(name, None)  # said by the route
    sampling = convert(asked, SamplingParams, under="sampling_params")
    if sampling.stop_strings:
        raise Unsupported(
            "sampling_params.stop is not supported: no text is made here; use stop_token_ids",
            field="sampling_params.stop",
        )
    sampling = msgspec.structs.replace(sampling, detokenize=False, output_kind=OutputKind.DELTA)
    engine_request = await session.prepare(
        fields.token_ids,
        sampling,
        request_id=f"gen-{request_id}"[:128],
        priority=fields.priority,
        cache_salt=fields.cache_salt or "",
    )
    return Prepared(engine_request, None)


class _Reply:
    """Puts an output's parts into the shape of the wire."""

    def __init__(self, session: Session, prepared: Prepared, request_id: str) -> None:
        self._id = request_id
        num_top = prepared.request.sampling.logprobs
        listed = prepared.request.sampling.logprob_token_ids or ()
        self._shows = num_top is not None or bool(listed)
        self._speller = LogprobSpeller(
            session.tokenizer, as_token_ids=True, num_top=num_top or 0, listed=listed
        )

    def of(self, output: RequestOutput) -> GenerateReply:
        choices = [
            GeneratedTokens(
                index=sample.index,
                token_ids=sample.token_ids,
                finish_reason=sample.finish_reason,
                stop_reason=sample.stop_reason,
                logprobs=self._speller.chat(sample.logprobs or []) if self._shows else None,
            )
            for sample in output.outputs
        ]
        scored = output.prompt_logprobs
        return GenerateReply(
            request_id=self._id,
            choices=choices,
            prompt_logprobs=UNSET if scored is None else self._speller.prompt(scored),
        )


async def _whole(
    service: Service, session: Session, prepared: Prepared, request_id: str, usage: UsageTally
) -> GenerateReply:
    shape = _Reply(session, prepared, request_id)
    n = prepared.request.sampling.n
    whole = GenerateReply(
        request_id=request_id, choices=[GeneratedTokens(index, [], None, None) for index in range(n)]
    )
    async with aclosing(generate(service, session, [prepared])) as outputs:
        async for _, output in outputs:
            usage.count(0, output)
            part = shape.of(output)
            if part.prompt_logprobs is not UNSET:
                whole.prompt_logprobs = part.prompt_logprobs
            for piece in part.choices:
                choice = whole.choices[piece.index]
                choice.token_ids += piece.token_ids
                choice.finish_reason, choice.stop_reason = piece.finish_reason, piece.stop_reason
                if piece.logprobs is not None:
                    known = choice.logprobs or ChatLogprobs([])
                    choice.logprobs = ChatLogprobs(known.content + piece.logprobs.content)
    whole.usage = usage.as_usage()
    return whole


async def _events(
    service: Service,
    session: Session,
    prepared: Prepared,
    fields: GenerateRequest,
    request_id: str,
    usage: UsageTally,
) -> AsyncGenerator[bytes, None]:
    shape = _Reply(session, prepared, request_id)
    async with aclosing(generate(service, session, [prepared])) as outputs:
        async for _, output in outputs:
            usage.count(0, output)
            yield event(shape.of(output))
    if fields.stream_options is not None and fields.stream_options.include_usage:
        yield event(GenerateReply(request_id=request_id, choices=[], usage=usage.as_usage()))
