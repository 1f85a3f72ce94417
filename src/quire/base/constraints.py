"""What a reply must look like: as a caller asks for it, and as the engine is told.

`StructuredOutputsParams` is the caller's wish, named as in vLLM. `text/grammar` makes a `Constraint` of it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from quire.base.errors import InvalidValue

GrammarBackend = Literal["guidance", "xgrammar", "outlines"]
GrammarKind = Literal["json_schema", "regex", "choice", "grammar", "structural_tag"]
CANNOT_FOLLOW = "the grammar cannot be followed any further"  # how the error of such a sequence begins
_KINDS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")


class StructuredOutputsParams(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Exactly one of json, regex, choice, grammar, json_object and structural_tag. Raises InvalidValue otherwise.

    The others tune `json`; None means as the server is set up.
    """

    json: dict[str, Any] | str | bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: dict[str, Any] | str | None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: bool | None = None
    whitespace_pattern: str | None = None

    def __post_init__(self) -> None:
        given = [
            name for name in _KINDS if getattr(self, name) not in (None, False) or name == self._false_json
        ]
        if len(given) != 1:
            raise InvalidValue(
                f"structured_outputs must have exactly one of {', '.join(_KINDS)}, got {', '.join(given) or 'none'}",
                field="structured_outputs",
            )

    @property
    def _false_json(self) -> str:
        """`false` is a JSON schema, too: one that nothing satisfies, to be refused as such."""
        return "json" if self.json is False else ""


class Grammar(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is compiled. Equal grammars compile to the same, so it is the key of every cache.

    `text` is JSON for json_schema, structural_tag and choice (a list of texts), else the regex or grammar itself.
    """

    backend: GrammarBackend
    kind: GrammarKind
    text: str
    any_whitespace: bool = True  # JSON may have blanks between its parts
    whitespace_pattern: str = ""


class Constraint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A grammar that holds from the first token on, or once reasoning is over.

    A reply is reasoning at its start if `starts_in_reasoning`, or if its first token is one of
    `reasoning_begin_ids`; it ends with one of the texts `reasoning_ends`. `num_bytes` is what the compiled grammar
    was measured to take.
    """

    grammar: Grammar
    num_bytes: int = 0
    starts_in_reasoning: bool = False
    reasoning_begin_ids: list[int] = []
    reasoning_ends: list[str] = []


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of compiling a grammar: why it cannot be used (empty: it can), and what it takes in memory."""

    error: str = ""
    num_bytes: int = 0


class GrammarConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How replies are held to a grammar, unless the request says otherwise."""

    backend: GrammarBackend = "guidance"
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    enable_in_reasoning: bool = False
    cache_bytes: int = 512 << 20  # of compiled grammars in the engine
    compile_timeout_s: float = 5.0
