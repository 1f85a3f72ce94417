"""What `/v1/responses` answers: the response, the items of its output, and the events of its stream."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from quire.api.server.openai.protocol_logprobs import ContentLogprob

ItemStatus = Literal["in_progress", "completed", "incomplete"]
Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class OutputText(msgspec.Struct, tag_field="type", tag="output_text", kw_only=True):
    text: str = ""
    annotations: list[Any] = []
    logprobs: list[ContentLogprob] | UnsetType = UNSET


class ReasoningText(msgspec.Struct, tag_field="type", tag="reasoning_text", kw_only=True):
    text: str = ""


class OutputMessage(msgspec.Struct, tag_field="type", tag="message", kw_only=True):
    id: str
    status: ItemStatus = "in_progress"
    role: str = "assistant"
    content: list[OutputText] = []


class OutputReasoning(msgspec.Struct, tag_field="type", tag="reasoning", kw_only=True):
    """The reasoning itself is its content; nobody sums it up."""

    id: str
    status: ItemStatus = "in_progress"
    summary: list[Any] = []
    content: list[ReasoningText] = []


class OutputCall(msgspec.Struct, tag_field="type", tag="function_call", kw_only=True):
    id: str
    status: ItemStatus = "in_progress"
    call_id: str
    name: str
    arguments: str = ""


Item: TypeAlias = OutputMessage | OutputReasoning | OutputCall
Part: TypeAlias = OutputText | ReasoningText


class InputTokensDetails(msgspec.Struct):
    cached_tokens: int
    cache_write_tokens: int = 0  # tokens charged for being cached; none ever are


class OutputTokensDetails(msgspec.Struct):
    reasoning_tokens: int


class ResponseUsage(msgspec.Struct):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(msgspec.Struct):
    code: str
    message: str


class IncompleteDetails(msgspec.Struct):
    reason: str


class Response(msgspec.Struct, kw_only=True):
    """Most fields repeat the request; sampling fields with the values that held."""

    id: str
    object: str = "response"
    created_at: int
    completed_at: int | None = None
    status: Status
    background: bool
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[Item] = []
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: dict[str, Any]
    safety_identifier: str | None
    service_tier: str = "default"
    store: bool
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: str
    usage: ResponseUsage | None = None
    user: str | None


class StreamEvent(msgspec.Struct, tag_field="type", kw_only=True):
    """Numbered from 0 when it is written."""

    sequence_number: int = 0


class ResponseEvent(StreamEvent, kw_only=True):
    response: Response


class ResponseCreated(ResponseEvent, tag="response.created"): ...


class ResponseInProgress(ResponseEvent, tag="response.in_progress"): ...


class ResponseCompleted(ResponseEvent, tag="response.completed"): ...


class ResponseIncomplete(ResponseEvent, tag="response.incomplete"): ...


class ResponseFailed(ResponseEvent, tag="response.failed"): ...


class ItemEvent(StreamEvent, kw_only=True):
    output_index: int
    item: Item


class OutputItemAdded(ItemEvent, tag="response.output_item.added"): ...


class OutputItemDone(ItemEvent, tag="response.output_item.done"): ...


class PlacedEvent(StreamEvent, kw_only=True):
    """About one item. Every item with parts has exactly one."""

    item_id: str
    output_index: int


class PartEvent(PlacedEvent, kw_only=True):
    content_index: int = 0
    part: Part


class ContentPartAdded(PartEvent, tag="response.content_part.added"): ...


class ContentPartDone(PartEvent, tag="response.content_part.done"): ...


class TextDelta(PlacedEvent, tag="response.output_text.delta", kw_only=True):
    content_index: int = 0
    delta: str
    logprobs: list[ContentLogprob] = []


class TextDone(PlacedEvent, tag="response.output_text.done", kw_only=True):
    content_index: int = 0
    text: str
    logprobs: list[ContentLogprob] = []


class ReasoningDelta(PlacedEvent, tag="response.reasoning_text.delta", kw_only=True):
    content_index: int = 0
    delta: str


class ReasoningDone(PlacedEvent, tag="response.reasoning_text.done", kw_only=True):
    content_index: int = 0
    text: str


class ArgumentsDelta(PlacedEvent, tag="response.function_call_arguments.delta", kw_only=True):
    delta: str


class ArgumentsDone(PlacedEvent, tag="response.function_call_arguments.done", kw_only=True):
    name: str
    arguments: str


AnyEvent: TypeAlias = (
    ResponseCreated
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | TextDelta
    | TextDone
    | ReasoningDelta
    | ReasoningDone
    | ArgumentsDelta
    | ArgumentsDone
)


def event_name(event: StreamEvent) -> str:
    return str(type(event).__struct_config__.tag)


class DeletedResponse(msgspec.Struct):
    id: str
    object: str = "response"
    deleted: bool = True


class InputItems(msgspec.Struct, kw_only=True):
    """A page of a response's input. The ids are those of its first and last item."""

    object: str = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokens(msgspec.Struct):
    input_tokens: int
    object: str = "response.input_tokens"
