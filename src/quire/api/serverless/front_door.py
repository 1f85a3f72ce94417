"""Load-balancer mode: the API on one port, `/ping` for the platform on the same or another.

While the server loads (or restarts), `/ping` answers 204 and everything else 503. Once it is ready, connections are
passed on to it byte for byte, so that streams, uploads and keep-alive are the server's own affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

from quire.api.serverless.local_server import LocalServer
from quire.api.serverless.worker_settings import WorkerSettings
from quire.base.errors import ConfigError

HEAD_LIMIT_S = 10.0  # how long a client may take to send its request line
PIECE_BYTES = 65536
DRAIN_LIMIT_S = 35.0  # a little more than the server gives its own requests


class FrontDoor:
    """Listens in front of a LocalServer."""

    def __init__(self, server: LocalServer, settings: WorkerSettings) -> None:
        self._server = server
        self._settings = settings
        self._open: set[asyncio.Task[None]] = set()
        self._is_draining = False

    async def run(self) -> int:
        """Serve until a signal or until the server cannot be kept up; returns the exit code."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        listeners = [await self._listen(self._settings.port, self._on_api)]
        if self._settings.health_port != self._settings.port:
            listeners.append(await self._listen(self._settings.health_port, self._on_health))
        start = asyncio.create_task(self._server.start(), name="server start")
        end = asyncio.create_task(ended.wait(), name="signal")
        try:
            await asyncio.wait({start, end}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                await start  # raises why it failed
                self._server.watch()
                while not ended.is_set() and not self._server.is_lost:
                    await asyncio.sleep(0.1)
            self._is_draining = True
            await self._drain()
            return 1 if self._server.is_lost else 0
        finally:
            start.cancel()
            end.cancel()
            for listener in listeners:
                listener.close()
            await asyncio.gather(start, end, return_exceptions=True)

    async def _listen(self, port: int, serve: object) -> asyncio.Server:
        try:
            return await asyncio.start_server(serve, "0.0.0.0", port)  # type: ignore[arg-type]
        except OSError as problem:
            raise ConfigError(
                f"cannot listen on port {port} ({problem.strerror}); give free ports with PORT and PORT_HEALTH",
                setting="PORT",
            ) from None

    async def _drain(self) -> None:
        """The server finishes what it works on and hangs up on idle connections; each takes ours with it."""
        self._server.drain()
        if self._open:
            await asyncio.wait(self._open, timeout=DRAIN_LIMIT_S)
        for task in self._open:
            task.cancel()

    async def _on_health(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError):
            line = await asyncio.wait_for(reader.readline(), HEAD_LIMIT_S)
            await self._answer(writer, line)

    async def _on_api(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        with (
            contextlib.closing(writer),
            contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError),
        ):
            if self._server.is_ready and not self._is_draining:
                await self._pass_on(reader, writer)
                return
            line = await asyncio.wait_for(reader.readline(), HEAD_LIMIT_S)
            await self._answer(writer, line)

    async def _answer(self, writer: asyncio.StreamWriter, request_line: bytes) -> None:
        """Our own answer: /ping by the server's state, 503 for all else."""
        words = request_line.split()
        path = words[1].partition(b"?")[0] if len(words) == 3 else b""
        if path != b"/ping":
            status = "503 Service Unavailable\r\nRetry-After: 5"
        elif self._is_draining or self._server.is_lost:
            status = "503 Service Unavailable"
        else:
            status = "200 OK" if self._server.is_ready else "204 No Content"
        length = "" if status.startswith("204") else "\r\nContent-Length: 0"
        writer.write(f"HTTP/1.1 {status}{length}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._settings.server_port)
        with contextlib.closing(there_writer):
            outward = asyncio.create_task(_copy(reader, there_writer))
            try:
                await _copy(there_reader, writer)  # the server decides when a connection is over
            finally:
                outward.cancel()
                await asyncio.gather(outward, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
