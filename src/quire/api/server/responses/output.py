"""One sample's news to output items, event by event: whole replies and streams are written by the same hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from quire.api.server.dialogue import News
from quire.api.server.openai.logprobs import LogprobSpeller
from quire.api.server.openai.protocol_logprobs import ContentLogprob
from quire.api.server.responses.reply_types import (
    ArgumentsDelta,
    ArgumentsDone,
    ContentPartAdded,
    ContentPartDone,
    Item,
    ItemStatus,
    OutputCall,
    OutputItemAdded,
    OutputItemDone,
    OutputMessage,
    OutputReasoning,
    OutputText,
    ReasoningDelta,
    ReasoningDone,
    ReasoningText,
    StreamEvent,
    TextDelta,
    TextDone,
)
from quire.text.parsers import CallBegin, Content, Event, Reasoning
from quire.text.session import Logprob

Positions = list[dict[int, Logprob]]


class OutputWriter:
    """Items in the order the model wrote them; a change of kind ends one and begins the next.

    `emit` takes each event at once, for items go on changing. `speller` is None where no log-probabilities are
    wanted. `items` hold their texts when they are done.
    """

    def __init__(self, emit: Callable[[StreamEvent], None], speller: LogprobSpeller | None) -> None:
        self.items: list[Item] = []
        self._emit = emit
        self._speller = speller
        self._pieces: list[str] = []  # of the open item's text
        self._is_open = False
        self._logprobs: list[ContentLogprob] = []  # of the open message
        self._positions: Positions = []  # of tokens whose text has not come yet

    @property
    def reasoning(self) -> str:
        """All reasoning so far that is in items which are done."""
        return "".join(
            one.content[0].text for one in self.items if isinstance(one, OutputReasoning) and one.content
        )

    def add(self, news: News) -> None:
        self._positions += (news.sample.logprobs or []) if self._speller else []
        shares = _share(news.events, self._positions)
        if news.events:
            self._positions = []
        for event, positions in zip(news.events, shares, strict=True):
            if isinstance(event, Content):
                self._add_text(event.text, positions)
            elif isinstance(event, Reasoning):
                self._add_reasoning(event.text)
            elif isinstance(event, CallBegin):
                self._begin(OutputCall(id=_new_id("fc"), call_id=event.id, name=event.name))
            else:
                self._add_arguments(event.text)

    def finish(self, status: ItemStatus) -> None:
        """The reply is over; the item it stopped in ends with `status`."""
        if self._positions and self._is_open and isinstance(self.items[-1], OutputMessage):
            self._add_text("", self._positions)  # of the token that ended the reply
        self._end(status)

    def _add_text(self, text: str, positions: Positions) -> None:
        if not (self._is_open and isinstance(self.items[-1], OutputMessage)):
            item = OutputMessage(id=_new_id("msg"))
            self._begin(item)
            part = OutputText()
            item.content = [part]
            self._emit(ContentPartAdded(item_id=item.id, output_index=self._place, part=part))
        self._pieces.append(text)
        logprobs = self._speller.chat(positions).content if self._speller else []
        self._logprobs += logprobs
        item_id = self.items[-1].id
        self._emit(TextDelta(item_id=item_id, output_index=self._place, delta=text, logprobs=logprobs))

    def _add_reasoning(self, text: str) -> None:
        if not (self._is_open and isinstance(self.items[-1], OutputReasoning)):
            item = OutputReasoning(id=_new_id("rs"))
            self._begin(item)
            part = ReasoningText()
            item.content = [part]
            self._emit(ContentPartAdded(item_id=item.id, output_index=self._place, part=part))
        self._pieces.append(text)
        self._emit(ReasoningDelta(item_id=self.items[-1].id, output_index=self._place, delta=text))

    def _add_arguments(self, text: str) -> None:
        self._pieces.append(text)
        self._emit(ArgumentsDelta(item_id=self.items[-1].id, output_index=self._place, delta=text))

    @property
    def _place(self) -> int:
        return len(self.items) - 1

    def _begin(self, item: Item) -> None:
        self._end("completed")
        self.items.append(item)
        self._is_open = True
        self._emit(OutputItemAdded(output_index=self._place, item=item))

    def _end(self, status: ItemStatus) -> None:
        if not self._is_open:
            return
        item, place, text = self.items[-1], self._place, "".join(self._pieces)
        if isinstance(item, OutputCall):
            item.arguments = text
            self._emit(ArgumentsDone(item_id=item.id, output_index=place, name=item.name, arguments=text))
        elif isinstance(item, OutputMessage):
            self._end_text(item, text)
        else:
            item.content[0].text = text
            self._emit(ReasoningDone(item_id=item.id, output_index=place, text=text))
            self._emit(ContentPartDone(item_id=item.id, output_index=place, part=item.content[0]))
        item.status = status
        self._emit(OutputItemDone(output_index=place, item=item))
        self._pieces, self._is_open = [], False

    def _end_text(self, item: OutputMessage, text: str) -> None:
        part, place = item.content[0], self._place
        part.text = text
        if self._speller:
            part.logprobs = self._logprobs
        self._emit(TextDone(item_id=item.id, output_index=place, text=text, logprobs=self._logprobs))
        self._emit(ContentPartDone(item_id=item.id, output_index=place, part=part))
        self._logprobs = []


def _share(events: Sequence[Event], positions: Positions) -> list[Positions]:
    """The positions that each event's text was made of; only content's are told.

    Where content meets other text, its tokens are found by length, from the end it stands at.
    """
    shares: list[Positions] = [[] for _ in events]
    if events and all(isinstance(event, Content) for event in events):
        shares[0] = positions
        return shares
    if events and isinstance(last := events[-1], Content):
        shares[-1] = list(reversed(_covering(list(reversed(positions)), len(last.text))))
    if events and isinstance(first := events[0], Content):
        shares[0] = _covering(positions, len(first.text))
    return shares


def _covering(positions: Positions, num_chars: int) -> Positions:
    """As many leading positions as it takes for a text of this length."""
    covering: Positions = []
    for position in positions:
        if num_chars <= 0:
            break
        covering.append(position)
        num_chars -= len(next(iter(position.values())).decoded_token or "")
    return covering


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"
