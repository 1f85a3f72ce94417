"""What `/v1/messages` answers: the message, its content blocks, and the events of its stream."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class TextContent(msgspec.Struct, tag_field="type", tag="text", kw_only=True):
    text: str = ""
    citations: list[Any] | None = None


class ThinkingContent(msgspec.Struct, tag_field="type", tag="thinking", kw_only=True):
    thinking: str = ""
    signature: str = ""


class ToolUseContent(msgspec.Struct, tag_field="type", tag="tool_use", kw_only=True):
    id: str
    name: str
    input: Any = msgspec.field(default_factory=dict)


Block: TypeAlias = TextContent | ThinkingContent | ToolUseContent


class OutputTokensDetails(msgspec.Struct):
    thinking_tokens: int


class MessageUsage(msgspec.Struct, kw_only=True):
    """Prompt tokens are `input_tokens` and `cache_read_input_tokens` together."""

    input_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int = 0  # prefixes are kept without being marked, and without a charge
    output_tokens: int
    output_tokens_details: OutputTokensDetails | None = None


class MessageReply(msgspec.Struct, tag_field="type", tag="message", kw_only=True):
    id: str
    role: str = "assistant"
    model: str
    content: list[Block] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: MessageUsage


class TextDelta(msgspec.Struct, tag_field="type", tag="text_delta"):
    text: str


class ThinkingDelta(msgspec.Struct, tag_field="type", tag="thinking_delta"):
    thinking: str


class SignatureDelta(msgspec.Struct, tag_field="type", tag="signature_delta"):
    signature: str


class InputJsonDelta(msgspec.Struct, tag_field="type", tag="input_json_delta"):
    partial_json: str


BlockDelta: TypeAlias = TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


class StreamEvent(msgspec.Struct, tag_field="type"): ...


class MessageStart(StreamEvent, tag="message_start"):
    message: MessageReply


class Ping(StreamEvent, tag="ping"): ...


class ContentBlockStart(StreamEvent, tag="content_block_start"):
    index: int
    content_block: Block


class ContentBlockDelta(StreamEvent, tag="content_block_delta"):
    index: int
    delta: BlockDelta


class ContentBlockStop(StreamEvent, tag="content_block_stop"):
    index: int


class MessageEnd(msgspec.Struct):
    stop_reason: str | None
    stop_sequence: str | None


class MessageDelta(StreamEvent, tag="message_delta"):
    delta: MessageEnd
    usage: MessageUsage


class MessageStop(StreamEvent, tag="message_stop"): ...


AnyEvent: TypeAlias = (
    MessageStart
    | Ping
    | ContentBlockStart
    | ContentBlockDelta
    | ContentBlockStop
    | MessageDelta
    | MessageStop
)


class TokenCount(msgspec.Struct):
    input_tokens: int


def event_name(event: StreamEvent) -> str:
    return str(type(event).__struct_config__.tag)
