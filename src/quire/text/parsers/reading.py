"""ReplyReading: how the replies to one request are read, whoever reads them; a parser for each of its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from quire.text.parsers.events import Content, Event
from quire.text.parsers.formats import ReasoningFormat, ToolFormat, VllmCalls
from quire.text.parsers.reply import ReplyParser, kept_markers
from quire.text.parsers.vllm_stages import CallsStage, PluginAsk, ReasoningStage
from quire.text.tokenizer import Tokenizer


class Stage(Protocol):
    """What reads a reply: text in pieces, with the ids that came with them, to events."""

    @property
    def num_calls(self) -> int: ...

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[Event]: ...

    def finish(self) -> list[Event]: ...


class ReplyReading:
    """What all samples of a request share. Nothing is looked for where both formats are None.

    `shown_ids` are special tokens that the text must show to the parsers. `prompt` is the text that replies go on
    from, `tools` are the request's, in OpenAI's shape; the rest is as ReplyParser takes it.
    """

    def __init__(
        self,
        calls: ToolFormat | None,
        reasoning: ReasoningFormat | None,
        tokenizer: Tokenizer,
        *,
        prompt: str,
        tools: Sequence[Mapping[str, Any]] = (),
        chat_template_kwargs: dict[str, Any] | None = None,
        max_calls: int | None = None,
        is_streamed: bool = False,
    ) -> None:
        self._calls = calls
        self._reasoning = reasoning
        self._prompt = prompt
        self._functions = {one["function"]["name"]: one["function"].get("parameters") for one in tools}
        self._max_calls = max_calls
        self._calls_class = calls.syntax.parser if calls and isinstance(calls.syntax, VllmCalls) else None
        self._reasoning_class = reasoning.vllm_parser if reasoning else None
        self._ask = PluginAsk(
            tokenizer,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
            is_streamed=is_streamed,
        )
        self.shown_ids = tokenizer.special_ids_within(kept_markers(calls, reasoning)).union(
            *(self._ask.adjust(one) for one in (self._calls_class, self._reasoning_class) if one is not None)
        )

    def new_parser(self, prompt_token_ids: Sequence[int]) -> Stage | None:
        """A parser for one sample; None where its text is content as it stands."""
        if self._calls is None and self._reasoning is None:
            return None
        if self._calls_class is None and self._reasoning_class is None:
            return self._built_in(self._calls, self._reasoning)
        calls, reasoning = self._calls_stage(), self._reasoning_stage(prompt_token_ids)
        if calls is None or reasoning is None:
            return calls or reasoning
        return TwoStages(reasoning, calls)

    def _calls_stage(self) -> Stage | None:
        if self._calls_class is not None:
            return CallsStage(self._calls_class, self._ask, self._max_calls)
        return self._built_in(self._calls, None) if self._calls is not None else None

    def _reasoning_stage(self, prompt_token_ids: Sequence[int]) -> Stage | None:
        if self._reasoning_class is not None:
            return ReasoningStage(self._reasoning_class, self._ask, prompt_token_ids)
        return self._built_in(None, self._reasoning) if self._reasoning is not None else None

    def _built_in(self, calls: ToolFormat | None, reasoning: ReasoningFormat | None) -> ReplyParser:
        return ReplyParser(
            calls, reasoning, functions=self._functions, prompt=self._prompt, max_calls=self._max_calls
        )


class TwoStages:
    """The content that `first` leaves is what `second` reads."""

    def __init__(self, first: Stage, second: Stage) -> None:
        self._first = first
        self._second = second

    @property
    def num_calls(self) -> int:
        return self._second.num_calls

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[Event]:
        return self._through(self._first.feed(text, token_ids), token_ids)

    def finish(self) -> list[Event]:
        return self._through(self._first.finish(), ()) + self._second.finish()

    def _through(self, events: list[Event], token_ids: Sequence[int]) -> list[Event]:
        found: list[Event] = []
        for event in events:
            if isinstance(event, Content):
                found += self._second.feed(event.text, token_ids)
                token_ids = ()
            else:
                found.append(event)
        return found
