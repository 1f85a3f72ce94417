"""How the replies to one Ask are read: which formats, which tools; and one sample's text as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quire.api.server.dialogue.ask import Ask
from quire.api.server.service import Service
from quire.base.constraints import Grammar
from quire.base.errors import Unsupported
from quire.text.grammar import forced_format, tool_call_grammar
from quire.text.parsers import (
    Content,
    Event,
    Reasoning,
    ReasoningFormat,
    ReplyReading,
    reasoning_of,
    tool_format,
)
from quire.text.session import CompletionOutput, Session


@dataclass(frozen=True, slots=True)
class Reading:
    """How the replies to one Ask are read, and what of them is shown. `grammar` holds calls that must be made."""

    replies: ReplyReading
    reasoning: ReasoningFormat | None
    shows_reasoning: bool
    grammar: Grammar | None = None


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
    calls = tool_format(config.tool_call_parser if tools else "")
    grammar, max_calls = None, None if ask.parallel_tool_calls else 1
    if forced:
        calls = forced_format(calls)
        several = ask.parallel_tool_calls and not isinstance(ask.tool_choice, dict)
        grammar = tool_call_grammar(calls, forced, several=several)
    reasoning = reasoning_of(config)
    replies = ReplyReading(
        calls,
        reasoning,
        session.tokenizer,
        prompt=prompt,
        tools=tools or (),
        chat_template_kwargs=ask.chat_template_kwargs,
        max_calls=max_calls,
        is_streamed=ask.is_streamed,
    )
    return Reading(replies, reasoning, ask.include_reasoning, grammar)


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

    def __init__(self, reading: Reading, prompt_token_ids: Sequence[int]) -> None:
        self._parser = reading.replies.new_parser(prompt_token_ids)
        self._shows_reasoning = reading.shows_reasoning

    def read(self, sample: CompletionOutput) -> list[Event]:
        """What the sample's new text comes to."""
        if self._parser is None:
            return [Content(sample.text)] if sample.text else []
        events = self._parser.feed(sample.text, sample.token_ids)
        if sample.finish_reason is not None:
            events += self._parser.finish()
        return [event for event in events if self._shows_reasoning or not isinstance(event, Reasoning)]

    def finish_reason(self, sample: CompletionOutput) -> str | None:
        """The engine's, unless the model stopped because it called tools."""
        if sample.finish_reason == "stop" and self._parser is not None and self._parser.num_calls:
            return "tool_calls"
        return sample.finish_reason
