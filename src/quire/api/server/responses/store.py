"""Responses kept in memory for later: to be read again, gone on from, followed while they are made, or cancelled.

Bounded in number and bytes; the oldest finished ones go first. Nothing is written to disk, and a restart forgets all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from quire.api.server.responses.reply_types import Response
from quire.api.server.responses.writing import EventLog
from quire.base.errors import InvalidValue, NotFound

MAX_RESPONSES = 1024
MAX_BYTES = 64 * 1024 * 1024

_encode = msgspec.json.Encoder().encode


class StoredResponse:
    """`messages` are its conversation up to the answer, `items` the same as it is listed. `log` holds all events of a
    background response."""

    def __init__(
        self, response: Response, messages: list[dict[str, Any]], items: list[dict[str, Any]], log: EventLog
    ) -> None:
        self.response = response
        self.messages = messages
        self.items = items
        self.log = log
        self.task: asyncio.Task[None] | None = None  # while it runs in the background
        self.num_bytes = 0
        self.is_dropped = False
        self._changed = asyncio.Event()

    @property
    def is_running(self) -> bool:
        return self.response.status in ("queued", "in_progress")

    def note_change(self) -> None:
        """Wake those who follow."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def cancel(self) -> None:
        """End it, wherever it stands. Nothing happens to one that is over."""
        if self.task is None:
            return
        self.task.cancel()
        await asyncio.wait([self.task])
        if self.is_running:  # cancelled before its first step, so that it could not say so itself
            self.response.status, self.task = "cancelled", None
            self.note_change()

    async def follow(self, starting_after: int) -> AsyncGenerator[bytes, None]:
        """Events numbered higher than `starting_after`, as they come, to the end."""
        place = starting_after + 1
        while True:
            events = self.log.events[place:]
            if events:
                place += len(events)
                yield b"".join(events)
            elif not self.is_running:
                return
            else:
                await self._changed.wait()


class ResponseStore:
    def __init__(
        self, *, is_enabled: bool, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES
    ) -> None:
        self.is_enabled = is_enabled
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._responses: dict[str, StoredResponse] = {}  # oldest first
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._responses)

    def check_new(self, response_id: str) -> None:
        if response_id in self._responses:
            raise InvalidValue("request_id: a response of this name is stored already", field="request_id")

    def get(self, response_id: str, *, field: str = "response_id") -> StoredResponse:
        stored = self._responses.get(response_id)
        if stored is None:
            kept = (
                ""
                if self.is_enabled
                else "; this server stores none (VLLM_ENABLE_RESPONSES_API_STORE=1 lets it)"
            )
            raise NotFound(f"{field}: there is no response {response_id[:100]!r} here{kept}", field=field)
        return stored

    def put(self, stored: StoredResponse) -> None:
        """Store it, or count it anew after it changed. What is over the bounds is dropped."""
        known = self._responses.setdefault(stored.response.id, stored)
        if known is not stored:  # two callers chose one name, and the other was faster
            return
        parts = (stored.response, stored.messages, stored.items)
        size = sum(len(_encode(part)) for part in parts) + sum(map(len, stored.log.events))
        self._num_bytes += size - stored.num_bytes
        stored.num_bytes = size
        self._drop_oldest()

    def drop(self, stored: StoredResponse) -> None:
        if self._responses.pop(stored.response.id, None) is not None:
            stored.is_dropped = True
            self._num_bytes -= stored.num_bytes

    def _drop_oldest(self) -> None:
        for stored in list(self._responses.values()):
            if len(self._responses) <= self._max_responses and self._num_bytes <= self._max_bytes:
                return
            if not stored.is_running:
                self.drop(stored)
