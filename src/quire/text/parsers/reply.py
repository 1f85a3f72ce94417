"""ReplyParser: a reply's text, piece by piece, to content, reasoning and tool calls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from quire.text.parsers.events import Event, Outbox
from quire.text.parsers.formats import (
    JsonCall,
    NamedCall,
    OwnCalls,
    PythonCall,
    ReasoningFormat,
    TaggedCall,
    ToolFormat,
    long_id,
)
from quire.text.parsers.harmony import MARKERS as HARMONY_MARKERS
from quire.text.parsers.harmony import read_harmony
from quire.text.parsers.json_calls import JsonCalls, NamedCalls
from quire.text.parsers.python_calls import PythonCalls
from quire.text.parsers.source import Source, Steps
from quire.text.parsers.tagged_calls import TaggedCalls

logger = logging.getLogger(__name__)
HARMONY = ("openai", "openai_gptoss")


class ReplyParser:
    """Reads one sample's text. Whatever comes, however it is cut, it gives the same events and raises nothing.

    `tools` is None where calls are not looked for, `reasoning` where reasoning stays part of the content.
    `functions` holds the parameters (JSON Schema) of each of the request's tools by name. `prompt` is the text the
    reply goes on from: whether it ends inside reasoning decides how the reply starts.
    """

    def __init__(
        self,
        tools: ToolFormat | None,
        reasoning: ReasoningFormat | None,
        *,
        functions: Mapping[str, Any] | None = None,
        prompt: str = "",
        max_calls: int | None = None,
    ) -> None:
        self._tools = tools
        self._reasoning = reasoning
        self._prompt = prompt.rstrip()
        self._source = Source()
        self._outbox = Outbox(
            functions=functions or {},
            new_id=tools.new_id if tools else long_id,
            holds_space=tools is not None or bool(reasoning and reasoning.dropped),
            max_calls=max_calls,
        )
        self._is_guarded = any(one.is_own for one in (tools, reasoning) if one is not None)
        self._dropped = (*(tools.dropped if tools else ()), *(reasoning.dropped if reasoning else ()))
        self._steps = self._reply()
        self._is_done = False

    @property
    def num_calls(self) -> int:
        """Calls begun so far."""
        return self._outbox.num_calls

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[Event]:
        """Take more text; what is certain now. The text says it all: ids are for other parsers of this shape."""
        self._source.add(text)
        return self._go_on()

    def finish(self) -> list[Event]:
        """No more text will come: what was held back, and the end of what was left open."""
        self._source.end()
        events = self._go_on()
        self._outbox.end()
        return events + self._outbox.take()

    def _go_on(self) -> list[Event]:
        if not self._is_done:
            try:
                next(self._steps)
            except StopIteration:
                self._is_done = True
            except Exception:
                if not self._is_guarded:
                    raise
                logger.warning(
                    "a format of a plugin file failed; the rest of the reply is content", exc_info=True
                )
                self._steps = self._rest()
                return self._go_on()
        return self._outbox.take()

    def _rest(self) -> Steps[None]:
        """What a plugin's reader left: nothing is looked for any longer."""
        if self._source.is_keeping:
            self._outbox.content(self._source.take_kept())
        yield from self._plain()

    def _reply(self) -> Steps[None]:
        names = {one.name for one in (self._tools, self._reasoning) if one is not None}
        if names & set(HARMONY):
            yield from read_harmony(self._source, self._outbox, reads_calls=self._tools is not None)
            return
        if self._reasoning is not None:
            yield from self._leading_reasoning(self._reasoning)
        if self._tools is not None and self._tools.at_start:
            yield from self._bare_calls(self._tools)
        yield from self._content()

    def _leading_reasoning(self, reasoning: ReasoningFormat) -> Steps[None]:
        source = self._source
        if self._prompt.endswith(reasoning.ends):
            self._outbox.start_content()
            return
        source.keep()
        yield from source.skip_space()
        marker = yield from source.marker_here(reasoning.begins)
        source.at += len(marker)
        if marker or reasoning.starts_inside or self._prompt.endswith(reasoning.begins):
            source.forget()
            yield from self._inside(reasoning)
        else:
            self._outbox.content(source.take_kept())

    def _inside(self, reasoning: ReasoningFormat) -> Steps[None]:
        source = self._source
        if reasoning.label:
            yield from source.take_marker((reasoning.label,))
        marker = yield from source.before((*reasoning.ends, *reasoning.also_ends), self._outbox.reasoning)
        if marker in reasoning.ends:
            source.at += len(marker)
        self._outbox.end_reasoning()

    def _bare_calls(self, tools: ToolFormat) -> Steps[None]:
        """A reply that is nothing but calls, recognised by its first characters and the name of a known tool."""
        self._source.keep()
        char = yield from self._source.skip_space()
        has_marker = bool(tools.begins) and bool((yield from self._source.marker_here(tools.begins)))
        if char and char in tools.at_start and not has_marker:
            self._settle((yield from self._block(tools, is_bare=True)))
        else:
            self._outbox.content(self._source.take_kept())

    def _content(self) -> Steps[None]:
        source, outbox, tools, reasoning = self._source, self._outbox, self._tools, self._reasoning
        begins = tools.begins if tools else ()
        thoughts = reasoning.begins if reasoning and reasoning.anywhere else ()
        markers = tuple(dict.fromkeys((*begins, *thoughts, *self._dropped)))
        if not markers:
            yield from self._plain()
            return
        while True:
            marker = yield from source.before(markers, outbox.content)
            if not marker:
                return
            if marker in self._dropped:
                source.at += len(marker)
                outbox.start_content()
            elif marker in thoughts and reasoning is not None:
                source.at += len(marker)
                yield from self._inside(reasoning)
            elif tools is not None:
                source.keep()
                if not (isinstance(tools.syntax, TaggedCall) and marker == tools.syntax.call_open):
                    source.at += len(marker)
                self._settle((yield from self._block(tools)))

    def _plain(self) -> Steps[None]:
        """Nothing to look for."""
        source = self._source
        while (yield from source.peek()):
            self._outbox.content(source.text[source.at :])
            source.at = len(source.text)

    def _block(self, tools: ToolFormat, *, is_bare: bool = False) -> Steps[bool]:
        """The calls after a block's marker; False where there are none."""
        source, outbox, syntax = self._source, self._outbox, tools.syntax
        if isinstance(syntax, JsonCall):
            return (yield from JsonCalls(source, outbox, syntax, tools.ends, is_bare=is_bare).read())
        if isinstance(syntax, NamedCall):
            return (yield from NamedCalls(source, outbox, syntax, tools.ends).read())
        if isinstance(syntax, TaggedCall):
            return (yield from TaggedCalls(source, outbox, syntax, tools.ends).read())
        if isinstance(syntax, OwnCalls):
            return (yield from syntax.read(source, outbox, tools.ends, is_bare))
        assert isinstance(syntax, PythonCall)
        return (yield from PythonCalls(source, outbox, tools.ends, is_bare=is_bare).read())

    def _settle(self, was_call: bool) -> None:
        """After a block: what was read in vain is content as it stands."""
        if was_call:
            self._source.forget()
        else:
            self._outbox.content(self._source.take_kept())


def kept_markers(tools: ToolFormat | None, reasoning: ReasoningFormat | None) -> tuple[str, ...]:
    """The markers that the text must still hold when it comes to a parser of these formats."""
    found: list[str] = []
    for one in (tools, reasoning):
        if one is not None:
            found += HARMONY_MARKERS if one.name in HARMONY else one.markers
    return tuple(dict.fromkeys(found))
