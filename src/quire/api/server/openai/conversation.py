"""Chat messages and tools as the caller sent them, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quire.api.server.body import convert
from quire.api.server.openai.protocol_chat import ChatMessage, ContentPart, NamedTool, Tool
from quire.base.errors import InvalidValue, Unsupported

MAX_MESSAGES = 10_000
TOOL_CHOICES = ("auto", "none", "required")
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


def read_messages(messages: Sequence[dict[str, Any]], path: str = "messages") -> list[dict[str, Any]]:
    """The messages, checked, without their nulls. The chat template gives them the shape it wants."""
    if not messages:
        raise InvalidValue(f"{path} must not be empty", field=path)
    if len(messages) > MAX_MESSAGES:
        raise InvalidValue(f"{path} may hold at most {MAX_MESSAGES}, got {len(messages)}", field=path)
    return [_read_message(message, f"{path}[{place}]") for place, message in enumerate(messages)]


def _read_message(raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    given = {name: value for name, value in raw.items() if value is not None}
    message = convert(given, ChatMessage, under=path)
    if (
        message.content is None and message.role != "assistant"
    ):  # which may have called tools and said nothing
        raise InvalidValue(f"{path}.content is required", field=f"{path}.content")
    if isinstance(message.content, list):
        for place, part in enumerate(message.content):
            _check_part(part, f"{path}.content[{place}]")
    if message.tool_calls is not None and message.role != "assistant":
        raise InvalidValue(f"{path}.tool_calls: only an assistant calls tools", field=f"{path}.tool_calls")
    return given


def _check_part(part: ContentPart, path: str) -> None:
    if part.type not in _TEXT_PARTS:
        raise Unsupported(
            f"{path}.type: this model takes text only, got {part.type[:100]!r}", field=f"{path}.type"
        )
    if (part.refusal if part.type == "refusal" else part.text) is None:
        raise InvalidValue(f"{path}.text is required", field=f"{path}.text")


def text_of(message: Mapping[str, Any]) -> str:
    """A checked message's content as one text."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or part.get("refusal") or "" for part in content)


def read_tools(
    tools: Sequence[dict[str, Any]] | None,
    choice: str | dict[str, Any] | None,
    *,
    hides_unwanted: bool = True,
) -> list[dict[str, Any]] | None:
    """The tools to show the model: with `hides_unwanted`, none when `tool_choice` is "none".

    Raises UserError naming the field.
    """
    _check_choice(choice)
    if tools is None:
        if choice not in (None, "none"):
            raise InvalidValue("tool_choice needs tools", field="tool_choice")
        return None
    if not tools:
        raise InvalidValue("tools must not be empty; leave it out", field="tools")
    for place, tool in enumerate(tools):
        convert(tool, Tool, under=f"tools[{place}]")
    return None if choice == "none" and hides_unwanted else list(tools)


def _check_choice(choice: str | dict[str, Any] | None) -> None:
    if isinstance(choice, dict):
        convert(choice, NamedTool, under="tool_choice")
    elif choice not in (None, *TOOL_CHOICES):
        raise InvalidValue(
            f"tool_choice must be {', '.join(TOOL_CHOICES)} or name a function, got {choice[:100]!r}",
            field="tool_choice",
        )
