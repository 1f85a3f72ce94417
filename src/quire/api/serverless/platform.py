"""The worker behind the platform's SDK: its import, its loop, and an orderly end of it.

The SDK takes jobs, calls the handler, posts items and results, and answers stop signals. Around it this file adds
what it lacks: jobs are taken only while the server is up, and SIGTERM ends the two long polls at once instead of
after up to 90 seconds, so that no job is taken that nobody would work on.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any

from quire.api.serverless.handler import JobHandler
from quire.api.serverless.local_server import LocalServer
from quire.api.serverless.worker_settings import WorkerSettings
from quire.base.errors import ConfigError

INSTALL_HINT = "quire worker needs the package {}: pip install 'quire[worker]'"

QUEUE_S = 0.05  # ample for the SDK to queue a job that a poll brought

# set before the SDK is imported, unless the operator has said otherwise:
_SDK_DEFAULTS = {
    "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",  # one of them connects to a public address
    "RUNPOD_SKIP_GPU_CHECK": "true",
    "RUNPOD_LOG_LEVEL": "INFO",  # its own default, DEBUG, writes every answer to the log
}


def check_packages(*names: str) -> None:
    """Raises ConfigError with the way to install the extra where one of its packages is missing."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(INSTALL_HINT.format(name))


def import_sdk() -> Any:
    """The SDK; takes about two seconds the first time."""
    for name, value in _SDK_DEFAULTS.items():
        if name == "RUNPOD_LOG_LEVEL" and "RUNPOD_DEBUG_LEVEL" in os.environ:
            continue
        os.environ.setdefault(name, value)
    import runpod

    return runpod


def serve_jobs(
    handler: JobHandler, server: LocalServer, settings: WorkerSettings, sdk_words: Sequence[str]
) -> int:
    """Work on jobs until a signal or the server's end; returns the exit code."""
    runpod = import_sdk()
    intake = Intake(server)
    intake.guard_polls()
    sys.argv = [sys.argv[0], *sdk_words]  # the SDK reads its own options there

    async def handle(job: dict[str, Any]) -> Any:
        server.watch()
        async for item in handler.handle(job):
            yield item

    def concurrency(_: int) -> int:
        intake.begin()
        return settings.max_concurrency

    config = {"handler": handle, "concurrency_modifier": concurrency, "return_aggregate_stream": True}
    runpod.serverless.start(config)
    return 1 if server.is_lost else 0


class Intake:
    """The gate before the SDK's loop: open while the server is up, closed for good at a signal."""

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self._closed = asyncio.Event()
        self._has_begun = False
        self._num_polls = 0

    def guard_polls(self) -> None:
        """Put the gate around the SDK's two long polls. An SDK that is built otherwise works without it."""
        from runpod.serverless.modules import rp_scale

        for name in ("get_job", "get_stop_signals"):
            poll = getattr(rp_scale, name, None)
            if callable(poll):
                setattr(rp_scale, name, self._guarded(poll, waits_for_server=name == "get_job"))

    def begin(self) -> None:
        """Called by the SDK inside its loop before the first poll: watch the server, hear signals first."""
        if self._has_begun:
            return
        self._has_begun = True
        self._server.watch()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._chained(signal.getsignal(number), loop))
        self._loss_watch = loop.create_task(self._end_when_lost(), name="server loss")

    def _chained(
        self, sdk_handler: Any, loop: asyncio.AbstractEventLoop
    ) -> Callable[[int, FrameType | None], None]:
        def on_signal(number: int, frame: FrameType | None) -> None:
            tell_sdk = partial(sdk_handler, number, frame) if callable(sdk_handler) else lambda: None
            loop.call_soon_threadsafe(self._close, loop, tell_sdk)

        return on_signal

    def _close(self, loop: asyncio.AbstractEventLoop, tell_sdk: Callable[[], None]) -> None:
        self._closing = loop.create_task(self._close_in_order(tell_sdk), name="end of intake")

    async def _close_in_order(self, tell_sdk: Callable[[], None]) -> None:
        """First end the polls, then tell the SDK: a job that has just come is in its queue before it drains that."""
        self._closed.set()
        while self._num_polls:
            await asyncio.sleep(0)
        await asyncio.sleep(QUEUE_S)
        tell_sdk()

    async def _end_when_lost(self) -> None:
        while not self._server.is_lost:
            await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _guarded(
        self, poll: Callable[..., Awaitable[Any]], *, waits_for_server: bool
    ) -> Callable[..., Awaitable[Any]]:
        async def guarded(*arguments: Any) -> Any:
            if self._closed.is_set():
                await asyncio.sleep(QUEUE_S)  # the SDK asks again and again until it is told
                return []
            self._num_polls += 1
            closed = asyncio.ensure_future(self._closed.wait())
            asking = asyncio.ensure_future(self._ask(poll, arguments, waits_for_server))
            try:
                await asyncio.wait({closed, asking}, return_when=asyncio.FIRST_COMPLETED)
                return await asking if asking.done() else []
            finally:
                self._num_polls -= 1
                closed.cancel()
                asking.cancel()

        return guarded

    async def _ask(
        self, poll: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...], waits_for_server: bool
    ) -> Any:
        while waits_for_server and not self._server.is_ready:
            await asyncio.sleep(0.1)
        return await poll(*arguments)
