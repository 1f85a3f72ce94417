"""Messages made of blocks to chat messages: results of tools become messages of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from quire.api.server.anthropic.protocol import (
    Message,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from quire.api.server.body import convert
from quire.api.server.openai.conversation import MAX_MESSAGES
from quire.base.errors import InvalidValue, Unsupported

Messages = list[dict[str, Any]]
T = TypeVar("T", bound=msgspec.Struct)

_MEDIA = ("image", "document", "container_upload")
_IN_USER = ("text", "tool_result")
_IN_ASSISTANT = ("text", "thinking", "redacted_thinking", "tool_use")


def read_conversation(
    system: str | Sequence[Mapping[str, Any]] | None, messages: Sequence[Mapping[str, Any]]
) -> Messages:
    """Chat messages. Raises UserError naming the block's field."""
    if not messages:
        raise InvalidValue("messages must not be empty", field="messages")
    if len(messages) > MAX_MESSAGES:
        raise InvalidValue(f"messages may hold at most {MAX_MESSAGES}, got {len(messages)}", field="messages")
    read: Messages = []
    if system:
        content = system if isinstance(system, str) else _text_parts(system, "system")
        read.append({"role": "system", "content": content})
    for place, message in enumerate(messages):
        read += _read_message(message, f"messages[{place}]")
    return read


def _read_message(raw: Mapping[str, Any], path: str) -> Messages:
    message = convert(raw, Message, under=path)
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    if not message.content:
        raise InvalidValue(f"{path}.content must not be empty", field=f"{path}.content")
    if message.role == "system":
        return [{"role": "system", "content": _text_parts(message.content, f"{path}.content")}]
    read = _read_assistant if message.role == "assistant" else _read_user
    return read(message.content, f"{path}.content")


def _read_user(blocks: Sequence[Mapping[str, Any]], path: str) -> Messages:
    """In the blocks' order: a message for each result, and one for texts that stand together."""
    messages: Messages = []
    for place, block in enumerate(blocks):
        where = f"{path}[{place}]"
        if _kind(block, where, _IN_USER) == "tool_result":
            messages.append(_tool_message(_block(block, ToolResultBlock, where), where))
        else:
            part = {"type": "text", "text": _block(block, TextBlock, where).text}
            if messages and messages[-1]["role"] == "user":
                messages[-1]["content"].append(part)
            else:
                messages.append({"role": "user", "content": [part]})
    return messages


def _tool_message(block: ToolResultBlock, path: str) -> dict[str, Any]:
    """Chat templates have no place for `is_error`, so the text says it."""
    content = block.content
    if not isinstance(content, str):
        content = "\n".join(part["text"] for part in _text_parts(content, f"{path}.content"))
    if block.is_error:
        content = f"Error: {content}"
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}


def _read_assistant(blocks: Sequence[Mapping[str, Any]], path: str) -> Messages:
    parts: list[dict[str, Any]] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for place, block in enumerate(blocks):
        where = f"{path}[{place}]"
        kind = _kind(block, where, _IN_ASSISTANT)
        if kind == "text":
            parts.append({"type": "text", "text": _block(block, TextBlock, where).text})
        elif kind == "thinking":
            thoughts.append(_block(block, ThinkingBlock, where).thinking)
        elif kind == "tool_use":
            calls.append(_chat_call(_block(block, ToolUseBlock, where)))
        else:
            _block(block, RedactedThinkingBlock, where)
    message: dict[str, Any] = {"role": "assistant", "content": parts or ""}
    if thoughts:
        message["reasoning"] = "\n".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return [message]


def _chat_call(block: ToolUseBlock) -> dict[str, Any]:
    arguments = json.dumps(block.input, ensure_ascii=False)
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _text_parts(blocks: Sequence[Mapping[str, Any]], path: str) -> list[dict[str, Any]]:
    parts = []
    for place, block in enumerate(blocks):
        where = f"{path}[{place}]"
        _kind(block, where, ("text",))
        parts.append({"type": "text", "text": _block(block, TextBlock, where).text})
    return parts


def _kind(block: Mapping[str, Any], path: str, allowed: Sequence[str]) -> str:
    kind = block.get("type")
    if kind in allowed:
        return str(kind)
    if kind is None:
        raise InvalidValue(f"{path}.type is required", field=f"{path}.type")
    reason = "this model takes text only" if kind in _MEDIA else f"here it may be {' or '.join(allowed)}"
    raise Unsupported(f"{path}.type: {str(kind)[:100]!r} is not supported; {reason}", field=f"{path}.type")


def _block(block: Mapping[str, Any], type_: type[T], path: str) -> T:
    return convert({name: value for name, value in block.items() if value is not None}, type_, under=path)
