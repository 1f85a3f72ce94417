"""Replies read by classes with vLLM's interface, as events: one stage for reasoning, one for calls.

A streamed reply is given to a class piece by piece, a whole one at its end, as in vLLM. What such a class raises is
logged, and from there on the text is content: it is somebody else's code, and the reply is not lost for it.
"""

from __future__ import annotations

import inspect
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

from quire.text.parsers.events import CallArguments, CallBegin, Content, Event, Reasoning
from quire.text.parsers.formats import long_id
from quire.text.parsers.vllm_stand_ins import (
    ChatCompletionRequest,
    ChatCompletionToolsParam,
    DeltaMessage,
    ExtractedToolCallInformation,
    FunctionDefinition,
)
from quire.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)
Names: TypeAlias = tuple[str, ...]


class TokenizerView:
    """A tokenizer by the method names of transformers that parsers use."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def vocab(self) -> dict[str, int]:
        found = (
            (self._tokenizer.id_to_token(number), number) for number in range(self._tokenizer.vocab_size)
        )
        return {token: number for token, number in found if token is not None}

    def get_vocab(self) -> dict[str, int]:
        return self.vocab

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def decode(self, token_ids: int | Sequence[int], skip_special_tokens: bool = False) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int | None] | None:
        if isinstance(tokens, str):
            return self._tokenizer.token_to_id(tokens)
        return [self._tokenizer.token_to_id(token) for token in tokens]


view_of = lru_cache(maxsize=8)(TokenizerView)  # a vocabulary is large, and every parser asks for it


class PluginAsk:
    """What classes of a plugin file are told of the request whose replies they read."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        tools: Sequence[Mapping[str, Any]],
        chat_template_kwargs: dict[str, Any] | None,
        is_streamed: bool,
    ) -> None:
        self._tokenizer = tokenizer
        self.request = ChatCompletionRequest(
            tools=[_tool(one["function"]) for one in tools] or None,
            chat_template_kwargs=chat_template_kwargs,
            stream=is_streamed,
        )

    def make(self, parser: type[Any]) -> Any:
        """An object of the class, given as much of tokenizer, tools and template variables as it takes."""
        takes = inspect.signature(parser).parameters
        options = {"tools": self.request.tools, "chat_template_kwargs": self.request.chat_template_kwargs}
        return parser(
            view_of(self._tokenizer), **{name: value for name, value in options.items() if name in takes}
        )

    def adjust(self, parser: type[Any]) -> frozenset[int]:
        """Let the class adjust the request; the special tokens that it then wants to see in the text: those of its
        markers, and all of them where it switches `skip_special_tokens` off."""
        try:
            made = self.make(parser)
            if hasattr(made, "adjust_request"):
                self.request = made.adjust_request(self.request) or self.request
            wants_all = not self.request.skip_special_tokens
            marks = tuple(filter(None, (getattr(made, name, "") for name in ("start_token", "end_token"))))
        except Exception:  # its stage meets the same, and goes on without it
            logger.warning("%s of a plugin file failed", parser.__name__, exc_info=True)
            return frozenset()
        return self._tokenizer.special_ids if wants_all else self._tokenizer.special_ids_within(marks)


def _tool(function: Mapping[str, Any]) -> ChatCompletionToolsParam:
    return ChatCompletionToolsParam(
        function=FunctionDefinition(
            name=function["name"],
            description=function.get("description"),
            parameters=function.get("parameters"),
        )
    )


def _method(parser: Any, *names: str) -> Callable[..., Any] | None:
    """The method that goes by one of the names, newest first, nearest to the object's own class; None for none."""
    for owner in type(parser).__mro__:
        for name in names:
            if name in vars(owner):
                method: Callable[..., Any] = getattr(parser, name)
                return method
    return None


