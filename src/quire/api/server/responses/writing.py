"""One response from its Ask to its end: `write_response` fills it in and emits the events on the way."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec

from quire.api.server.dialogue import Dialogue, converse
from quire.api.server.errors import error_body
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.usage import UsageTally
from quire.api.server.replies import named_event
from quire.api.server.responses.asking import wants_logprobs
from quire.api.server.responses.output import OutputWriter
from quire.api.server.responses.protocol import ResponsesRequest
from quire.api.server.responses.reply_types import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseCompleted,
    ResponseCreated,
    ResponseError,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseUsage,
    StreamEvent,
    event_name,
)
from quire.api.server.service import Service
from quire.text.session import Session


class EventLog:
    """Events as numbered bytes, for whoever takes or reads them. Where nobody will, nothing is written."""

    def __init__(self, *, is_read: bool) -> None:
        self.events: list[bytes] = []
        self._is_read = is_read
        self._next_number = 0

    def emit(self, event: StreamEvent) -> None:
        if not self._is_read:
            return
        event.sequence_number = self._next_number
        self._next_number += 1
        self.events.append(named_event(event_name(event), event))

    def take(self) -> bytes:
        """What came since the last time."""
        events, self.events = self.events, []
        return b"".join(events)


@dataclass(frozen=True, slots=True)
class ResponseCall:
    """One accepted request. `messages` are its conversation without instructions, for whoever goes on from it;
    `items` the same for whoever lists it."""

    fields: ResponsesRequest
    messages: list[dict[str, Any]]
    items: list[dict[str, Any]]
    dialogue: Dialogue
    response: Response
    log: EventLog

    def fail(self, error: Exception) -> None:
        """The stream's way to say what a whole reply says with its status."""
        detail = error_body(error).error
        is_ours = detail.type != "invalid_request_error"
        self.response.status = "failed"
        self.response.error = ResponseError("server_error" if is_ours else "invalid_prompt", detail.message)
        self.log.emit(ResponseFailed(response=self.response))


def new_response(
    fields: ResponsesRequest, dialogue: Dialogue, *, response_id: str, model: str, stores: bool
) -> Response:
    sampling = dialogue.prepared.request.sampling
    text_format = fields.text.format if fields.text else None
    shown_format = {"type": "text"} if text_format is None else _without_nulls(text_format)
    return Response(
        id=response_id,
        created_at=int(time.time()),
        status="queued" if fields.background else "in_progress",
        background=fields.background,
        instructions=fields.instructions,
        max_output_tokens=fields.max_output_tokens,
        metadata=fields.metadata or {},
        model=model,
        parallel_tool_calls=fields.parallel_tool_calls,
        previous_response_id=fields.previous_response_id,
        prompt_cache_key=fields.prompt_cache_key,
        reasoning={"effort": fields.reasoning.effort if fields.reasoning else None, "summary": None},
        safety_identifier=fields.safety_identifier,
        store=stores,
        temperature=sampling.temperature,
        text={"format": shown_format},
        tool_choice=fields.tool_choice or "auto",
        tools=fields.tools or [],
        top_logprobs=fields.top_logprobs or 0,
        top_p=sampling.top_p,
        truncation=fields.truncation,
        user=fields.user,
    )


def _without_nulls(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(struct).items() if value is not None}


async def write_response(
    service: Service, session: Session, call: ResponseCall
) -> AsyncGenerator[None, None]:
    """Yields whenever there is news in the log. Raises as `generate` does, and leaves the end to be told then."""
    response, log, request = call.response, call.log, call.dialogue.prepared.request
    speller = None
    if wants_logprobs(call.fields):
        num_top = request.sampling.logprobs or 0
        speller = LogprobSpeller(session.tokenizer, as_token_ids=False, num_top=num_top)
    writer = OutputWriter(log.emit, speller)
    usage = UsageTally(with_details=True)
    usage.prompt_tokens = len(request.prompt_token_ids)
    finish_reason: str | None = None
    log.emit(ResponseCreated(response=response))
    response.status = "in_progress"
    log.emit(ResponseInProgress(response=response))
    yield
    async with aclosing(converse(service, session, [call.dialogue])) as stream:
        async for _, output, news in stream:
            usage.count(0, output)
            for one in news:
                writer.add(one)
                finish_reason = one.finish_reason or finish_reason
            yield
    is_cut = finish_reason in ("length", "abort")
    writer.finish("incomplete" if is_cut else "completed")
    response.output = writer.items
    response.usage = _usage(session, usage, writer.reasoning)
    response.completed_at = int(time.time())
    response.status = "incomplete" if is_cut else "completed"
    if is_cut:
        response.incomplete_details = IncompleteDetails(
            "max_output_tokens" if finish_reason == "length" else "aborted"
        )
    log.emit((ResponseIncomplete if is_cut else ResponseCompleted)(response=response))
    yield


def _usage(session: Session, tally: UsageTally, reasoning: str) -> ResponseUsage:
    """Reasoning is counted in its text, markers not among it: however it came in pieces, it is the same number."""
    num_reasoning = len(session.tokenizer.encode(reasoning, add_special_tokens=False)) if reasoning else 0
    return ResponseUsage(
        input_tokens=tally.prompt_tokens,
        input_tokens_details=InputTokensDetails(tally.cached_tokens),
        output_tokens=tally.completion_tokens,
        output_tokens_details=OutputTokensDetails(min(num_reasoning, tally.completion_tokens)),
        total_tokens=tally.prompt_tokens + tally.completion_tokens,
    )
