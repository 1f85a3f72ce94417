"""How tool calls and reasoning are written: the words in which every format is declared.

A format is data. The readers beside this file interpret it, `tool_table` and `reasoning_table` list all of them.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from quire.text.parsers.events import Outbox
from quire.text.parsers.source import Source, Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonCall:
    """`{"name": …, "arguments": {…}}`, one, several, or a list of them, under one of these keys."""

    name_keys: tuple[str, ...] = ("name",)
    argument_keys: tuple[str, ...] = ("arguments", "parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCall:
    """The name in plain text, then the arguments as JSON.

    Text up to `before_name` is dropped; the name goes up to one of `name_ends`, which may be "{" itself. `quote`
    encloses strings in arguments. With `or_json`, what begins with a bracket is a JsonCall.
    """

    name_ends: tuple[str, ...]
    before_name: str = ""
    quote: str = ""
    or_json: bool = False
    read_name: Callable[[str], tuple[str, str]] = lambda text: (text.strip(), "")  # -> name, id


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedCall:
    """Each parameter in a tag of its own: the call's tag, then for each parameter a key and a value.

    `parameter_close` ends a value as it is written; with `trims_line`, one line end on either side is markup.
    Values are text where the tool's schema says string, JSON elsewhere, unless the tag itself says which: the
    end of the key is `string_key_end` for text, another of `key_ends` for JSON. Where a value has a tag of its
    own, `value_open` is it. A call whose tag is the block's marker has no `call_open`; its name ends at `name_ends`.
    """

    call_open: str
    name_ends: tuple[str, ...]
    call_close: str
    parameter_open: str
    key_ends: tuple[str, ...]
    parameter_close: str
    value_open: str = ""
    string_key_end: str = ""
    trims_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCall:
    """`name(key=value, …)`, in a list or one after the other; values are Python literals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCalls:
    """Calls that a function of a plugin file reads.

    `read(source, outbox, ends, is_bare)` goes from behind a block's marker through its end. It returns False where
    what comes is no call; that text, which the source keeps until a CallDraft is told, is then content. `is_bare`
    says that no marker announced the block.
    """

    read: Callable[[Source, Outbox, tuple[str, ...], bool], Steps[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmCalls:
    """Whole replies are read by a class with vLLM's interface, from a plugin file."""

    parser: type[Any]


CallSyntax: TypeAlias = JsonCall | NamedCall | TaggedCall | PythonCall | OwnCalls | VllmCalls


def long_id() -> str:
    """vLLM's kind of tool call id."""
    return f"chatcmpl-tool-{uuid.uuid4().hex}"


def short_id() -> str:
    """Nine letters and digits: Mistral's chat templates refuse any other id."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """One way of writing tool calls.

    `begins` open a block of calls, `ends` close it (a block without `ends` is over where its calls are). With
    `at_start` a reply may also be nothing but calls, without a marker; they count only if they name one of the
    request's tools. `dropped` markers stand around blocks and mean nothing.

    `signs` tell the format from a chat template: any of them, each a set of strings that must all be there.
    `model_types` tell it where templates say too little; where both are given, both must hold.
    """

    name: str
    models: str = "those of a plugin file"
    syntax: CallSyntax
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    at_start: str = ""  # the characters such a reply may begin with
    dropped: tuple[str, ...] = ()
    signs: tuple[tuple[str, ...], ...] = ()
    model_types: tuple[str, ...] = ()
    new_id: Callable[[], str] = long_id
    is_own: bool = (
        False  # of a plugin file: what goes wrong while it reads is logged, and the text is content
    )

    @property
    def json_syntax(self) -> JsonCall | None:
        """How its calls are written as JSON objects; None where they never are."""
        if isinstance(self.syntax, NamedCall) and self.syntax.or_json:
            return JsonCall()
        return self.syntax if isinstance(self.syntax, JsonCall) else None

    @property
    def markers(self) -> tuple[str, ...]:
        """Every marker that a detokeniser must let through."""
        syntax = self.syntax
        found = (*self.begins, *self.ends, *self.dropped)
        if isinstance(syntax, NamedCall):
            found = (*found, *syntax.name_ends, syntax.before_name, syntax.quote)
        elif isinstance(syntax, TaggedCall):
            found = (
                *found,
                syntax.call_open, *syntax.name_ends, syntax.call_close,
                syntax.parameter_open, *syntax.key_ends, syntax.parameter_close, syntax.value_open,
            )  # fmt: skip
        return tuple(filter(None, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningFormat:
    """One way of marking reasoning: from one of `begins` to one of `ends`.

    Where the prompt already ends in one of `begins` or of `ends`, that decides how the reply starts. Otherwise
    `starts_inside` says whether a reply is reasoning from its first character. `also_ends` are markers of
    something else that ends reasoning and is not read with it. With `anywhere`, reasoning may begin in the middle
    of content. `label` may follow the beginning. `dropped` markers stand around the answer and mean nothing.
    `forced_end`, which closes with one of `ends`, is written for a model whose budget of thinking is spent; where it
    is empty that end alone. With `vllm_parser` a class with vLLM's interface reads replies instead.
    """

    name: str
    models: str = "those of a plugin file"
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    starts_inside: bool = False
    also_ends: tuple[str, ...] = ()
    anywhere: bool = False
    label: str = ""
    dropped: tuple[str, ...] = ()
    signs: tuple[tuple[str, ...], ...] = ()
    model_types: tuple[str, ...] = ()
    forced_end: str = ""
    vllm_parser: type[Any] | None = None
    is_own: bool = False

    @property
    def markers(self) -> tuple[str, ...]:
        return (*self.begins, *self.ends, *self.dropped)