class VllmStage(ABC):
    """What both stages share: the reply so far, what of it was told, and what becomes of the rest when the class
    raises."""

    def __init__(self, parser: type[Any], ask: PluginAsk, whole: Names, streaming: Names) -> None:
        self._class = parser
        self._ask = ask
        self._whole_names = whole
        self._text = ""
        self._ids: list[int] = []
        self._told: dict[type[Event], str] = {Reasoning: "", Content: ""}
        self._is_over = False  # the rest is content as it stands
        self._parser: Any = None
        try:
            self._parser = ask.make(parser)
        except Exception:  # noqa: BLE001  whatever somebody else's code raises
            self._give_up()
        self._extract_piece = _method(self._parser, *streaming) if ask.request.stream else None

    @property
    def num_calls(self) -> int:
        return 0

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[Event]:
        if self._is_over:
            return _content(text)
        before, before_ids = self._text, self._ids
        self._text, self._ids = before + text, [*before_ids, *token_ids]
        if self._extract_piece is None:
            return []
        try:
            events = self._piece(before, text, before_ids, list(token_ids))
        except NotImplementedError:
            self._extract_piece = None  # it says that it reads whole replies only
            return []
        except Exception:  # noqa: BLE001  whatever somebody else's code raises
            self._give_up()
            return self._untold(text)
        for event in events:
            if isinstance(event, Content | Reasoning):
                self._told[type(event)] += event.text
        return events

    def finish(self) -> list[Event]:
        if self._is_over or not self._text:
            return []
        events: list[Event] = []
        for step in (self._rest, self._open_arguments):
            try:
                events += step()
            except Exception:  # noqa: BLE001  whatever somebody else's code raises
                self._give_up()
                events += self._untold()
        return events

    def _give_up(self) -> None:
        logger.warning(
            "%s of a plugin file failed; the rest of the reply is content",
            self._class.__name__,
            exc_info=True,
        )
        self._is_over = True

    def _untold(self, piece: str = "") -> list[Event]:
        """What the class still had in hand when it raised, which `piece` ends; `piece` alone where that cannot be
        said, since what was told is not how the reply begins."""
        told = "".join(self._told.values())
        is_known = not self.num_calls and self._text.startswith(told)
        return _content(self._text[len(told) :] if is_known else piece)

    def _read_whole(self) -> Any:
        """What the class makes of the whole reply: a new object, since one that read pieces is in any state."""
        extract = _method(self._ask.make(self._class), *self._whole_names)
        if extract is None:
            raise NotImplementedError("it has no method that reads a whole reply")
        return extract(self._text, self._ask.request)

    def _pieces(self, before: str, text: str, before_ids: list[int], token_ids: list[int]) -> dict[str, Any]:
        """vLLM's arguments for one piece."""
        return {
            "previous_text": before,
            "current_text": self._text,
            "delta_text": text,
            "previous_token_ids": before_ids,
            "current_token_ids": self._ids,
            "delta_token_ids": token_ids,
        }

    @abstractmethod
    def _piece(self, before: str, text: str, before_ids: list[int], token_ids: list[int]) -> list[Event]:
        """What one more piece comes to."""

    @abstractmethod
    def _rest(self) -> list[Event]:
        """What the whole reply comes to beyond what its pieces did; nothing where the two do not agree."""

    def _open_arguments(self) -> list[Event]:
        """What the class still knows of the last call's arguments."""
        return []


class ReasoningStage(VllmStage):
    """Reasoning and content, told apart by a ReasoningParser."""

    def __init__(self, parser: type[Any], ask: PluginAsk, prompt_token_ids: Sequence[int]) -> None:
        super().__init__(
            parser,
            ask,
            ("extract_reasoning", "extract_reasoning_content"),
            ("extract_reasoning_streaming", "extract_reasoning_content_streaming"),
        )
        if not self._is_over:
            try:
                self._is_over = self._parser.is_reasoning_end(list(prompt_token_ids))
            except Exception:  # noqa: BLE001
                self._give_up()

    def _piece(self, before: str, text: str, before_ids: list[int], token_ids: list[int]) -> list[Event]:
        assert self._extract_piece is not None
        delta = self._extract_piece(**self._pieces(before, text, before_ids, token_ids))
        self._is_over = self._parser.is_reasoning_end_streaming(self._ids, token_ids)
        if delta is None:
            return []
        return _reasoning_and_content(delta.reasoning or delta.reasoning_content, delta.content)

    def _rest(self) -> list[Event]:
        reasoning, content = (text or "" for text in self._read_whole())
        told, told_content = self._told[Reasoning], self._told[Content]
        if not (reasoning.startswith(told) and content.startswith(told_content)):
            return []
        return _reasoning_and_content(reasoning[len(told) :], content[len(told_content) :])


