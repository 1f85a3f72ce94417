"""Working a batch off: lines asked side by side, results written in the order of the lines, within bounded memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from starlette.types import ASGIApp

from quire.api.batch.calling import call_app
from quire.api.batch.lines import ResultLine, answered_line, encode_line, parse_line, refused_line
from quire.api.batch.output import BatchOutput
from quire.base.observe import Progress, Unit

REQUESTS = Unit("requests", window_s=30.0)
WAITING_PER_SEAT = 4  # results that may wait for an earlier one, for each request under way


class BatchWork:
    """`is_over` tells when no further answer can come, so that what it would say is no result."""

    def __init__(
        self,
        app: ASGIApp,
        output: BatchOutput,
        num_lines: int,
        *,
        max_inflight: int,
        is_over: Callable[[], bool],
    ) -> None:
        self._app = app
        self._output = output
        self.num_failed = 0
        self._progress = Progress("batch", num_lines, output.num_done, unit=REQUESTS)
        self._seats = asyncio.Semaphore(max_inflight)
        self._most_waiting = WAITING_PER_SEAT * max_inflight
        self._is_over = is_over

    async def run(self, lines: Iterator[bytes]) -> bool:
        """Answer the lines; False where the engine ended first. Cancelled, it gives up what is under way."""
        open_lines: deque[asyncio.Task[ResultLine | None]] = deque()
        try:
            for line in lines:
                await self._seats.acquire()
                open_lines.append(asyncio.create_task(self._answer(line)))
                while open_lines and (open_lines[0].done() or len(open_lines) >= self._most_waiting):
                    if not await self._write(open_lines.popleft()):
                        return False
            while open_lines:
                if not await self._write(open_lines.popleft()):
                    return False
            self._progress.finish()
            return True
        finally:
            for task in open_lines:
                task.cancel()
            await asyncio.gather(*open_lines, return_exceptions=True)

    async def _write(self, task: asyncio.Task[ResultLine | None]) -> bool:
        try:
            result = await task
        finally:
            task.cancel()  # nothing to a task that is done
        if result is None:
            return False
        self._output.add(encode_line(result))
        if result.error is not None:
            self.num_failed += 1
            self._progress.remark = f", {self.num_failed} failed"
        self._progress.update(self._output.num_done)
        return True

    async def _answer(self, text: bytes) -> ResultLine | None:
        """The line's result, None where the engine is gone."""
        try:
            line = parse_line(text)
            if line.problem:
                return refused_line(line)
            status, body = await call_app(self._app, line.url, line.body)
            return None if status >= 500 and self._is_over() else answered_line(line, status, body)
        finally:
            self._seats.release()
