"""What the engine process does: connect, load, then step while there is work and sleep when there is none."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import signal
import time
from collections.abc import Callable

import zmq

from quire.base.commands import Sleep, WakeUp
from quire.base.config import EngineConfig
from quire.base.errors import QuireError, UserError
from quire.base.lifeline import die_with_parent
from quire.base.logs import set_up_logging
from quire.base.plugins import run_plugins
from quire.base.wire import (
    Abort,
    Answer,
    Ask,
    Codec,
    Configure,
    Downward,
    Events,
    Failed,
    Loading,
    Pause,
    Problem,
    Ready,
    Resume,
    Stop,
    Submit,
    Upward,
)
from quire.engine.core import EngineCore
from quire.engine.process.calls import log_calls
from quire.engine.process.garbage import log_collections
from quire.engine.publisher import EventPublisher, open_publisher

logger = logging.getLogger(__name__)
PR_SET_NAME = 15  # linux/prctl.h
PROGRESS_INTERVAL_S = 0.1


class EngineProcess:
    """One socket, one core. The parent speaks first (Configure) and last (Stop)."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.connect(address)
        self._codec = Codec(Downward)
        self._publisher: EventPublisher | None = None
        self._stopping = False

    def run(self) -> int:
        """Load and serve until told to stop; returns the exit code."""
        try:
            core = self._load()
            while not self._stopping:
                self._receive(core)
                if core.has_work:
                    events = core.step()
                    self._send(Events(events, core.stats()))
        except QuireError as error:
            self._send(Failed(type(error).__name__, str(error)))
            return 1
        finally:
            if self._publisher is not None:
                self._publisher.close()
            self._socket.close()
            self._context.term()
        return 0

    def _load(self) -> EngineCore:
        started_s = time.monotonic()
        split_s: dict[str, float] = {}
        import torch  # noqa: F401 - imported before the configuration arrives, to use the wait

        split_s["import torch"] = time.monotonic() - started_s
        config = self._configuration()
        set_up_logging(config.log)
        run_plugins(config.plugins)
        name_process(config.process_name)
        if config.logs_collections:
            log_collections(config.num_logged_types)
        if config.calls_folder:
            log_calls(config.calls_folder)
        if config.cpu_ids:
            bind_to(config.cpu_ids)
        self._publisher = open_publisher(config.watch.kv_events)
        from quire.worker.executor import UniprocExecutor

        executor = UniprocExecutor(config, self._progress())
        split_s.update(executor.split_s)
        gc.collect()  # what importing left behind would be kept for good
        gc.freeze()  # what is loaded stays: later collections need not visit it
        self._send(Ready(split_s, executor.providers(), executor.extra_arguments))
        return EngineCore(config, executor, publisher=self._publisher)

    def _configuration(self) -> EngineConfig:
        message = self._codec.decode(self._socket.recv())
        if not isinstance(message, Configure):
            raise QuireError(f"the engine process expected its configuration, got {type(message).__name__}")
        return message.config

    def _progress(self) -> _Progress:
        return _Progress(lambda done, total: self._send(Loading(done, total)))

    def _receive(self, core: EngineCore) -> None:
        """Take all waiting messages; block for the first one only when there is nothing to compute."""
        flags = zmq.NOBLOCK if core.has_work else 0
        try:
            while not self._stopping:
                self._handle(self._codec.decode(self._socket.recv(flags)), core)
                flags = zmq.NOBLOCK
        except zmq.Again:
            return

    def _handle(self, message: object, core: EngineCore) -> None:
        match message:
            case Submit(request):
                core.submit(request)
            case Abort(request_id, index):
                core.abort(request_id, index)
            case Pause(request_id):
                core.pause(request_id)
            case Resume(request_id):
                core.resume(request_id)
            case Ask():
                self._socket.send(self._answer(message, core))
            case Stop():
                self._stopping = True
            case _:
                logger.warning("unexpected message %s", type(message).__name__)

    def _answer(self, ask: Ask, core: EngineCore) -> bytes:
        """The encoded answer. Whatever goes wrong is the asker's to hear: the engine goes on."""
        value, problem = None, None
        if isinstance(ask.command, Sleep):
            gc.unfreeze()  # the weights are among what was frozen at the start
        try:
            value = core.answer(ask.command)
            return self._codec.encode(Answer(ask_id=ask.ask_id, stats=core.stats(), value=value))
        except UserError as error:
            problem = Problem(error.message, error.field, is_callers=True)
        except Exception as error:  # also of code that is not Quire's: what administrators bring
            logger.exception("%s failed", type(ask.command).__name__)
            text = str(error) if isinstance(error, QuireError) else f"{type(error).__name__}: {error}"
            if value is not None:
                text = (
                    f"its answer, of type {type(value).__name__}, cannot leave the engine process ({error})"
                )
            problem = Problem(text)
        finally:
            if isinstance(ask.command, WakeUp):
                gc.freeze()
        return self._codec.encode(Answer(ask_id=ask.ask_id, stats=core.stats(), problem=problem))

    def _send(self, message: Upward) -> None:
        self._socket.send(self._codec.encode(message))


class _Progress:
    """Passes on how much is loaded, not oftener than a person can see."""

    def __init__(self, send: Callable[[int, int], None]) -> None:
        self._send = send
        self._last_s = 0.0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= PROGRESS_INTERVAL_S or done_bytes == total_bytes:
            self._last_s = now_s
            self._send(done_bytes, total_bytes)


def name_process(name: str) -> None:
    """What ps and top call this process; the kernel keeps 15 bytes. Linux only; a no-op elsewhere."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def bind_to(cpu_ids: list[int]) -> None:
    """Keep every thread of this process, and those it will make, to these processors. Linux only."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cpu_ids)


def main(address: str, parent_pid: int) -> int:
    """Serve one client until told to stop; returns the exit code."""
    die_with_parent(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return EngineProcess(address).run()
