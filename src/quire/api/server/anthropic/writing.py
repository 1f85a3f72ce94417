"""One sample's news to content blocks, event by event: whole messages and streams are written by the same hand."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import msgspec

from quire.api.server.anthropic.reply_types import (
    Block,
    BlockDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    SignatureDelta,
    StreamEvent,
    TextContent,
    TextDelta,
    ThinkingContent,
    ThinkingDelta,
    ToolUseContent,
)
from quire.text.parsers import CallBegin, Content, Event, Reasoning


class BlockWriter:
    """Blocks in the order the model wrote them. `emit` takes each event at once, for blocks go on changing."""

    def __init__(self, emit: Callable[[StreamEvent], None]) -> None:
        self.blocks: list[Block] = []
        self._emit = emit
        self._pieces: list[str] = []  # of the open block
        self._is_open = False

    @property
    def thinking(self) -> str:
        return "".join(block.thinking for block in self.blocks if isinstance(block, ThinkingContent))

    def add(self, event: Event) -> None:
        if isinstance(event, Content):
            if not self._goes_on(TextContent):
                self._begin(TextContent())
            self._append(event.text, TextDelta(event.text))
        elif isinstance(event, Reasoning):
            if not self._goes_on(ThinkingContent):
                self._begin(ThinkingContent())
            self._append(event.text, ThinkingDelta(event.text))
        elif isinstance(event, CallBegin):
            self._begin(ToolUseContent(id=event.id, name=event.name))
        else:
            self._append(event.text, InputJsonDelta(event.text))

    def finish(self) -> None:
        """The open block is over; the blocks hold their texts then."""
        if not self._is_open:
            return
        block, text = self.blocks[-1], "".join(self._pieces)
        if isinstance(block, TextContent):
            block.text = text
        elif isinstance(block, ThinkingContent):
            block.thinking, block.signature = text, signature_of(text)
            self._emit(ContentBlockDelta(self._place, SignatureDelta(block.signature)))
        else:
            block.input = _input(text)
        self._emit(ContentBlockStop(self._place))
        self._pieces, self._is_open = [], False

    @property
    def _place(self) -> int:
        return len(self.blocks) - 1

    def _goes_on(self, kind: type[Block]) -> bool:
        return self._is_open and isinstance(self.blocks[-1], kind)

    def _begin(self, block: Block) -> None:
        self.finish()
        self.blocks.append(block)
        self._is_open = True
        self._emit(ContentBlockStart(self._place, block))

    def _append(self, text: str, delta: BlockDelta) -> None:
        self._pieces.append(text)
        self._emit(ContentBlockDelta(self._place, delta))


def signature_of(thinking: str) -> str:
    """Clients want one to send back: the text's digest, which says that nobody changed it, and no more."""
    return base64.b64encode(hashlib.sha256(thinking.encode()).digest()).decode()


def _input(text: str) -> object:
    """Arguments are one JSON value; a call that was cut off before any has none."""
    return msgspec.json.decode(text) if text else {}
