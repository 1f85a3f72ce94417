"""The grammar of replies that must call a tool, in the form that the model's parser reads.

Where a model's own form holds arguments that are not JSON, the reply is a JSON list of calls instead, which
GENERIC_CALLS reads; forced to it, any model can write that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quire.base.constraints import Grammar
from quire.text.parsers import GENERIC_CALLS, ToolFormat

Tag = dict[str, Any]


def forced_format(tools: ToolFormat | None) -> ToolFormat:
    """The format in which forced calls are written and read: the model's own where it can be."""
    return tools if tools is not None and tools.json_syntax is not None else GENERIC_CALLS


def tool_call_grammar(tools: ToolFormat, functions: Mapping[str, Any], *, several: bool) -> Grammar:
    """One call of one of `functions` (JSON Schema by name), or with `several` one or more; nothing around them."""
    syntax = tools.json_syntax
    assert syntax is not None
    keys = syntax.name_keys[0], syntax.argument_keys[0]
    calls = [_call(keys, name, schema) for name, schema in functions.items()]
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


def _call(keys: tuple[str, str], name: str, schema: Any) -> Tag:
    name_key, arguments_key = keys
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
