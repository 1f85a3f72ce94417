"""ProcessClient: the API process's end of the engine process. Spawns it, speaks with it, notices its death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from enum import Enum

import zmq
import zmq.asyncio

from quire.base import errors
from quire.base.config import EngineConfig
from quire.base.errors import ConfigError, EngineDead, EngineFault, InvalidValue
from quire.base.messages import EngineRequest, EngineStats, TokenEvent
from quire.base.wire import (
    Abort,
    Codec,
    Configure,
    Downward,
    Events,
    Failed,
    ForgetPrefixes,
    Loading,
    Ready,
    Stop,
    Submit,
    Upward,
)
from quire.engine.client.stream import EventStream

STOP_GRACE_S = 5.0  # how long a told engine process may take to end before it is killed


class EngineState(Enum):
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


class ProcessClient:
    """Use: `spawn()` as early as possible, then on the event loop `await connect()`; at the end `shutdown()`.

    The socket file lives in a private folder that is removed once both ends are connected, so nothing
    stays behind however the processes end.
    """

    def __init__(self, config: EngineConfig, *, socket_folder: str = "", step_timeout_s: float = 0.0) -> None:
        """`socket_folder` is where the private folder is made, empty for the system's choice; a step that takes
        more than `step_timeout_s` seconds (0: any time) counts as the engine's death."""
        self.state = EngineState.LOADING
        self.stats = EngineStats(num_blocks=config.cache.num_blocks)
        self.step_sizes: Counter[int] = Counter()  # tokens computed in a step → how many such steps
        self.load_done_bytes = 0
        self.load_total_bytes = config.card.weight_bytes
        self.failure = ""
        self.ready: Ready | None = None
        self._config = config
        self._socket_folder = socket_folder or os.environ.get("XDG_RUNTIME_DIR") or None
        self._step_timeout_s = step_timeout_s
        self._last_news_s = 0.0
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._codec = Codec(Upward)
        self._streams: dict[str, EventStream] = {}
        self._reader: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._became_ready: asyncio.Future[None] | None = None
        self._drained: asyncio.Event | None = None

    @property
    def pid(self) -> int | None:
        """Of the engine process, once spawned."""
        return self._process.pid if self._process else None

    @property
    def num_streams(self) -> int:
        """Requests under way."""
        return len(self._streams)

    def spawn(self) -> None:
        """Start the engine process; it begins to import at once. Needs no event loop."""
        try:
            self._folder = tempfile.mkdtemp(prefix="quire-", dir=self._socket_folder)
        except OSError as problem:
            raise ConfigError(
                f"VLLM_RPC_BASE_PATH: no folder can be made in {self._socket_folder} ({problem.strerror}); give a "
                "folder this user may write to",
                setting="rpc_base_path",
            ) from None
        command = [sys.executable, "-m", "quire.engine.process", self._address, str(os.getpid())]
        # A group of its own: Ctrl-C in the terminal reaches this process alone, which decides what it means.
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    @property
    def _address(self) -> str:
        return f"ipc://{self._folder}/engine"

    async def connect(self) -> None:
        """Hand over the configuration and wait until the engine is ready; raises what it failed with."""
        if self._process is None:
            self.spawn()
        loop = asyncio.get_running_loop()
        self._became_ready = loop.create_future()
        self._drained = asyncio.Event()
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.bind(self._address)
        self._reader = loop.create_task(self._read(), name="engine events")
        self._watch_process(loop)
        if self._step_timeout_s:
            self._watchdog = loop.create_task(self._watch_steps(), name="step watchdog")
        self._send(Configure(self._config))
        await self._became_ready

    def _watch_process(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._process is not None
        descriptor = os.pidfd_open(self._process.pid)

        def on_exit() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            loop.call_later(0.05, self._on_exit)  # its last message may still be in the socket

        loop.add_reader(descriptor, on_exit)

    async def _watch_steps(self) -> None:
        """Ends an engine that says nothing for too long while it has requests."""
        while True:
            await asyncio.sleep(min(self._step_timeout_s / 4, 1.0))
            silent_s = time.monotonic() - self._last_news_s
            if self.state is EngineState.READY and self._streams and silent_s > self._step_timeout_s:
                assert self._process is not None
                self._die(
                    f"a step of the engine took more than {self._step_timeout_s:g} s "
                    "(VLLM_ENGINE_ITERATION_TIMEOUT_S)"
                )
                self._process.kill()
                return

    def _on_exit(self) -> None:
        assert self._process is not None
        code = self._process.poll()
        self._die(f"the engine process ended unexpectedly (exit code {code})")

    # ---- requests ----

    def submit(self, request: EngineRequest) -> EventStream:
        """Send a request down; raises EngineDead or InvalidValue (request_id in use)."""
        if self.state is EngineState.DEAD:
            raise EngineDead(self.failure)
        if request.request_id in self._streams:
            raise InvalidValue(f"request_id {request.request_id!r} is already in use", field="request_id")
        if not self._streams:
            self._last_news_s = time.monotonic()
        stream = EventStream(request.sampling.n)
        self._streams[request.request_id] = stream
        self._send(Submit(request))
        return stream

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Stop computing for a request, or one sample of it; what is still read ends with "abort"."""
        if request_id in self._streams and self.state is not EngineState.DEAD:
            self._send(Abort(request_id, index))

    def forget_prefixes(self) -> None:
        """Empty the prefix cache."""
        self._send(ForgetPrefixes())

    def _send(self, message: Downward) -> None:
        assert self._socket is not None
        # Queued in memory, without a limit and in order, also before the engine has connected: no await.
        self._socket.send(self._codec.encode(message))

    # ---- news ----

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            while True:
                self._handle(self._codec.decode(await self._socket.recv()))
        except (EngineFault, zmq.ZMQError) as error:
            self._die(str(error))

    def _handle(self, message: object) -> None:
        match message:
            case Events(events, stats):
                self._last_news_s = time.monotonic()
                if stats.num_steps > self.stats.num_steps:
                    self.step_sizes[stats.step_tokens] += 1
                self.stats = stats
                for event in events:
                    self._deliver(event)
            case Loading(done_bytes, total_bytes):
                self.load_done_bytes, self.load_total_bytes = done_bytes, total_bytes
            case Ready():
                self.ready = message
                self.state = EngineState.READY
                shutil.rmtree(self._folder, ignore_errors=True)
                assert self._became_ready is not None
                if not self._became_ready.done():
                    self._became_ready.set_result(None)
            case Failed(kind, text):
                self._die(text, kind)

    def _deliver(self, event: TokenEvent) -> None:
        stream = self._streams.get(event.request_id)
        if stream is None:
            return
        stream.put(event)
        if stream.is_finished:
            self._forget(event.request_id)

    def _forget(self, request_id: str) -> None:
        self._streams.pop(request_id, None)
        if not self._streams and self._drained is not None:
            self._drained.set()

    def _die(self, message: str, kind: str = "EngineDead") -> None:
        """The engine is gone: say so to everyone who waits, once."""
        if self.state is EngineState.DEAD:
            return
        self.state = EngineState.DEAD
        self.failure = message
        for stream in self._streams.values():
            stream.fail(message)
        self._streams.clear()
        if self._drained is not None:
            self._drained.set()
        if self._became_ready is not None and not self._became_ready.done():
            error_class = getattr(errors, kind, EngineDead)
            self._became_ready.set_exception(error_class(message))

    # ---- end ----

    async def shutdown(self, drain_s: float = 0.0) -> None:
        """Wait up to `drain_s` seconds for running streams, then end the engine process and clean up."""
        if self.state is EngineState.LOADING and self._process is not None:
            self._process.kill()  # it has nothing to finish, and hears nobody before it is loaded
        if self.state is EngineState.READY:
            self.state = EngineState.DRAINING
            if self._streams and drain_s > 0 and self._drained is not None:
                self._drained.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._drained.wait(), drain_s)
        if self.state is not EngineState.DEAD and self._socket is not None:
            self._send(Stop())
        self._die("the server is shutting down")
        await asyncio.to_thread(self.reap)
        tasks = [task for task in (self._reader, self._watchdog) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None and self._context is not None:
            self._socket.close()
            self._context.term()

    def reap(self) -> None:
        """End the engine process, by force after a grace period, and remove the socket folder."""
        if self._process is not None:
            if self._socket is None:
                self._process.kill()
            try:
                self._process.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
