"""Journal: every request under way, with what each of its samples has said: all it takes to go on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from quire.base.errors import EngineDead, InvalidValue, QuireError
from quire.base.messages import EngineRequest, TokenEvent
from quire.engine.client.stream import EventStream


class _Entry:
    def __init__(self, request: EngineRequest, resume: Callable[[], None]) -> None:
        self.request = request
        self.stream = EventStream(request.sampling.n, resume)
        self.emitted: list[list[int]] = [[] for _ in range(request.sampling.n)]
        self.ended: list[int] = []
        self.engine_id = ""  # what the engine calls it; empty while no engine has it
        self.num_taken_up = 0
        self.is_unheard = True
        self.is_held = False  # no engine is to have it for now
        self.given_up: set[int] = set()  # samples the engine was told to abort

    def resumption(self) -> EngineRequest:
        """The request as another engine must take it up: each open sample goes on after its last token."""
        if not any(self.emitted) and not self.ended:
            return msgspec.structs.replace(self.request, request_id=self.engine_id)
        return msgspec.structs.replace(
            self.request, request_id=self.engine_id, emitted=self.emitted, ended_samples=self.ended
        )


class Journal:
    """Delivers events to their streams and remembers their tokens until the request has ended.

    An engine knows a request under an id that is new each time it is taken up, so news of an earlier time is known.
    """

    def __init__(self) -> None:
        self.num_unheard_tokens = 0  # of prompts without any news yet
        self._entries: dict[str, _Entry] = {}
        self._at_engine: dict[str, _Entry] = {}  # by engine id
        self._one_ended = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._entries

    @property
    def expects_news(self) -> bool:
        """Whether the engine owes anybody anything: it computes nothing for those who do not read."""
        return any(not (entry.stream.is_paused or entry.is_held) for entry in self._entries.values())

    @property
    def num_in_flight(self) -> int:
        """Requests that are not held."""
        return sum(not entry.is_held for entry in self._entries.values())

    def hold(self, request_id: str) -> None:
        """No engine is to have this request until `let_in`."""
        self._entries[request_id].is_held = True

    def let_in(self) -> list[str]:
        """The requests that were held, in order of arrival; none is any more."""
        held = [request_id for request_id, entry in self._entries.items() if entry.is_held]
        for request_id in held:
            self._entries[request_id].is_held = False
        return held

    async def drained(self) -> None:
        """Until every request that is not held has ended."""
        while self.num_in_flight:
            self._one_ended.clear()
            await self._one_ended.wait()

    def open(self, request: EngineRequest, resume: Callable[[], None]) -> EventStream:
        """A new request's stream; raises InvalidValue when its id is in use. `resume` is EventStream's."""
        if request.request_id in self._entries:
            raise InvalidValue(f"request_id {request.request_id!r} is already in use", field="request_id")
        entry = self._entries[request.request_id] = _Entry(request, resume)
        self.num_unheard_tokens += len(request.prompt_token_ids)
        return entry.stream

    def note(self, event: TokenEvent) -> bool:
        """Take one event in; returns whether its request should be paused, since nobody reads it.

        An event of an unknown request, or of a sample that has ended, is late news and dropped.
        """
        entry = self._at_engine.get(event.request_id)
        return entry is not None and self._take(entry, event)

    def _take(self, entry: _Entry, event: TokenEvent) -> bool:
        if event.index in entry.ended:
            return False
        self._hear(entry)
        entry.emitted[event.index] += event.token_ids
        if event.finish_reason is not None:
            entry.ended.append(event.index)
        entry.stream.put(event)
        if entry.stream.is_finished:
            del self._entries[entry.request.request_id]
            self._at_engine.pop(entry.engine_id, None)
            self._one_ended.set()
        return entry.stream.take_pause()

    def _hear(self, entry: _Entry) -> None:
        if entry.is_unheard:
            entry.is_unheard = False
            self.num_unheard_tokens -= len(entry.request.prompt_token_ids)

    def give_up(self, request_id: str, index: int | None) -> None:
        """Remember an abort: the engine may be gone before it hears of it."""
        entry = self._entries[request_id]
        entry.given_up |= set(range(len(entry.emitted))) if index is None else {index}

    def request_ids(self) -> list[str]:
        """In order of arrival."""
        return list(self._entries)

    def engine_id(self, request_id: str) -> str:
        """What the engine calls a request; empty while no engine has it."""
        entry = self._entries.get(request_id)
        return entry.engine_id if entry is not None else ""

    def take_back(self, request_id: str) -> None:
        """No engine has the request any more, or none is to be listened to; what was given up ends here."""
        entry = self._entries[request_id]
        self._at_engine.pop(entry.engine_id, None)
        entry.engine_id = ""
        entry.stream.is_paused = False
        for index in entry.given_up.difference(entry.ended):
            self._take(entry, TokenEvent(request_id=request_id, index=index, finish_reason="abort"))

    def take_up(self, request_id: str) -> EngineRequest | None:
        """The request as an engine must be given it; None when it has ended or is held."""
        entry = self._entries.get(request_id)
        if entry is None or entry.is_held:
            return None
        entry.num_taken_up += 1
        entry.engine_id = f"{request_id}~{entry.num_taken_up}"
        self._at_engine[entry.engine_id] = entry
        return entry.resumption()

    def request(self, request_id: str) -> EngineRequest:
        return self._entries[request_id].request

    def fail(self, request_id: str, error: QuireError) -> None:
        """End one request."""
        entry = self._entries.pop(request_id)
        self._at_engine.pop(entry.engine_id, None)
        self._hear(entry)
        entry.stream.fail(error)
        self._one_ended.set()

    def fail_all(self, reason: str) -> None:
        for request_id in self.request_ids():
            self.fail(request_id, EngineDead(reason))
