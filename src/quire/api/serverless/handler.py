"""JobHandler: a job in, its items out. The one function the platform's SDK calls."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from quire.api.serverless.events import FrameSplitter
from quire.api.serverless.failures import JobError, ServerLost
from quire.api.serverless.job_input import Call, read_input
from quire.api.serverless.outputs import Item, failed_item, shape_for, whole_item
from quire.api.serverless.upstream import Reply, Upstream
from quire.api.serverless.worker_settings import WorkerSettings

logger = logging.getLogger("quire.worker")


class ServerLife(Protocol):
    """What a handler needs to know about the local server's life."""

    async def ready(self) -> None:
        """Return when the server takes requests. Raises ServerLost when it will not again."""

    async def recovered(self) -> None:
        """Return when a server that was just lost takes requests again. Raises ServerLost when it will not."""


class JobHandler:
    """Works on jobs, any number at once. Every job ends with its items, or with one error item."""

    def __init__(self, settings: WorkerSettings, upstream: Upstream, life: ServerLife) -> None:
        self._settings = settings
        self._upstream = upstream
        self._life = life

    async def handle(self, job: dict[str, Any]) -> AsyncGenerator[Item, None]:
        """The items of one job, in order. Never raises an error of the job; cancelling aborts it over there."""
        call: Call | None = None
        try:
            call = read_input(job.get("input"), self._settings)
            async with aclosing(self._answer(call)) as items:
                async for item in items:
                    yield item
        except JobError as error:
            yield failed_item(error, call, self._settings)
        except Exception:
            logger.exception("job %s failed", job.get("id"))
            bug = JobError("The worker failed on this job; its log says why.", kind="worker_error", code=500)
            yield failed_item(bug, None, self._settings)

    async def _answer(self, call: Call) -> AsyncGenerator[Item, None]:
        """Ask the server; once more when it was lost before anything of the answer had been passed on."""
        await self._life.ready()
        has_sent = False
        try:
            async with aclosing(self._ask(call)) as items:
                async for item in items:
                    has_sent = True
                    yield item
            return
        except ServerLost:
            if has_sent:
                raise
        await self._life.recovered()
        async with aclosing(self._ask(call)) as items:
            async for item in items:
                yield item

    async def _ask(self, call: Call) -> AsyncGenerator[Item, None]:
        async with self._upstream.open(call) as reply:
            if not reply.is_stream:
                yield whole_item(call, await reply.whole(), self._settings)
                return
            async with aclosing(self._stream(call, reply)) as items:
                async for item in items:
                    yield item

    async def _stream(self, call: Call, reply: Reply) -> AsyncGenerator[Item, None]:
        splitter = FrameSplitter()
        shape = shape_for(call, self._settings)
        async for piece in reply.pieces():
            for item in shape.feed(splitter.feed(piece)):
                yield item
        if not splitter.is_empty or not shape.is_done:
            raise ServerLost("the server closed the stream before the answer was complete")
        for item in shape.finish():
            yield item
