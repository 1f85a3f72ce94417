"""EngineLink: one engine process from spawn to end, and the socket to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

import zmq
import zmq.asyncio

from quire.base.errors import ConfigError, EngineFault
from quire.base.wire import Codec, Downward, Upward
from quire.engine.client.leftovers import claim_folder, sweep_folders
from quire.engine.client.threads import with_sleeping_threads

STOP_GRACE_S = 5.0  # how long a told engine process may take to end before it is killed
LAST_WORDS_S = 0.05  # what an ended process has sent may still be in the socket
LAST_WORDS_TURNS = 100  # of the event loop, besides: on a busy machine that time may pass within one


class EngineLink:
    """Use: `spawn` at any time, `open` on the event loop, in the end `close` and `reap`.

    The socket file lives in a private folder that `hide` removes once both ends are connected, so nothing
    stays behind however the processes end.
    """

    def __init__(self, socket_folder: str = "") -> None:
        self._socket_folder = socket_folder or os.environ.get("XDG_RUNTIME_DIR") or None
        self._folder = ""
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._codec = Codec(Upward)
        self._on_end: Callable[[str, bool], None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the engine process, once spawned."""
        return self._process.pid if self._process else None

    def spawn(self) -> None:
        """Start the process; it begins to import at once. Needs no event loop. Raises ConfigError."""
        try:
            sweep_folders(self._socket_folder)
            self._folder, self._lock = claim_folder(self._socket_folder)
        except OSError as problem:
            raise ConfigError(
                f"VLLM_RPC_BASE_PATH: no folder can be made in {self._socket_folder} ({problem.strerror}); give a "
                "folder this user may write to",
                setting="rpc_base_path",
            ) from None
        command = [sys.executable, "-m", "quire.engine.process", self._address, str(os.getpid())]
        # A group of its own: Ctrl-C in the terminal reaches this process alone, which decides what it means.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, process_group=0, env=with_sleeping_threads(dict(os.environ))
        )

    @property
    def _address(self) -> str:
        return f"ipc://{self._folder}/engine"

    def open(self, on_message: Callable[[object], None], on_end: Callable[[str, bool], None]) -> None:
        """Listen. `on_end` is called once when the process is gone or talks nonsense: with the reason, and whether
        somebody else killed it, which says nothing about what it was doing."""
        assert self._process is not None
        self._on_end = on_end
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.PAIR)
        for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0)):
            self._socket.setsockopt(option, value)
        self._socket.bind(self._address)
        loop = asyncio.get_running_loop()
        self._reader = loop.create_task(self._read(on_message), name="engine events")
        self._watch_process(loop)

    def send(self, message: Downward) -> None:
        """Queued in memory, without a limit and in order, also before the process has connected."""
        assert self._socket is not None
        self._socket.send(self._codec.encode(message))

    def hide(self) -> None:
        """Both ends are connected: the socket needs its file no more."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _read(self, on_message: Callable[[object], None]) -> None:
        assert self._socket is not None
        try:
            while True:
                on_message(self._codec.decode(await self._socket.recv()))
        except (EngineFault, zmq.ZMQError) as error:
            self.abandon(str(error))

    def _watch_process(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._process is not None
        descriptor = os.pidfd_open(self._process.pid)

        def on_exit() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            loop.call_later(LAST_WORDS_S, self._on_exit)

        loop.add_reader(descriptor, on_exit)

    def _on_exit(self, num_turns: int = 0) -> None:
        """The reader gets its turns first, however late this process is: the last words say what the engine did."""
        if num_turns < LAST_WORDS_TURNS:
            asyncio.get_running_loop().call_soon(self._on_exit, num_turns + 1)
            return
        assert self._process is not None
        code = self._process.poll()
        self._end(
            f"the engine process ended unexpectedly (exit code {code})", was_killed=code == -signal.SIGKILL
        )

    def _end(self, reason: str, *, was_killed: bool = False) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(reason, was_killed)

    def abandon(self, reason: str) -> None:
        """Kill the process and report its end."""
        self.kill()
        self._end(reason)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """Stop listening, wait for the process to end, clean up."""
        self._on_end = None
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await asyncio.to_thread(self.reap)
        if self._socket is not None and self._context is not None:
            self._socket.close()
            self._context.term()

    def reap(self) -> None:
        """End the process, by force after a grace period if it was told to stop, and remove the folder."""
        if self._process is not None:
            if self._socket is None:  # never told anything
                self._process.kill()
            try:
                self._process.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.hide()
