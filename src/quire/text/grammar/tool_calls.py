"""The grammar of replies that must call a tool, in the form that the model's parser reads.

Where a model's own form holds arguments that are not JSON, the reply is a JSON list of calls instead, which
GENERIC_FORMAT reads; forced to it, any model can write that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quire.base.messages import Grammar
from quire.text.parsers import JsonCall, NamedCall, ToolFormat

Tag = dict[str, Any]

GENERIC_FORMAT = ToolFormat(
    name="json", models="any, where calls are forced", syntax=JsonCall(), at_start="["
)


def forced_format(tools: ToolFormat | None) -> ToolFormat:
    """The format in which forced calls are written and read: the model's own where it can be."""
    if tools is None:
        return GENERIC_FORMAT
    is_json = isinstance(tools.syntax, JsonCall) or (
        isinstance(tools.syntax, NamedCall) and tools.syntax.or_json
    )
    return tools if is_json else GENERIC_FORMAT


def tool_call_grammar(tools: ToolFormat, functions: Mapping[str, Any], *, several: bool) -> Grammar:
    """One call of one of `functions` (JSON Schema by name), or with `several` one or more; nothing around them."""
    syntax = tools.syntax if isinstance(tools.syntax, JsonCall) else JsonCall()
    calls = [_call(syntax, name, schema) for name, schema in functions.items()]
    opens, closes = (tools.begins[0] if tools.begins else ""), (tools.ends[0] if tools.ends else "")
    if closes:  # a block for each call
        for call in calls:
            call["begin"] = f"{opens}\n{call['begin']}"
            call["end"] += f"\n{closes}"
        whole = _calls(calls, "\n", several=several)
    elif tools.at_start == "{":
        whole = _calls(calls, "", several=False)
    else:
        whole = _sequence(_text(opens + "["), _calls(calls, ", ", several=several), _text("]"))
    return Grammar(backend="guidance", kind="structural_tag", text=json.dumps({"format": whole}))


def _call(syntax: JsonCall, name: str, schema: Any) -> Tag:
    name_key, arguments_key = syntax.name_keys[0], syntax.argument_keys[0]
    return {
        "type": "tag",
        "begin": f'{{"{name_key}": {json.dumps(name, ensure_ascii=False)}, "{arguments_key}": ',
        "content": {"type": "json_schema", "json_schema": {"type": "object", **(schema or {})}},
        "end": "}",
    }


def _calls(calls: list[Tag], separator: str, *, several: bool) -> Tag:
    return {
        "type": "tags_with_separator",
        "tags": calls,
        "separator": separator,
        "at_least_one": True,
        "stop_after_first": not several,
    }


def _text(value: str) -> Tag:
    return {"type": "const_string", "value": value}


def _sequence(*elements: Tag) -> Tag:
    return {"type": "sequence", "elements": list(elements)}
