"""The reference page of formats, generated from the tables (`make docs`) and compared with them in a test."""

from __future__ import annotations

from quire.text.parsers.formats import JsonCall, NamedCall, PythonCall, TaggedCall, ToolFormat
from quire.text.parsers.reasoning_table import REASONING_FORMATS
from quire.text.parsers.tool_table import TOOL_FORMATS


def parsers_page() -> str:
    """docs/reference/parsers.md."""
    lines = [
        "# Parsers",
        "",
        "Generated from the tables of formats by `make docs`; change the tables, not this page. The design is in",
        "[parsers.md](../parsers.md).",
        "",
        "| `--tool-call-parser` | models | block | a call |",
        "|---|---|---|---|",
    ]
    for tools in TOOL_FORMATS.values():
        block = _code(tools.begins) or "the whole reply"
        if tools.ends:
            block += " … " + _code(tools.ends)
        lines.append(f"| `{tools.name}` | {tools.models} | {block} | {_syntax(tools)} |")
    lines += [
        "",
        "| `--reasoning-parser` | models | begins | ends | without a beginning |",
        "|---|---|---|---|---|",
    ]
    for one in REASONING_FORMATS.values():
        start = "reasoning" if one.starts_inside else "content"
        lines.append(f"| `{one.name}` | {one.models} | {_code(one.begins)} | {_code(one.ends)} | {start} |")
    return "\n".join(lines) + "\n"


def _syntax(tools: ToolFormat) -> str:
    syntax = tools.syntax
    if tools.name == "openai":
        return "a message to `functions.name`, JSON arguments"
    if isinstance(syntax, JsonCall):
        return f"JSON object or list, `{syntax.name_keys[0]}` and `{'` or `'.join(syntax.argument_keys)}`"
    if isinstance(syntax, NamedCall):
        return "name, then JSON arguments" + (f", strings in `{_cell(syntax.quote)}`" if syntax.quote else "")
    if isinstance(syntax, PythonCall):
        return "`name(key=value, …)`"
    assert isinstance(syntax, TaggedCall)
    return f"a tag for each parameter, `{_cell(syntax.parameter_open)}…`"


def _code(markers: tuple[str, ...]) -> str:
    return " or ".join(f"`{_cell(marker)}`" for marker in markers)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
