"""ProcessClient: the API process's end of the engine. A dead engine process is replaced and its streams go on.

Every request is journaled with the tokens it has emitted. A new process gets them back as they stand; since a
row's tokens depend on nothing but its own request, what follows is what the dead one would have said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from enum import Enum

from quire.base import errors
from quire.base.config import EngineConfig
from quire.base.errors import EngineDead
from quire.base.messages import EngineRequest, EngineStats
from quire.base.wire import Abort, Configure, Events, Failed, ForgetPrefixes, Loading, Ready, Stop, Submit
from quire.engine.client.journal import Journal
from quire.engine.client.link import EngineLink
from quire.engine.client.stream import EventStream

logger = logging.getLogger(__name__)

MAX_CRASHES = 3
CRASH_WINDOW_S = 60.0


class EngineState(Enum):
    LOADING = "loading"  # also while a dead engine is being replaced
    READY = "ready"
    DEAD = "dead"


class ProcessClient:
    """Use: `spawn()` as early as possible, then on the event loop `await connect()`; at the end `shutdown()`.

    `max_crashes` ends of the engine process within CRASH_WINDOW_S seconds make the client give up.
    """

    def __init__(self, config: EngineConfig, *, max_crashes: int = MAX_CRASHES) -> None:
        self.state = EngineState.LOADING
        self.stats = EngineStats(num_blocks=config.cache.num_blocks)
        self.step_sizes: Counter[int] = Counter()  # tokens computed in a step → how many such steps
        self.load_done_bytes = 0
        self.load_total_bytes = config.card.weight_bytes
        self.failure = ""
        self.ready: Ready | None = None
        self.num_restarts = 0
        self._config = config
        self._max_crashes = max_crashes
        self._crashes_s: list[float] = []
        self._link = EngineLink()
        self._ended_links: set[asyncio.Task[None]] = set()
        self._journal = Journal()
        self._became_ready: asyncio.Future[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the engine process, once spawned."""
        return self._link.pid

    @property
    def num_streams(self) -> int:
        """Requests under way."""
        return len(self._journal)

    def spawn(self) -> None:
        """Start the engine process; it begins to import at once. Needs no event loop."""
        self._link.spawn()

    async def connect(self) -> None:
        """Hand over the configuration and wait until the engine is ready; raises what it failed with."""
        if self.pid is None:
            self.spawn()
        self._became_ready = asyncio.get_running_loop().create_future()
        self._open()
        await self._became_ready

    def _open(self) -> None:
        self._link.open(self._handle, self._on_end)
        self._link.send(Configure(self._config))

    # ---- requests ----

    def submit(self, request: EngineRequest) -> EventStream:
        """Send a request down; raises EngineDead or InvalidValue (request_id in use)."""
        if self.state is EngineState.DEAD:
            raise EngineDead(self.failure)
        stream = self._journal.open(request)
        self._link.send(Submit(request))
        return stream

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Stop computing for a request, or one sample of it; what is still read ends with "abort"."""
        if request_id in self._journal and self.state is not EngineState.DEAD:
            self._journal.give_up(request_id, index)
            self._link.send(Abort(request_id, index))

    def forget_prefixes(self) -> None:
        """Empty the prefix cache."""
        self._link.send(ForgetPrefixes())

    # ---- news ----

    def _handle(self, message: object) -> None:
        match message:
            case Events(events, stats):
                if stats.num_steps > self.stats.num_steps:
                    self.step_sizes[stats.step_tokens] += 1
                self.stats = stats
                for event in events:
                    self._journal.note(event)
            case Loading(done_bytes, total_bytes):
                self.load_done_bytes, self.load_total_bytes = done_bytes, total_bytes
            case Ready():
                self.ready = message
                self.state = EngineState.READY
                self._link.hide()
                if self._became_ready is not None and not self._became_ready.done():
                    self._became_ready.set_result(None)
            case Failed(kind, text):
                self._die(text, kind)

    def _on_end(self, reason: str) -> None:
        """The engine process is gone: replace it, unless it never worked or keeps ending."""
        if self.state is EngineState.DEAD:
            return
        if self.ready is None:
            self._die(reason)
            return
        now_s = time.monotonic()
        self._crashes_s = [*(s for s in self._crashes_s if now_s - s < CRASH_WINDOW_S), now_s]
        if len(self._crashes_s) >= self._max_crashes:
            self._die(f"{reason}, {len(self._crashes_s)} times within {CRASH_WINDOW_S:.0f} s")
            return
        logger.warning("%s; starting it again, %d requests go on", reason, len(self._journal))
        self._replace()

    def _replace(self) -> None:
        """A new process takes up every open request; what is submitted meanwhile queues behind them."""
        self._retire(self._link)
        self.state = EngineState.LOADING
        self.stats = EngineStats(num_blocks=self._config.cache.num_blocks)
        self.load_done_bytes = 0
        self.num_restarts += 1
        self._link = EngineLink()
        self._link.spawn()
        self._open()
        for request in self._journal.resumptions():
            self._link.send(Submit(request))

    def _retire(self, link: EngineLink) -> None:
        task = asyncio.get_running_loop().create_task(link.close(), name="engine end")
        self._ended_links.add(task)
        task.add_done_callback(self._ended_links.discard)

    def _die(self, message: str, kind: str = "EngineDead") -> None:
        """No engine any more: say so to everyone who waits, once."""
        if self.state is EngineState.DEAD:
            return
        self.state = EngineState.DEAD
        self.failure = message
        self._journal.fail_all(message)
        if self._became_ready is not None and not self._became_ready.done():
            error_class = getattr(errors, kind, EngineDead)
            self._became_ready.set_exception(error_class(message))

    # ---- end ----

    async def shutdown(self) -> None:
        """End the engine process and clean up; streams still open end with EngineDead."""
        if self.state is EngineState.READY:
            self._link.send(Stop())
        else:
            self._link.kill()  # it has nothing to finish, and hears nobody before it is loaded
        self._die("the server is shutting down")
        await self._link.close()
        await asyncio.gather(*self._ended_links, return_exceptions=True)

    def reap(self) -> None:
        """End the engine process without an event loop: by force, unless it was told to stop."""
        self._link.reap()
