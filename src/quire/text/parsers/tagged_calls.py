"""Reads calls whose parameters stand in tags of their own, values typed by the tool's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quire.text.parsers.draft import MAX_NAME_CHARS, CallDraft
from quire.text.parsers.events import Outbox
from quire.text.parsers.formats import TaggedCall
from quire.text.parsers.json_text import escaped, mended, quoted, scalar
from quire.text.parsers.source import Source, Steps, discard


class TaggedCalls:
    """One block: a call or several, up to one of `ends`."""

    def __init__(self, source: Source, outbox: Outbox, syntax: TaggedCall, ends: tuple[str, ...]) -> None:
        self._source = source
        self._outbox = outbox
        self._syntax = syntax
        self._ends = ends

    def read(self) -> Steps[bool]:
        """False when what comes is no call. That part was kept by the source."""
        source, syntax, num_read = self._source, self._syntax, 0
        if not syntax.call_open:
            return (yield from self._call())
        while True:
            yield from source.skip_space()
            if not num_read:
                found = yield from source.before(
                    (syntax.call_open, *self._ends), discard, limit=MAX_NAME_CHARS
                )
            else:
                source.keep()
                found = yield from source.marker_here((syntax.call_open, *self._ends))
            source.at += len(found)
            if found != syntax.call_open:
                return num_read > 0
            if not (yield from self._call()):
                return False
            num_read += 1

    def _call(self) -> Steps[bool]:
        """From the name to the call's closing tag, or to the end of the block where that is missing."""
        source, syntax = self._source, self._syntax
        draft = CallDraft(source, self._outbox)
        pieces: list[str] = []
        found = yield from source.before(syntax.name_ends, pieces.append, limit=MAX_NAME_CHARS)
        if not found or not draft.set_name("".join(pieces).strip().strip('"')):
            return False
        if found not in (syntax.parameter_open, syntax.call_close):
            source.at += len(found)
        ends = dict.fromkeys((syntax.parameter_open, syntax.call_close, *self._ends))
        is_first = True
        while True:
            found = yield from source.before(tuple(ends), discard)
            if not found:
                if draft.is_told:
                    draft.write("}")
                return draft.is_told
            if found in self._ends and found != syntax.call_close:
                break
            source.at += len(found)
            if found == syntax.call_close:
                break
            if is_first:
                draft.start_arguments()
            draft.write("{" if is_first else ", ")
            is_first = False
            yield from self._parameter(draft)
        if is_first:
            return draft.finish()
        draft.write("}")
        return True

    def _parameter(self, draft: CallDraft) -> Steps[None]:
        """A key and its value; the tag was read up to the key."""
        source, syntax = self._source, self._syntax
        pieces: list[str] = []
        key_end = yield from source.until(syntax.key_ends, pieces.append)
        key = "".join(pieces).strip()
        draft.write(quoted(key) + ": ")
        if syntax.value_open:
            yield from source.skip_space()
            yield from source.take_marker((syntax.value_open,))
        is_text = _is_text(self._outbox.functions.get(draft.name), key)
        if syntax.string_key_end:
            is_text = key_end == syntax.string_key_end
        if is_text:
            draft.write('"')
            yield from self._value(lambda text: draft.write(escaped(text)))
            draft.write('"')
        else:
            value: list[str] = []
            yield from self._value(value.append)
            draft.write(_typed("".join(value), is_known=is_text is not None))

    def _value(self, write: Any) -> Steps[None]:
        """Up to the closing tag; the call's or the block's own ends it where that was forgotten."""
        source, syntax = self._source, self._syntax
        closes: tuple[str, ...] = (syntax.parameter_close, syntax.call_close)
        if syntax.trims_line:
            if (yield from source.peek()) == "\n":
                source.at += 1
            closes = (*closes, *("\n" + marker for marker in closes))
        found = yield from source.before(tuple(dict.fromkeys(closes)), write)
        if found.strip() == syntax.parameter_close:
            source.at += len(found)


def _is_text(parameters: Any, key: str) -> bool | None:
    """Whether the schema says that parameter `key` is a string; None where it says nothing."""
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    schema = properties.get(key) if isinstance(properties, Mapping) else None
    if not isinstance(schema, Mapping):
        return None
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind.lower() in ("string", "str", "text", "enum")
    if isinstance(kind, list):
        return None if "string" in kind else False
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(choice, str) for choice in choices):
        return True
    return None


def _typed(text: str, *, is_known: bool) -> str:
    """A value as JSON: mended where its type is known not to be text, else text unless it is plainly JSON."""
    word = text.strip()
    if word[:1] in ("{", "["):
        value, is_whole = mended(word)
        if is_known or (is_whole and word[-1] in "}]"):
            return value
        return quoted(text)
    as_scalar = scalar(word)
    return quoted(text) if as_scalar.startswith('"') else as_scalar
