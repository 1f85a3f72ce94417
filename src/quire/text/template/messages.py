"""Conversations before rendering: plain data only, contents and tool calls in the shape templates expect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quire.base.errors import InvalidValue, Unsupported

_TEXT_PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
# The names a message's reasoning goes by; templates read the first, gpt-oss's the second.
_REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")


def shape_messages(
    messages: list[dict[str, Any]], *, keeps_parts: bool, wraps_text: bool
) -> list[dict[str, Any]]:
    """Copies of `messages` as a template wants them. Raises InvalidValue or Unsupported naming the place.

    Lists of parts become one text (parts joined by a line break) unless `keeps_parts`; with `wraps_text` a text
    becomes a list of one part. Tool-call arguments become objects, a missing content "".
    """
    if not isinstance(messages, list) or not messages:
        raise InvalidValue("messages must be a list of at least one message", field="messages")
    return [
        _shape_message(f"messages[{place}]", message, keeps_parts=keeps_parts, wraps_text=wraps_text)
        for place, message in enumerate(messages)
    ]


def _shape_message(where: str, message: Any, *, keeps_parts: bool, wraps_text: bool) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise InvalidValue(f"{where} must be an object, got {type(message).__name__}", field="messages")
    if not isinstance(message.get("role"), str) or not message["role"]:
        raise InvalidValue(f"{where}.role must be a non-empty string", field="messages")
    shaped = dict(message)
    parts = _parts(f"{where}.content", message.get("content"))
    if isinstance(parts, str):
        shaped["content"] = [{"type": "text", "text": parts}] if wraps_text else parts
    elif keeps_parts:
        shaped["content"] = [{"type": "text", "text": text} for text in parts]
    else:
        shaped["content"] = "\n".join(parts)
    if message.get("tool_calls") is not None:
        shaped["tool_calls"] = _tool_calls(f"{where}.tool_calls", message["tool_calls"])
    reasoning = next((message[name] for name in _REASONING_NAMES if message.get(name) is not None), None)
    return shaped if reasoning is None else {"thinking": reasoning, **shaped, "reasoning_content": reasoning}


def _parts(where: str, content: Any) -> str | list[str]:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidValue(
            f"{where} must be text or a list of parts, got {type(content).__name__}", field="messages"
        )
    return [_part_text(f"{where}[{place}]", part) for place, part in enumerate(content)]


def _part_text(where: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise InvalidValue(f"{where} must be an object, got {type(part).__name__}", field="messages")
    kind = part.get("type", "text")
    if not isinstance(kind, str):
        raise InvalidValue(f"{where}.type must be a string", field="messages")
    key = _TEXT_PARTS.get(kind)
    if key is None:
        raise Unsupported(
            f"{where}.type {kind[:60]!r} is not supported: this model takes text parts only",
            field="messages",
        )
    text = part.get(key)
    if not isinstance(text, str):
        raise InvalidValue(f"{where}.{key} must be a string", field="messages")
    return text


def _tool_calls(where: str, calls: Any) -> list[Any]:
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise InvalidValue(f"{where} must be a list of objects", field="messages")
    return [_tool_call(f"{where}[{place}]", call) for place, call in enumerate(calls)]


def _tool_call(where: str, call: dict[str, Any]) -> dict[str, Any]:
    """OpenAI carries arguments as JSON text; templates write them with `tojson`, so they need the object."""
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            raise InvalidValue(
                f"{where}.function.arguments must be a JSON object written as a string: {error}",
                field="messages",
            ) from None
    if not isinstance(arguments, (dict, type(None))):
        raise InvalidValue(f"{where}.function.arguments must be a JSON object", field="messages")
    return {**call, "function": {**function, "arguments": arguments or {}}}


def plain_size(field: str, value: Any) -> int:
    """Characters and items of `value`. Raises InvalidValue unless it is JSON-like all through.

    Richer objects have methods, which a template could call.
    """
    size = 0
    stack = [value]
    while stack:
        item = stack.pop()
        size += 1
        if type(item) is str:
            size += len(item)
        elif isinstance(item, Mapping):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)
        elif item is not None and type(item) not in (bool, int, float):
            raise InvalidValue(f"{field} must be plain JSON values, got {type(item).__name__}", field=field)
    return size
