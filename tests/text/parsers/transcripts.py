"""What models write, in every format: the reply's text and what it must come to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from quire.text.parsers import (
    CallArguments,
    CallBegin,
    Content,
    Event,
    Reasoning,
    ReplyParser,
    reasoning_format,
    tool_format,
)

FUNCTIONS: dict[str, Any] = {
    "weather": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    "book": {
        "type": "object",
        "properties": {
            "guests": {"type": "array", "items": {"type": "object"}},
            "note": {"type": "string"},
            "rooms": {"type": "object"},
            "late": {"type": "boolean"},
        },
    },
    "now": {"type": "object", "properties": {}},
}
ROME = {"city": "Rome", "days": 2}
OSLO = {"city": "Oslo", "days": 1}
PARTY = {
    "guests": [{"name": "Ænne", "age": 7}, {"name": "李", "age": None}],
    "note": 'Zimmer "Süd"\nnicht \\ Nord 🌞',
    "rooms": {"double": {"count": 2, "price": 89.5}},
    "late": True,
}


@dataclass
class Reply:
    """A whole reply, put together from events. Calls are (name, arguments text)."""

    content: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


def put_together(events: list[Event]) -> Reply:
    reply = Reply()
    for event in events:
        if isinstance(event, Content):
            reply.content += event.text
        elif isinstance(event, Reasoning):
            reply.reasoning += event.text
        elif isinstance(event, CallBegin):
            assert event.index == len(reply.calls)
            reply.calls.append((event.name, ""))
            reply.ids.append(event.id)
        elif isinstance(event, CallArguments):
            name, text = reply.calls[event.index]
            reply.calls[event.index] = (name, text + event.text)
    return reply


def parser(tools: str = "", reasoning: str = "", **more: Any) -> ReplyParser:
    return ReplyParser(tool_format(tools), reasoning_format(reasoning), functions=FUNCTIONS, **more)


def parsed(pieces: list[str], tools: str = "", reasoning: str = "", **more: Any) -> Reply:
    one = parser(tools, reasoning, **more)
    events = [event for piece in pieces for event in one.feed(piece)]
    return put_together(events + one.finish())


_ROME_JSON = '{"city": "Rome", "days": 2}'
_OSLO_JSON = '{"city": "Oslo", "days": 1}'
_PARTY_JSON = (
    '{"guests": [{"name": "Ænne", "age": 7}, {"name": "\\u674e", "age": null}], '
    '"note": "Zimmer \\"Süd\\"\\nnicht \\\\ Nord 🌞", "rooms": {"double": {"count": 2, "price": 89.5}}, "late": true}'
)
_PARTY_PYTHON = (
    "guests=[{'name': 'Ænne', 'age': 7}, {'name': '李', 'age': None}], "
    "note='Zimmer \"Süd\"\\nnicht \\\\ Nord 🌞', rooms={'double': {'count': 2, 'price': 89.5}}, late=True"
)
_PARTY_TEXTS = {
    "guests": '[{"name": "Ænne", "age": 7}, {"name": "李", "age": null}]',
    "note": PARTY["note"],
    "rooms": '{"double": {"count": 2, "price": 89.5}}',
    "late": "true",
}
_CALLS_TEXTS = (
    ("weather", {"city": "Rome", "days": "2"}),
    ("weather", {"city": "Oslo", "days": "1"}),
    ("book", _PARTY_TEXTS),
    ("now", {}),
)
_CALLS_JSON = (("weather", _ROME_JSON), ("weather", _OSLO_JSON), ("book", _PARTY_JSON), ("now", "{}"))
CALLS = [("weather", ROME), ("weather", OSLO), ("book", PARTY), ("now", {})]


def _objects(key: str = "arguments", name: str = "name") -> list[str]:
    return [f'{{"{name}": "{one}", "{key}": {arguments}}}' for one, arguments in _CALLS_JSON]


def _each(pattern: str, texts: list[str]) -> str:
    return "".join(pattern.replace("@", text) for text in texts)


def _tags(call: str, parameter: str) -> list[str]:
    """`call` holds @name and @parameters, `parameter` holds @key and @value."""
    written = []
    for name, arguments in _CALLS_TEXTS:
        inner = "".join(
            parameter.replace("@key", key).replace("@value", value) for key, value in arguments.items()
        )
        written.append(call.replace("@name", name).replace("@parameters", inner))
    return written


def _gemma(quote: str, begin: str, end: str) -> str:
    def spelled(value: Any) -> str:
        if isinstance(value, str):
            return quote + value + quote
        if isinstance(value, dict):
            return "{" + ",".join(f"{key}:{spelled(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(spelled, value)) + "]"
        return json.dumps(value)

    return "".join(f"{begin}call:{name}{spelled(arguments)}{end}" for name, arguments in CALLS)


_PYTHON = ["weather(city='Rome', days=2)", 'weather(city="Oslo", days=1)', f"book({_PARTY_PYTHON})", "now()"]
_NEWLINE_TAGS = "<function=@name>\n@parameters</function>"
_DSML = "".join(
    f'<｜DSML｜invoke name="{name}">\n'
    + "".join(
        f'<｜DSML｜parameter name="{key}" string="{"true" if key in ("city", "note") else "false"}">{value}'
        "</｜DSML｜parameter>\n"
        for key, value in arguments.items()
    )
    + "</｜DSML｜invoke>\n"
    for name, arguments in _CALLS_TEXTS
)

# format -> a reply that is the four CALLS, as the model's template writes them
CALLS_BY_FORMAT: dict[str, str] = {
    "hermes": _each("<tool_call>\n@\n</tool_call>\n", _objects()),
    "granite4": _each("<tool_call>\n@\n</tool_call>\n", _objects()),
    "ernie45": _each("<tool_call>\n@\n</tool_call>\n", _objects()),
    "granite": f"<|tool_call|>[{', '.join(_objects())}]",
    "llama3_json": "<|python_tag|>" + "; ".join(_objects("parameters")),
    "mistral": f"[TOOL_CALLS][{', '.join(_objects())}]",
    "internlm": _each("<|action_start|><|plugin|>\n@<|action_end|>\n", _objects("parameters")),
    "jamba": f"<tool_calls>[\n{', '.join(_objects())}\n]</tool_calls>",
    "hunyuan_a13b": f"<tool_calls>[{', '.join(_objects())}]</tool_calls>",
    "minimax": "<tool_calls>\n" + "\n".join(_objects()) + "\n</tool_calls>",
    "phi4_mini_json": f"functools[{', '.join(_objects())}]",
    "xlam": f"[{', '.join(_objects())}]",
    "cohere_command3": f"<|START_ACTION|>\n[\n{', '.join(_objects('parameters', 'tool_name'))}\n]<|END_ACTION|>",
    "openai": "<|start|>assistant".join(
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}<|call|>"
        for name, arguments in _CALLS_JSON
    ),
    "kimi_k2": "<|tool_calls_section_begin|>"
    + "".join(
        f"<|tool_call_begin|>functions.{name}:{place}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        for place, (name, arguments) in enumerate(_CALLS_JSON)
    )
    + "<|tool_calls_section_end|>",
    "deepseek_v3": "<｜tool▁calls▁begin｜>"
    + "\n".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
        for name, arguments in _CALLS_JSON
    )
    + "<｜tool▁calls▁end｜>",
    "deepseek_v31": "<｜tool▁calls▁begin｜>"
    + "".join(
        f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>"
        for name, arguments in _CALLS_JSON
    )
    + "<｜tool▁calls▁end｜>",
    "deepseek_v32": f"<｜DSML｜function_calls>\n{_DSML}</｜DSML｜function_calls>",
    "qwen3_coder": _each(
        "<tool_call>\n@\n</tool_call>\n", _tags(_NEWLINE_TAGS, "<parameter=@key>\n@value\n</parameter>\n")
    ),
    "qwen3_xml": _each(
        "<tool_call>\n@\n</tool_call>\n", _tags(_NEWLINE_TAGS, "<parameter=@key>\n@value\n</parameter>\n")
    ),
    "seed_oss": _each(
        "<seed:tool_call>\n@\n</seed:tool_call>", _tags(_NEWLINE_TAGS, "<parameter=@key>@value</parameter>\n")
    ),
    "minimax_m2": "<minimax:tool_call>\n"
    + _each(
        "@\n",
        _tags('<invoke name="@name">\n@parameters</invoke>', '<parameter name="@key">@value</parameter>\n'),
    )
    + "</minimax:tool_call>",
    "glm45": _each(
        "<tool_call>@</tool_call>\n",
        _tags("@name\n@parameters", "<arg_key>@key</arg_key>\n<arg_value>@value</arg_value>\n"),
    ),
    "step3": "<｜tool_calls_begin｜>"
    + "<｜tool_sep｜>".join(
        f"<｜tool_call_begin｜>function<｜tool_sep｜>{text}<｜tool_call_end｜>"
        for text in _tags(
            '<steptml:invoke name="@name">@parameters</steptml:invoke>',
            '<steptml:parameter name="@key">@value</steptml:parameter>',
        )
    )
    + "<｜tool_calls_end｜>",
    "functiongemma": _gemma("<escape>", "<start_function_call>", "<end_function_call>"),
    "gemma4": _gemma('<|"|>', "<|tool_call>", "<tool_call|>"),
    "pythonic": f"[{', '.join(_PYTHON)}]",
    "llama4_pythonic": f"<|python_start|>[{', '.join(_PYTHON)}]<|python_end|>",
    "olmo3": "<function_calls>" + "\n".join(_PYTHON) + "</function_calls>",
}
