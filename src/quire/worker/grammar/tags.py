"""Structural tags in llguidance's dialect of Lark. The shapes are xgrammar's, whose names vLLM's users know.

A shape is an object with a `type`; each becomes an expression, some with a rule of their own. Texts that spell a
special token stand for that token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import llguidance

from quire.worker.grammar.backend import GrammarRefused
from quire.worker.grammar.vocabulary import Vocabulary

MAX_DEPTH = 50
_ANY_TEXT = r"/(.|\n)*/"


def structural_lark(text: str, vocabulary: Vocabulary, json_options: Mapping[str, Any]) -> str:
    """`text` is the JSON of vLLM's `{"structures": […], "triggers": […]}` or of xgrammar's `{"format": {…}}`."""
    asked = json.loads(text)
    shape = asked.get("format") if isinstance(asked, dict) else None
    if isinstance(asked, dict) and "structures" in asked:
        shape = {
            "type": "triggered_tags",
            "triggers": asked.get("triggers"),
            "tags": [
                {
                    "begin": one["begin"],
                    "end": one["end"],
                    "content": {"type": "json_schema", "json_schema": one.get("schema")},
                }
                for one in _objects(asked, "structures", "begin", "end")
            ],
        }
    if not isinstance(shape, dict):
        raise GrammarRefused("a structural tag has `format`, or `structures` and `triggers`")
    writer = _LarkWriter(vocabulary, json_options)
    start = writer.expression(shape)
    return "\n".join(["%llguidance {}", f"start: {start}", *writer.rules])


class _LarkWriter:
    def __init__(self, vocabulary: Vocabulary, json_options: Mapping[str, Any]) -> None:
        self.rules: list[str] = []
        self._vocabulary = vocabulary
        self._json_options = json_options
        self._depth = 0
        self._shapes: dict[str, Callable[[dict[str, Any]], str]] = {
            "const_string": lambda shape: self._text(_string(shape, "value")),
            "json_schema": self._json,
            "regex": lambda shape: f"/{llguidance.regex_to_lark(_string(shape, 'pattern'), '')}/",
            "any_text": lambda shape: _ANY_TEXT,
            "sequence": lambda shape: " ".join(map(self.expression, _objects(shape, "elements"))),
            "or": lambda shape: self._any_of(map(self.expression, _objects(shape, "elements"))),
            "tag": self._tag,
            "tags_with_separator": self._separated,
            "triggered_tags": self._triggered,
        }

    def expression(self, shape: dict[str, Any]) -> str:
        kind = shape.get("type")
        if not isinstance(kind, str) or kind not in self._shapes:
            raise GrammarRefused(
                f"{kind!r} is no type of a structural tag; known are {', '.join(self._shapes)}"
            )
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise GrammarRefused(f"structural tags may be nested {MAX_DEPTH} deep")
        written = self._shapes[kind](shape)
        self._depth -= 1
        return written

    def _json(self, shape: dict[str, Any]) -> str:
        schema = shape.get("json_schema")
        if not isinstance(schema, dict | bool):
            raise GrammarRefused("json_schema must be a JSON schema, an object")
        if isinstance(schema, dict):
            schema = {**schema, "x-guidance": dict(self._json_options)}
        return self._rule(f"%json {json.dumps(schema)}")

    def _tag(self, shape: dict[str, Any], trigger: str = "") -> str:
        """With a trigger, which is read already, what comes behind it."""
        begin, end = _string(shape, "begin"), _string(shape, "end")
        content = shape.get("content")
        if not isinstance(content, dict):
            raise GrammarRefused("a tag's content must be an object")
        opened = self._text(begin.removeprefix(trigger))
        if content.get("type") == "any_text":
            return f"{opened} {self._up_to(end)}"
        return f"{opened} {self.expression(content)} {self._text(end)}"

    def _separated(self, shape: dict[str, Any]) -> str:
        one = self._any_of(self._tag(tag) for tag in _objects(shape, "tags"))
        several = one
        if not shape.get("stop_after_first"):
            several = f"{one} ({self._text(_string(shape, 'separator'))} {one})*"
        return several if shape.get("at_least_one") else f"({several})?"

    def _triggered(self, shape: dict[str, Any]) -> str:
        """Free text in which a trigger begins a tag."""
        triggers = shape.get("triggers")
        if not isinstance(triggers, list) or not all(isinstance(one, str) and one for one in triggers):
            raise GrammarRefused("triggers must be texts")
        tags = []
        for tag in _objects(shape, "tags", "begin"):
            trigger = next((one for one in triggers if _string(tag, "begin").startswith(one)), None)
            if trigger is None:
                raise GrammarRefused(f"no trigger begins {tag['begin'][:100]!r}")
            tags.append(f"{self._up_to(trigger)} {self._tag(tag, trigger)}")
        one = self._any_of(tags)
        some = one if shape.get("stop_after_first") else f"{one}{'+' if shape.get('at_least_one') else '*'}"
        if shape.get("stop_after_first") and not shape.get("at_least_one"):
            some = f"{one}?"
        return f"{some} {_ANY_TEXT}"

    def _up_to(self, end: str) -> str:
        """Text up to `end`, and `end`."""
        if not end:
            return _ANY_TEXT
        closed = self._text(end)
        if closed.startswith("<["):
            return f"{_ANY_TEXT} {closed}"
        return self._rule(f"{_ANY_TEXT} {closed}", "[lazy]")

    def _any_of(self, written: Any) -> str:
        return self._rule(" | ".join(written))

    def _rule(self, body: str, mark: str = "") -> str:
        name = f"part{len(self.rules)}"
        self.rules.append(f"{name}{mark}: {body}")
        return name

    def _text(self, text: str) -> str:
        special = self._vocabulary.special_ids
        pieces = re.split(f"({'|'.join(map(re.escape, special))})", text) if special else [text]
        return " ".join(
            f"<[{special[piece]}]>" if piece in special else json.dumps(piece, ensure_ascii=False)
            for piece in pieces
            if piece
        )


def _string(shape: dict[str, Any], name: str) -> str:
    value = shape.get(name)
    if not isinstance(value, str):
        raise GrammarRefused(f"{name} of a {shape.get('type', 'tag')} must be a text")
    return value


def _objects(shape: dict[str, Any], name: str, *texts: str) -> list[dict[str, Any]]:
    """The list of objects under `name`, each with these texts."""
    value = shape.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise GrammarRefused(f"{name} must be a list of objects, at least one")
    for one in value:
        for text in texts:
            _string(one, text)
    return value