class CallsStage(VllmStage):
    """Calls and content, told apart by a ToolParser. Calls beyond `max_calls` are read and not told."""

    def __init__(self, parser: type[Any], ask: PluginAsk, max_calls: int | None) -> None:
        super().__init__(parser, ask, ("extract_tool_calls",), ("extract_tool_calls_streaming",))
        self._max_calls = max_calls
        self._arguments: list[str] = []  # of each call so far
        self._places: dict[int, int] = {}  # of calls among those, by the class's own number

    @property
    def num_calls(self) -> int:
        return len(self._arguments)

    def _piece(self, before: str, text: str, before_ids: list[int], token_ids: list[int]) -> list[Event]:
        assert self._extract_piece is not None
        pieces = self._pieces(before, text, before_ids, token_ids)
        delta = self._extract_piece(**pieces, request=self._ask.request)
        return [] if delta is None else self._told_by(delta)

    def _told_by(self, delta: DeltaMessage) -> list[Event]:
        events = _content(delta.content)
        for call in delta.tool_calls or ():
            function: Any = call.function
            if function is None:
                continue
            if function.name and call.index not in self._places:
                self._places[call.index] = self.num_calls
                events += self._begin(function.name, call.id)
            if function.arguments:
                # KeyError where the call has no name yet
                events += self._go_on(self._places[call.index], function.arguments)
        return events

    def _begin(self, name: str, call_id: str | None) -> list[Event]:
        place = self.num_calls
        self._arguments.append("")
        return [CallBegin(place, name, call_id or long_id())] if self._shows(place) else []

    def _go_on(self, place: int, text: str) -> list[Event]:
        self._arguments[place] += text
        return [CallArguments(place, text)] if text and self._shows(place) else []

    def _shows(self, place: int) -> bool:
        return self._max_calls is None or place < self._max_calls

    def _rest(self) -> list[Event]:
        found: ExtractedToolCallInformation = self._read_whole()
        made = found.tool_calls if found.tools_called else []
        calls = [(one.function.name, one.function.arguments or "{}", one.id) for one in made]
        content = found.content
        if content is None:
            content = "" if found.tools_called else self._text
        told = self._told[Content]
        if len(calls) < self.num_calls or not content.startswith(told):
            return []
        events = _content(content[len(told) :])
        for place, (name, arguments, call_id) in enumerate(calls):
            if place == self.num_calls:
                events += self._begin(name, call_id)
            events += self._go_on(place, _beyond(self._arguments[place], arguments))
        return events

    def _open_arguments(self) -> list[Event]:
        """Arguments that a class keeps in `prev_tool_call_arr` and has not told when the reply ends, as many do."""
        known = getattr(self._parser, "prev_tool_call_arr", None) if self._places else None
        if not known:
            return []
        arguments = known[-1].get("arguments", {})
        whole = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return self._go_on(self.num_calls - 1, _beyond(self._arguments[-1], whole))


def _beyond(told: str, whole: str) -> str:
    """What the whole has beyond what was told; empty where it begins otherwise."""
    return whole[len(told) :] if whole.startswith(told) else ""


def _content(text: str | None) -> list[Event]:
    return [Content(text)] if text else []


def _reasoning_and_content(reasoning: str | None, content: str | None) -> list[Event]:
    events: list[Event] = [Reasoning(reasoning)] if reasoning else []
    return events + _content(content)
