"""LocalServer: `quire serve` as a child process, from its start to its end, and again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from quire.api.serverless.failures import ServerLost
from quire.base.errors import QuireError

logger = logging.getLogger("quire.worker")

POLL_S = 0.05  # how often a starting server is asked whether it is ready
WATCH_S = 0.2  # how soon a dead server is noticed
STOP_LIMIT_S = 10.0  # what it gets to end by itself
MAX_RESTARTS = 3
RESTART_WINDOW_S = 600.0  # restarts longer ago are forgiven
SETTLE_S = 5.0  # a server that is alive this long after it dropped a job is well


PR_SET_PDEATHSIG = 1  # linux/prctl.h


class StartFailed(QuireError):
    """The server ended, or took too long, before it was ready. `exit_code` is what the worker ends with."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class LocalServer:
    """One server at a time on a loopback port. `generation` counts starts, `is_lost` means there will be no other."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], *, port: int, startup_timeout_s: float
    ) -> None:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        self.command = [sys.executable, "-m", "quire", "serve", *arguments, *where]
        self._environ = dict(environ)
        self._port = port
        self._startup_timeout_s = startup_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._starts_s: list[float] = []
        self._watch: asyncio.Task[None] | None = None
        self._is_ending = False
        self.generation = 0
        self.is_ready = False
        self.is_lost = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it and wait until it takes requests. Raises StartFailed."""
        # a session of its own: Ctrl-C in a terminal must reach the worker first, which drains
        self._process = subprocess.Popen(
            self.command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_worker(),
        )
        deadline_s = time.monotonic() + self._startup_timeout_s
        while await self._status("/ready") != 200:
            code = self._process.poll()
            if code is not None:
                raise StartFailed(
                    f"the server ended with exit code {code} before it was ready; its last lines say why",
                    code if code in (1, 2) else 1,
                )
            if time.monotonic() > deadline_s:
                self.stop()
                raise StartFailed(
                    f"the server was not ready after {self._startup_timeout_s:g} s; "
                    "give it more with VLLM_STARTUP_TIMEOUT"
                )
            await asyncio.sleep(POLL_S)
        self.generation += 1
        self.is_ready = True

    def watch(self) -> None:
        """From now on restart it when it dies; needs a running loop. Calls after the first do nothing."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._keep_alive(), name="server watch")

    def drain(self) -> None:
        """Ask it to end when the requests it works on are done; it is not started again."""
        self._is_ending = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def stop(self) -> None:
        """End it: by SIGTERM, after a while by SIGKILL."""
        self.is_ready = False
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    async def ready(self) -> None:
        """Return when it takes requests. Raises ServerLost when it will not again."""
        while not self.is_ready:
            if self.is_lost:
                raise ServerLost
            await asyncio.sleep(POLL_S)

    async def recovered(self) -> None:
        """Return when a server that dropped a job takes requests again: restarted, or still well after a while."""
        generation = self.generation
        settled_s = time.monotonic() + SETTLE_S
        while self.generation == generation:
            if self.is_lost:
                raise ServerLost
            if self.is_ready and time.monotonic() > settled_s and await self._status("/ready") == 200:
                return
            await asyncio.sleep(POLL_S)
        await self.ready()

    async def _keep_alive(self) -> None:
        while not self.is_lost:
            await asyncio.sleep(WATCH_S)
            process = self._process
            if process is None or self._is_ending:
                return
            code = process.poll()
            if code is not None:
                self.is_ready = False
                logger.error("the server ended with exit code %d", code)
                await self._restart()

    async def _restart(self) -> None:
        now_s = time.monotonic()
        self._starts_s = [then_s for then_s in self._starts_s if now_s - then_s < RESTART_WINDOW_S]
        if len(self._starts_s) >= MAX_RESTARTS:
            logger.error("the server ended %d times in a short time; the worker ends too", MAX_RESTARTS + 1)
            self.is_lost = True
            return
        self._starts_s.append(now_s)
        try:
            await self.start()
        except StartFailed as problem:
            logger.error("restarting the server failed: %s", problem)
            self.is_lost = True
        else:
            logger.warning("the server is up again after %.1f s", time.monotonic() - now_s)

    async def _status(self, path: str) -> int:
        """The status of a GET, 0 while nobody answers."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return 0
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            line = await asyncio.wait_for(reader.readline(), 5.0)
            return int(line.split()[1]) if line.startswith(b"HTTP/") else 0
        except (OSError, TimeoutError, IndexError, ValueError):
            return 0
        finally:
            writer.close()


def _end_with_worker() -> Callable[[], None] | None:
    """What a new server does first: ask the kernel for SIGTERM should the worker be killed. None where it cannot."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork, where it is safe

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
