"""One sample of a chat reply: an event of its text as a delta, and all of them as one message."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from quire.api.server.dialogue import News
from quire.api.server.openai.protocol_chat import (
    Delta,
    DeltaFunction,
    DeltaToolCall,
    ReplyFunction,
    ReplyMessage,
    ReplyToolCall,
)
from quire.text.parsers import CallBegin, Content, Event, Reasoning


def delta_of(event: Event) -> Delta:
    if isinstance(event, Content):
        return Delta(content=event.text)
    if isinstance(event, Reasoning):
        return Delta(reasoning=event.text, reasoning_content=event.text)
    if isinstance(event, CallBegin):
        begin = DeltaToolCall(
            event.index, DeltaFunction(name=event.name, arguments=""), id=event.id, type="function"
        )
        return Delta(tool_calls=[begin])
    return Delta(tool_calls=[DeltaToolCall(event.index, DeltaFunction(arguments=event.text))])


class ChatAnswer:
    """One sample's news put together. `lead` is the text its content begins with."""

    def __init__(self, lead: str) -> None:
        self._texts = [lead]
        self._reasoning: list[str] = []
        self._calls: list[ReplyToolCall] = []
        self._arguments: list[list[str]] = []  # of each call, in pieces
        self.token_ids: list[int] = []
        self.logprobs: list[Any] = []
        self.finish_reason: str | None = None
        self.stop_reason: int | str | None = None

    def add(self, news: News) -> None:
        for event in news.events:
            if isinstance(event, Content):
                self._texts.append(event.text)
            elif isinstance(event, Reasoning):
                self._reasoning.append(event.text)
            elif isinstance(event, CallBegin):
                self._calls.append(ReplyToolCall(event.id, ReplyFunction(event.name, "")))
                self._arguments.append([])
            else:
                self._arguments[event.index].append(event.text)
        self.token_ids += news.sample.token_ids
        self.logprobs += news.sample.logprobs or []
        self.finish_reason, self.stop_reason = news.finish_reason, news.sample.stop_reason

    def message(self, role: str) -> ReplyMessage:
        """Content is null where there is nothing but calls; parts that the reply has none of are left out."""
        for call, arguments in zip(self._calls, self._arguments, strict=True):
            call.function.arguments = "".join(arguments)
        content, reasoning = "".join(self._texts), "".join(self._reasoning) or UNSET
        return ReplyMessage(
            role,
            None if self._calls and not content else content,
            reasoning=reasoning,
            reasoning_content=reasoning,
            tool_calls=self._calls or UNSET,
        )
