"""Administrator: pauses, puts to sleep and wakes the engine behind a ProcessClient, and ends requests.

How requests under way are treated is a mode's business: `abort` ends them, `wait` lets them finish first, `keep`
stops them where they are until the engine goes on. New requests wait while the engine is paused. While it sleeps they
are refused, except after `keep`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from quire.base.commands import (
    PARTS,
    SLEEP_IS_OFF,
    CallWorker,
    Hold,
    Part,
    Release,
    ResetPrefixes,
    Sleep,
    WakeUp,
)
from quire.base.errors import CommandFailed, InvalidValue
from quire.engine.client.process import ProcessClient
from quire.engine.client.standing import MODES, Level, Mode

T = TypeVar("T")


class Administrator:
    """One operation at a time; each goes on to its end even if whoever asked for it stops waiting."""

    def __init__(self, client: ProcessClient, *, may_sleep: bool) -> None:
        self._client = client
        self._may_sleep = may_sleep
        self._turn = asyncio.Lock()

    @property
    def is_paused(self) -> bool:
        return self._client.standing.is_paused

    @property
    def is_sleeping(self) -> bool:
        return self._client.standing.sleep_level is not None

    async def pause(self, mode: Mode = "abort", *, clear_cache: bool = True) -> None:
        """Returns when nothing is computed any more. With `clear_cache` nothing that was computed is used again."""
        _check_mode(mode)
        await self._in_turn(self._pause(mode, clear_cache))

    async def resume(self) -> None:
        await self._in_turn(self._resume())

    async def sleep(self, level: Level = 1, mode: Mode = "abort") -> None:
        """Returns when the memory is free. Raises InvalidValue without --enable-sleep-mode, and CommandFailed."""
        _check_mode(mode)
        if level not in (0, 1, 2):
            raise InvalidValue(f"level must be 0, 1 or 2, got {level}", field="level")
        if not self._may_sleep:
            raise InvalidValue(SLEEP_IS_OFF, field="enable_sleep_mode")
        await self._in_turn(self._sleep(level, mode))

    async def wake_up(self, parts: Sequence[Part] | None = None) -> None:
        """Bring back what is named, or everything; requests are computed again when nothing is missing. Raises
        CommandFailed when the weights cannot be loaded: the engine then sleeps on."""
        for part in parts or ():
            if part not in PARTS:
                raise InvalidValue(f"tags must be among {', '.join(PARTS)}, got {part!r:.100}", field="tags")
        await self._in_turn(self._wake_up(list(parts or PARTS)))

    def abort(self, request_ids: Iterable[str] | None = None) -> int:
        """End requests, all of them by default; returns how many were under way."""
        known = self._client.request_ids()
        chosen = known if request_ids is None else [name for name in known if name in set(request_ids)]
        for request_id in chosen:
            self._client.abort(request_id)
        return len(chosen)

    async def call_worker(
        self,
        method: str,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """What the worker's method returns. Raises CommandFailed when it raised or took too long; an engine that is
        then still busy with it, neither computing nor reading, is replaced."""
        command = CallWorker(method, list(args), dict(kwargs or {}))
        try:
            return await asyncio.wait_for(self._client.ask(command), timeout_s)
        except TimeoutError:
            raise CommandFailed(f"{method[:100]} took more than {timeout_s:g} s") from None

    async def _in_turn(self, operation: Coroutine[Any, Any, T]) -> T:
        async def in_turn() -> T:
            async with self._turn:
                return await operation

        return await asyncio.shield(asyncio.create_task(in_turn(), name="administration"))

    async def _pause(self, mode: Mode, clear_cache: bool) -> None:
        standing = self._client.standing
        try:
            await self._quiet(mode)
            await self._client.ask(Hold())
            if clear_cache:
                await self._client.ask(ResetPrefixes(with_running=True))
            standing.is_paused = True
        finally:
            await self._settle()

    async def _resume(self) -> None:
        self._client.standing.is_paused = False
        await self._settle()

    async def _sleep(self, level: Level, mode: Mode) -> None:
        standing = self._client.standing
        before = standing.sleep_level
        is_whole = not level or len(standing.missing) == len(PARTS)
        if before is not None and before >= level and is_whole:
            return
        refused_before = standing.refuses
        try:
            standing.refuses = refused_before or mode != "keep"
            await self._quiet(mode)
            await self._client.ask(Hold())
            if level:
                await self._client.ask(Sleep(level))
            standing.fall_asleep(level)
        except BaseException:
            standing.refuses = refused_before
            raise
        finally:
            await self._settle()

    async def _wake_up(self, parts: list[Part]) -> None:
        standing = self._client.standing
        if standing.sleep_level is None:
            return
        if standing.missing:
            await self._client.ask(WakeUp(parts))
            standing.missing -= set(parts)
        if not standing.missing:
            standing.sleep_level = None
            standing.refuses = False
        await self._settle()

    async def _quiet(self, mode: Mode) -> None:
        """Hold new requests, and see to those under way."""
        standing = self._client.standing
        if mode == "wait" and not standing.computes and self._client.num_in_flight:
            raise InvalidValue(
                "requests under way cannot finish while the engine is paused or asleep; let it go on first, or give "
                "mode abort or keep",
                field="mode",
            )
        standing.is_quieting = True
        if mode == "abort":
            self.abort()
        if mode != "keep":
            await self._client.drained()

    async def _settle(self) -> None:
        """What was held goes on where nothing stands against it."""
        standing = self._client.standing
        standing.is_quieting = False
        if standing.computes:
            await self._client.ask(Release())
            self._client.let_in()


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise InvalidValue(f"mode must be one of {', '.join(MODES)}, got {mode!r:.100}", field="mode")
