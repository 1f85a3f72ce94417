"""Items of `input` to chat messages: what belongs to one turn of the assistant becomes one message."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from quire.api.server.body import convert
from quire.api.server.openai.conversation import MAX_MESSAGES
from quire.api.server.responses.protocol import (
    FunctionCallItem,
    FunctionCallOutputItem,
    MessageItem,
    ReasoningItem,
    TextPart,
)
from quire.base.errors import InvalidValue, Unsupported

_TEXT_TYPES = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
_ID_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def read_input(items: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Chat messages. Raises UserError naming the item's field."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    if not items:
        raise InvalidValue("input must not be empty", field="input")
    if len(items) > MAX_MESSAGES:
        raise InvalidValue(f"input may hold at most {MAX_MESSAGES} items, got {len(items)}", field="input")
    turns = _Turns()
    for place, item in enumerate(items):
        turns.add(item, f"input[{place}]")
    return turns.finish()


def listed_items(items: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Checked items as they are listed: each with its type, an id and a status, texts of messages in parts."""
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    return [_listed(item) for item in items]


def _listed(item: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in item.items() if value is not None}
    kind = given.get("type", "message")
    listed = {"id": f"{_ID_PREFIXES[kind]}_{uuid.uuid4().hex}", "type": kind, "status": "completed", **given}
    if kind == "message" and isinstance(given["content"], str):
        is_answer = given["role"] == "assistant"
        part = {"type": "output_text", "annotations": []} if is_answer else {"type": "input_text"}
        listed["content"] = [{**part, "text": given["content"]}]
    if kind == "reasoning":
        listed.setdefault("summary", [])
    return listed


class _Turns:
    """Reasoning, text and calls that follow one another are one assistant message, in that order."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._assistant: dict[str, Any] | None = None  # the last message, while more may belong to it

    def finish(self) -> list[dict[str, Any]]:
        return self._messages

    def add(self, item: Mapping[str, Any], path: str) -> None:
        given = {name: value for name, value in item.items() if value is not None}
        kind = given.get("type", "message")
        if kind == "message":
            self._add_message(convert(given, MessageItem, under=path), path)
        elif kind == "function_call":
            self._add_call(convert(given, FunctionCallItem, under=path))
        elif kind == "function_call_output":
            self._add_output(convert(given, FunctionCallOutputItem, under=path), path)
        elif kind == "reasoning":
            self._add_reasoning(convert(given, ReasoningItem, under=path), path)
        else:
            raise Unsupported(
                f"{path}.type: {str(kind)[:100]!r} is not supported; items are {', '.join(_ID_PREFIXES)}",
                field=f"{path}.type",
            )

    def _add_message(self, item: MessageItem, path: str) -> None:
        content = _content(item.content, f"{path}.content")
        if item.role != "assistant":
            self._assistant = None
            self._messages.append({"role": item.role, "content": content})
        elif self._assistant is None or self._assistant["content"] or "tool_calls" in self._assistant:
            self._begin_assistant()["content"] = content
        else:
            self._assistant["content"] = content

    def _add_call(self, item: FunctionCallItem) -> None:
        assistant = self._begin_assistant() if self._assistant is None else self._assistant
        function = {"name": item.name, "arguments": item.arguments}
        assistant.setdefault("tool_calls", []).append(
            {"id": item.call_id, "type": "function", "function": function}
        )

    def _add_output(self, item: FunctionCallOutputItem, path: str) -> None:
        self._assistant = None
        content = _content(item.output, f"{path}.output")
        self._messages.append({"role": "tool", "tool_call_id": item.call_id, "content": content})

    def _add_reasoning(self, item: ReasoningItem, path: str) -> None:
        """Its text where it has one, else its summary; one that has neither says nothing."""
        parts = _texts(item.content or [], f"{path}.content") or _texts(item.summary, f"{path}.summary")
        if parts:
            self._begin_assistant()["reasoning"] = "\n".join(parts)

    def _begin_assistant(self) -> dict[str, Any]:
        self._assistant = {"role": "assistant", "content": ""}
        self._messages.append(self._assistant)
        return self._assistant


def _content(content: str | list[dict[str, Any]], path: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [{"type": "text", "text": text} for text in _texts(content, path)]


def _texts(parts: Sequence[Mapping[str, Any]], path: str) -> list[str]:
    return [_text(part, f"{path}[{place}]") for place, part in enumerate(parts)]


def _text(given: Mapping[str, Any], path: str) -> str:
    kind = given.get("type", "")
    if kind not in (*_TEXT_TYPES, "refusal"):
        raise Unsupported(
            f"{path}.type: this model takes text only, got {str(kind)[:100]!r}", field=f"{path}.type"
        )
    part = convert(given, TextPart, under=path)
    name = "refusal" if kind == "refusal" else "text"
    text: str | None = getattr(part, name)
    if text is None:
        raise InvalidValue(f"{path}.{name} is required", field=f"{path}.{name}")
    return text
