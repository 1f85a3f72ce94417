"""What a parsed reply consists of, as it streams, and the outbox that parsers write it to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec


class Content(msgspec.Struct, frozen=True):
    """Text for the reader."""

    text: str


class Reasoning(msgspec.Struct, frozen=True):
    """Text the model wrote for itself."""

    text: str


class CallBegin(msgspec.Struct, frozen=True):
    """A tool call has begun; `index` counts the reply's calls from 0."""

    index: int
    name: str
    id: str


class CallArguments(msgspec.Struct, frozen=True):
    """More of a call's arguments. All pieces of one call together are one JSON value."""

    index: int
    text: str


Event: TypeAlias = Content | Reasoning | CallBegin | CallArguments


class Outbox:
    """Collects events, neighbours of one kind joined. White space around calls and reasoning is markup: dropped.

    With `holds_space`, white space at the end of content waits until it is known not to stand before a call.
    Calls beyond `max_calls` are read and not told. `functions` are the request's tools: parameters by name.
    """

    def __init__(
        self,
        *,
        functions: Mapping[str, Any],
        new_id: Callable[[], str],
        holds_space: bool,
        max_calls: int | None = None,
    ) -> None:
        self.functions = functions
        self.num_calls = 0
        self._new_id = new_id
        self._holds_space = holds_space
        self._max_calls = max_calls
        self._events: list[Event] = []
        self._kind: type[Content] | type[Reasoning] | type[CallArguments] | None = None
        self._pieces: list[str] = []
        self._content_space: list[str] = []
        self._content_starts = False  # white space that comes now is dropped
        self._reasoning_space: list[str] = []
        self._reasoning_starts = True

    def content(self, text: str) -> None:
        if self._content_starts:
            text = text.lstrip()
            if not text:
                return
            self._content_starts = False
        if not self._holds_space:
            self._add(Content, text)
            return
        body = text.rstrip()
        if body:
            self._add(Content, "".join(self._content_space) + body)
            self._content_space.clear()
        self._content_space.append(text[len(body) :])

    def start_content(self) -> None:
        """Markup ended: white space before the next content belongs to it."""
        self._content_starts = True

    def reasoning(self, text: str) -> None:
        if self._reasoning_starts:
            text = text.lstrip()
            if not text:
                return
            self._reasoning_starts = False
        body = text.rstrip()
        if body:
            self._add(Reasoning, "".join(self._reasoning_space) + body)
            self._reasoning_space.clear()
        self._reasoning_space.append(text[len(body) :])

    def end_reasoning(self) -> None:
        self._reasoning_space.clear()
        self._reasoning_starts = True
        self._content_starts = True

    def begin_call(self, name: str, call_id: str = "") -> None:
        self._content_space.clear()
        self._content_starts = True
        self._flush()
        if self._tells_calls(self.num_calls):
            self._events.append(CallBegin(self.num_calls, name, call_id or self._new_id()))
        self.num_calls += 1

    def arguments(self, text: str) -> None:
        """More arguments of the call that began last."""
        if self._tells_calls(self.num_calls - 1):
            self._add(CallArguments, text)

    def take(self) -> list[Event]:
        """The events since the last time."""
        self._flush()
        events, self._events = self._events, []
        return events

    def end(self) -> None:
        """The reply is over: white space held back is content after all, unless calls were the end of it."""
        if not self.num_calls:
            self._add(Content, "".join(self._content_space))
        self._content_space.clear()

    def _tells_calls(self, index: int) -> bool:
        return self._max_calls is None or index < self._max_calls

    def _add(self, kind: type[Content] | type[Reasoning] | type[CallArguments], text: str) -> None:
        if text:
            if kind is not self._kind:
                self._flush()
                self._kind = kind
            self._pieces.append(text)

    def _flush(self) -> None:
        if self._pieces:
            text = "".join(self._pieces)
            self._pieces.clear()
            if self._kind is CallArguments:
                self._events.append(CallArguments(self.num_calls - 1, text))
            else:
                self._events.append(Content(text) if self._kind is Content else Reasoning(text))
