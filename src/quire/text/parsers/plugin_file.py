"""Plugin files: Python that the operator trusts, named by --tool-parser-plugin or --reasoning-parser-plugin.

A file lists formats of its own in `FORMATS`, or registers classes with vLLM's interface, for which the modules of
vLLM that such files import stand ready while it loads (vllm_stand_ins.py). Formats go into the two tables, above all
others: the operator named them.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from quire.base.errors import ConfigError
from quire.text.parsers.formats import ReasoningFormat, ToolFormat, VllmCalls
from quire.text.parsers.reasoning_table import REASONING_FORMATS
from quire.text.parsers.tool_table import TOOL_FORMATS
from quire.text.parsers.vllm_stand_ins import standing_in

logger = logging.getLogger(__name__)
_Format = TypeVar("_Format", ToolFormat, ReasoningFormat)
_MARKERS = ("begins", "ends", "dropped", "also_ends")


def load_plugin_file(path: str, *, setting: str) -> None:
    """Run the file and take up its formats. Raises ConfigError naming the option for a file that cannot be read, that
    raises, that registers nothing, or one of whose formats is not right."""
    flag = "--" + setting.replace("_", "-")
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"{flag}: there is no file {path}", setting=setting)
    name = f"quire_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{flag}: {path} is no Python file; its name must end in .py", setting=setting)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with standing_in() as registered:
            spec.loader.exec_module(module)
        formats = [*_listed(module), *_of_classes(registered)]
        for one in formats:
            _check(one)
    except Exception as problem:  # whatever somebody else's code raises
        raise ConfigError(
            f"{flag}: {path} failed ({type(problem).__name__}: {problem})", setting=setting
        ) from problem
    if not formats:
        raise ConfigError(
            f"{flag}: {path} registers no format; list some in FORMATS, as docs/parsers.md says",
            setting=setting,
        )
    _put_first(TOOL_FORMATS, (one for one in formats if isinstance(one, ToolFormat)))
    _put_first(REASONING_FORMATS, (one for one in formats if isinstance(one, ReasoningFormat)))


def _listed(module: Any) -> list[ToolFormat | ReasoningFormat]:
    found = getattr(module, "FORMATS", ())
    for one in found:
        if not isinstance(one, ToolFormat | ReasoningFormat):
            raise TypeError(f"FORMATS holds {type(one).__name__}; it may hold ToolFormat and ReasoningFormat")
    return [replace(one, is_own=True) for one in found]


def _of_classes(registered: Iterable[tuple[str, str, type[Any]]]) -> list[ToolFormat | ReasoningFormat]:
    return [
        ToolFormat(name=name, syntax=VllmCalls(parser=parser), is_own=True)
        if kind == "tools"
        else ReasoningFormat(
            name=name,
            begins=_mark(parser, "start_token"),
            ends=_mark(parser, "end_token"),
            vllm_parser=parser,
            is_own=True,
        )
        for kind, name, parser in registered
    ]


def _mark(parser: type[Any], name: str) -> tuple[str, ...]:
    """A marker that a class tells of itself: budgets of thinking and grammars go by it."""
    mark = getattr(parser, name, None)
    return (mark,) if isinstance(mark, str) and mark else ()


def _check(one: ToolFormat | ReasoningFormat) -> None:
    """Raises TypeError or ValueError for what would go wrong only when a reply is read."""
    if not isinstance(one.name, str) or one.name in ("", "none"):
        raise ValueError(f"a format must have a name, and not {one.name!r}")
    for field in _MARKERS:
        markers = getattr(one, field, ())
        if not isinstance(markers, tuple) or not all(isinstance(mark, str) and mark for mark in markers):
            raise TypeError(f"{one.name}: {field} must be a tuple of texts, none empty")
    if isinstance(one, ReasoningFormat) and one.vllm_parser is None and not (one.begins and one.ends):
        raise ValueError(f"{one.name}: reasoning needs begins and ends")
    beginnings = (*one.begins, *one.dropped)
    for mark in beginnings:
        if any(other != mark and other.startswith(mark) for other in beginnings):
            raise ValueError(
                f"{one.name}: {mark!r} begins another marker as well, and they cannot be told apart"
            )


def _put_first(table: dict[str, _Format], formats: Iterable[_Format]) -> None:
    """A name that is taken is taken over, and that is logged. The table stays the same object."""
    own = {one.name: one for one in formats}
    for name in own:
        if name in table and not table[name].is_own:
            logger.info("the format %s of a plugin file stands in for Quire's own of that name", name)
    others = {name: one for name, one in table.items() if name not in own}
    table.clear()
    table.update(own | others)
