"""The chat format as text segments, each marked as learned (what the assistant says) or merely read.

chat_template.jinja renders the same text for serving; tests/tools/test_chat_format.py holds the two together.
"""

from __future__ import annotations

import json
from typing import Any

from tasks.exchange import Message

START, END, PADDING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIAL_TOKENS = (PADDING, START, END)
MARKER_TOKENS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>",
    "<tools>", "</tools>", "<tool_response>", "</tool_response>",
)  # fmt: skip
THINK_REQUEST = " /think"
TOOLS_BEFORE = "You can call these tools:\n<tools>"
TOOLS_AFTER = (
    "\n</tools>\nTo call a tool, write its name and arguments as JSON:\n"
    '<tool_call>\n{"name": ..., "arguments": ...}\n</tool_call>'
)

Segment = tuple[str, bool]


def system_segments(content: str | None, tools: list[dict[str, Any]]) -> list[Segment]:
    """The system turn: the given text, then the tools; nothing when there is neither."""
    if content is None and not tools:
        return []
    parts = [content] if content else []
    if tools:
        parts.append(TOOLS_BEFORE + "".join("\n" + json.dumps(tool) for tool in tools) + TOOLS_AFTER)
    return [(f"{START}system\n" + "\n\n".join(parts) + f"{END}\n", False)]


def call_text(call: dict[str, Any]) -> str:
    """One tool call as the assistant writes it."""
    function = call["function"]
    arguments = json.dumps(function["arguments"])
    return f'<tool_call>\n{{"name": "{function["name"]}", "arguments": {arguments}}}\n</tool_call>'


def answer_text(message: Message) -> str:
    """What the assistant writes in one message: its content and its tool calls."""
    parts = [message["content"]] if message["content"] else []
    return "\n".join(parts + [call_text(call) for call in message.get("tool_calls", [])])


def thinking_text(thought: str, answer: str) -> str:
    """An answer with its reasoning before it."""
    return f"<think>\n{thought}\n</think>\n\n{answer}"


def message_segments(messages: list[Message], think: str | None = None) -> list[Segment]:
    """Turns of an exchange; with `think`, the first user turn asks for thinking and the first answer shows it."""
    segments: list[Segment] = []
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            text = answer_text(message)
            if think is not None and place == 1:
                text = thinking_text(think, text)
            segments += [(f"{START}assistant\n", False), (text + END, True), ("\n", False)]
        elif message["role"] == "tool":
            first = messages[place - 1]["role"] != "tool"
            last = place + 1 == len(messages) or messages[place + 1]["role"] != "tool"
            text = f"<tool_response>\n{message['content']}\n</tool_response>"
            segments.append(
                ((f"{START}user\n" if first else "\n") + text + (f"{END}\n" if last else ""), False)
            )
        else:
            segments.append((f"{START}{message['role']}\n{message['content']}{END}\n", False))
    return segments
