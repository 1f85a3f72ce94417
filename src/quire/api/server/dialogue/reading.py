"""How the replies to one Ask are read: which formats, which tools; and one sample's text as events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quire.api.server.dialogue.ask import Ask
from quire.api.server.service import Service
from quire.base.constraints import Grammar
from quire.base.errors import Unsupported
from quire.text.grammar import forced_format, tool_call_grammar
from quire.text.parsers import (
    REASONING_FORMATS,
    TOOL_FORMATS,
    Content,
    Event,
    Reasoning,
    ReasoningFormat,
    ReplyParser,
    ToolFormat,
    kept_markers,
)
from quire.text.session import CompletionOutput, Session


@dataclass(frozen=True, slots=True)
class Reading:
    """What all samples of a request share. None and an empty name where nothing is looked for."""

    tools: ToolFormat | None
    reasoning_parser: str
    functions: dict[str, Any]
    prompt: str
    max_calls: int | None
    shows_reasoning: bool
    shown_ids: frozenset[int]
    grammar: Grammar | None = None  # of calls that must be made

    @property
    def reasoning_format(self) -> ReasoningFormat | None:
        return REASONING_FORMATS.get(self.reasoning_parser)

    def new_parser(self) -> ReplyParser | None:
        """A parser for one sample; None where its text is content as it stands."""
        if not (self.tools or self.reasoning_parser):
            return None
        return ReplyParser(
            self.tools,
            self.reasoning_format,
            functions=self.functions,
            prompt=self.prompt,
            max_calls=self.max_calls,
        )


def choose_reading(
    service: Service,
    session: Session,
    ask: Ask,
    prompt: str,
    forced: Mapping[str, Any],
) -> Reading:
    """`forced` are the functions one of which must be called, by name.

    Raises Unsupported where this server cannot read what is asked for.
    """
    config, tools = service.config, None if ask.tool_choice == "none" else ask.tools
    if tools and not forced:
        _check_tools(service)
    if not ask.include_reasoning and not config.reasoning_parser:
        raise Unsupported(
            "include_reasoning: reasoning cannot be left out, for this server does not tell it from content; "
            "start it with --reasoning-parser",
            field="include_reasoning",
        )
    tool_format = TOOL_FORMATS.get(config.tool_call_parser if tools else "")
    reasoning_parser = config.reasoning_parser
    grammar, max_calls = None, None if ask.parallel_tool_calls else 1
    if forced:
        tool_format = forced_format(tool_format)
        several = ask.parallel_tool_calls and not isinstance(ask.tool_choice, dict)
        grammar = tool_call_grammar(tool_format, forced, several=several)
    markers = kept_markers(tool_format, REASONING_FORMATS.get(reasoning_parser))
    functions = [tool["function"] for tool in tools or ()]
    return Reading(
        tools=tool_format,
        reasoning_parser=reasoning_parser,
        functions={one["name"]: one.get("parameters") for one in functions},
        prompt=prompt,
        max_calls=max_calls,
        shows_reasoning=ask.include_reasoning,
        shown_ids=session.tokenizer.special_ids_within(markers),
        grammar=grammar,
    )


def _check_tools(service: Service) -> None:
    config = service.config
    if not config.tool_call_parser:
        raise Unsupported(
            "tools: this server does not know how its model writes tool calls; start it with --tool-call-parser, "
            'or send tool_choice "none"',
            field="tools",
        )
    if not config.enable_auto_tool_choice:
        raise Unsupported(
            'tool_choice "auto" is switched off on this server (--enable-auto-tool-choice switches it on); '
            'send tool_choice "none"',
            field="tool_choice",
        )


class SampleReader:
    """One sample: its text, piece by piece, becomes events."""

    def __init__(self, reading: Reading) -> None:
        self._parser = reading.new_parser()
        self._shows_reasoning = reading.shows_reasoning

    def read(self, sample: CompletionOutput) -> list[Event]:
        """What the sample's new text comes to."""
        if self._parser is None:
            return [Content(sample.text)] if sample.text else []
        events = self._parser.feed(sample.text) if sample.text else []
        if sample.finish_reason is not None:
            events += self._parser.finish()
        return [event for event in events if self._shows_reasoning or not isinstance(event, Reasoning)]

    def finish_reason(self, sample: CompletionOutput) -> str | None:
        """The engine's, unless the model stopped because it called tools."""
        if sample.finish_reason == "stop" and self._parser is not None and self._parser.num_calls:
            return "tool_calls"
        return sample.finish_reason
