"""ProcessClient: the API process's end of the engine. A dead engine process is replaced and its streams go on.

Every request is journaled with the tokens it has emitted. A new process gets them back as they stand; since a
row's tokens depend on nothing but its own request, what follows is what the dead one would have said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from quire.base import errors
from quire.base.commands import Command
from quire.base.config import EngineConfig
from quire.base.errors import CommandFailed, EngineAsleep, EngineDead
from quire.base.messages import EngineRequest, EngineStats, TokenEvent
from quire.base.wire import (
    Abort,
    Answer,
    Configure,
    Events,
    Failed,
    Loading,
    Pause,
    Ready,
    Resume,
    Stop,
    Submit,
)
from quire.engine.client.asks import Asks
from quire.engine.client.journal import Journal
from quire.engine.client.link import EngineLink
from quire.engine.client.quarantine import Quarantine, Trial
from quire.engine.client.standing import Standing
from quire.engine.client.stream import EventStream
from quire.engine.client.vigil import Vigil, read_signs

logger = logging.getLogger(__name__)

MAX_CRASHES = 3
CRASH_WINDOW_S = 60.0
ASLEEP = "The engine is asleep and takes no requests; POST /wake_up brings it back."
T = TypeVar("T")


class EngineState(Enum):
    LOADING = "loading"  # also while a dead engine is being replaced
    READY = "ready"
    DEAD = "dead"


class ProcessClient:
    """Use: `spawn()` as early as possible, then on the event loop `await connect()`; at the end `shutdown()`.

    `max_crashes` ends of the engine process within CRASH_WINDOW_S seconds make the client give up, unless one request
    was found to be the cause. A process that makes no progress counts as ended; `step_timeout_s` is Vigil's
    `step_limit_s`, `answer_timeout_s` how long a command may wait for its answer. `socket_folder` is where the
    private folder of the socket is made, empty for the system's choice.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        max_crashes: int = MAX_CRASHES,
        step_timeout_s: float | None = None,
        answer_timeout_s: float | None = None,
        socket_folder: str = "",
    ) -> None:
        self.state = EngineState.LOADING
        self.stats = EngineStats(num_blocks=config.cache.num_blocks)
        self.step_sizes: Counter[int] = Counter()  # tokens computed in a step → how many such steps
        self.listeners: list[Callable[[EngineStats], None]] = []  # called with the stats of each step
        self.load_done_bytes = 0
        self.load_total_bytes = config.card.weight_bytes
        self.failure = ""
        self.ready: Ready | None = None
        self.num_restarts = 0
        self.standing = Standing()
        self._config = config
        self._max_crashes = max_crashes
        self._crashes_s: list[float] = []
        self._vigil = Vigil(config.scheduler.max_num_batched_tokens, step_timeout_s)
        self._answer_timeout_s = answer_timeout_s
        self._watchdog: asyncio.Task[None] | None = None
        self._socket_folder = socket_folder
        self._link = EngineLink(socket_folder)
        self._ended_links: set[asyncio.Task[None]] = set()
        self._journal = Journal()
        self._asks = Asks()
        self._trial = Trial()
        self._quarantine = Quarantine()
        self._became_ready: asyncio.Future[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the engine process, once spawned."""
        return self._link.pid

    @property
    def num_streams(self) -> int:
        """Requests under way."""
        return len(self._journal)

    @property
    def num_unheard_tokens(self) -> int:
        """Prompt tokens of requests that have said nothing yet."""
        return self._journal.num_unheard_tokens

    def spawn(self) -> None:
        """Start the engine process; it begins to import at once. Needs no event loop."""
        self._link.spawn()

    async def connect(self) -> None:
        """Hand over the configuration and wait until the engine is ready; raises what it failed with."""
        if self.pid is None:
            self.spawn()
        self._became_ready = asyncio.get_running_loop().create_future()
        self._open()
        self._watchdog = asyncio.create_task(self._watch(), name="engine watchdog")
        await self._became_ready

    def _open(self) -> None:
        self._link.open(self._handle, self._on_end)
        self._link.send(Configure(self._config))

    # ---- requests ----

    def check(self, request: EngineRequest) -> None:
        """Raises Quarantined when requests like this one ended engines, and EngineAsleep; `submit` does the same."""
        if self.standing.refuses:
            raise EngineAsleep(ASLEEP)
        self._quarantine.check(request)

    def submit(self, request: EngineRequest) -> EventStream:
        """Send a request down, or hold it while the engine is held; raises EngineDead, EngineAsleep, Quarantined or
        InvalidValue (request_id in use)."""
        if self.state is EngineState.DEAD:
            raise EngineDead(self.failure)
        self.check(request)
        if not self._journal.expects_news:
            self._vigil.begin(time.monotonic())
        stream = self._journal.open(request, lambda: self._resume(request.request_id))
        if self.standing.holds:
            self._journal.hold(request.request_id)
        elif not self._trial.is_open:
            self._take_up(request.request_id)
        return stream

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Stop computing for a request, or one sample of it; what is still read ends with "abort"."""
        if request_id in self._journal and self.state is not EngineState.DEAD:
            self._journal.give_up(request_id, index)
            if engine_id := self._journal.engine_id(request_id):
                self._link.send(Abort(engine_id, index))
            else:
                self._journal.take_back(request_id)

    def _resume(self, request_id: str) -> None:
        engine_id = self._journal.engine_id(request_id)
        if engine_id and self.state is not EngineState.DEAD:
            self._vigil.note_news()
            self._link.send(Resume(engine_id))

    # ---- administration ----

    async def ask(self, command: Command[T]) -> T:
        """Have the engine carry out a command between two steps; returns its answer. Raises InvalidValue for what is
        not allowed, CommandFailed for what went wrong or when the engine ended meanwhile, EngineDead."""
        if self.state is EngineState.DEAD:
            raise EngineDead(self.failure)
        message, answered = self._asks.open(command)
        self._link.send(message)
        try:
            value: T = await asyncio.wait_for(answered, self._answer_timeout_s)
        except TimeoutError:
            raise CommandFailed(
                f"the engine has not answered {type(command).__name__} within {self._answer_timeout_s} s "
                "(VLLM_RPC_TIMEOUT); it may carry it out yet"
            ) from None
        return value

    def _tell(self, command: Command[Any]) -> None:
        """Ask, with nobody to hear the answer."""

        def note(answered: asyncio.Future[Any]) -> None:
            if not answered.cancelled() and (error := answered.exception()):
                logger.error("%s could not be carried out: %s", type(command).__name__, error)

        message, answered = self._asks.open(command)
        answered.add_done_callback(note)
        self._link.send(message)

    @property
    def num_in_flight(self) -> int:
        """Requests under way that are not held."""
        return self._journal.num_in_flight

    def request_ids(self) -> list[str]:
        """Of all requests under way, in order of arrival."""
        return self._journal.request_ids()

    async def drained(self) -> None:
        """Until every request that is not held has ended."""
        await self._journal.drained()

    def let_in(self) -> None:
        """Give the engine what was held."""
        self._vigil.begin(time.monotonic())
        for request_id in self._journal.let_in():
            if not self._trial.is_open:
                self._take_up(request_id)

    # ---- news ----

    def _handle(self, message: object) -> None:
        match message:
            case Events(events, stats):
                self._vigil.note_news()
                if stats.num_steps > self.stats.num_steps:
                    self._vigil.note_step(time.monotonic(), stats.step_tokens)
                    self.step_sizes[stats.step_tokens] += 1
                for listener in self.listeners:
                    listener(stats)
                self.stats = stats
                for event in events:
                    # a suspect goes on until its trial is over, even if nobody reads
                    if self._journal.note(event) and self._trial.accused is None:
                        self._link.send(Pause(event.request_id))
                if self._trial.accused is not None:
                    self._hear_trial(self._trial.accused, events)
            case Answer(stats=stats):
                self._vigil.note_news()
                self.stats = stats
                self._asks.settle(message)
            case Loading(done_bytes, total_bytes):
                self.load_done_bytes, self.load_total_bytes = done_bytes, total_bytes
            case Ready():
                self._become_ready(message)
            case Failed(kind, text):
                self._die(text, kind)

    def _become_ready(self, message: Ready) -> None:
        self.ready = message
        self.state = EngineState.READY
        self._vigil.begin(time.monotonic())
        self._link.hide()
        if self._trial.is_open:
            self._try_next()
        if self._became_ready is not None and not self._became_ready.done():
            self._became_ready.set_result(None)

    async def _watch(self) -> None:
        """Replace a process that makes no progress although it has something to do."""
        while True:
            await asyncio.sleep(self._vigil.interval_s)
            # a command, too, may take as long as it computes or reads
            is_loading = self.state is EngineState.LOADING or len(self._asks) > 0
            expects_news = self.standing.computes and self._journal.expects_news
            if not (is_loading or expects_news) or self._asks.may_stand_still:
                self._vigil.begin(time.monotonic())  # an idle engine has nothing to say
                continue
            signs = read_signs(self.pid) if self.pid else None
            hung = self._vigil.look(time.monotonic(), signs, is_loading=is_loading)
            if hung and self.state is not EngineState.DEAD:
                self._link.abandon(hung)

    def _on_end(self, reason: str, was_killed: bool) -> None:
        """The engine process is gone: replace it, unless it never worked or keeps ending."""
        if self.state is EngineState.DEAD:
            return
        if self.ready is None:
            self._die(reason)
            return
        culprit = None if was_killed else self._trial.accused
        if culprit is not None and culprit in self._journal:
            self._convict(culprit, reason)
            self._replace(with_trial=False)
            return
        now_s = time.monotonic()
        self._crashes_s = [*(s for s in self._crashes_s if now_s - s < CRASH_WINDOW_S), now_s]
        if len(self._crashes_s) >= self._max_crashes:
            self._die(f"{reason}, {len(self._crashes_s)} times within {CRASH_WINDOW_S:.0f} s")
            return
        logger.warning("%s; starting it again, %d requests go on", reason, len(self._journal))
        self._replace(with_trial=not was_killed)

    def _convict(self, request_id: str, reason: str) -> None:
        """This request was under way at both ends of an engine, and on trial at the second."""
        logger.error("%s; request %s caused it twice and is quarantined", reason, request_id)
        self._journal.fail(request_id, self._quarantine.add(self._journal.request(request_id)))
        self._crashes_s.clear()  # they have their explanation

    def _replace(self, *, with_trial: bool) -> None:
        """A new process takes up every open request, one by one if one of them is suspected of the end of the old
        one; what is submitted meanwhile queues behind them."""
        self._retire(self._link)
        self._asks.fail_all(CommandFailed("the engine process ended before it had answered; ask again"))
        self.state = EngineState.LOADING
        self.stats = EngineStats(num_blocks=self._config.cache.num_blocks)
        self.load_done_bytes = 0
        self.num_restarts += 1
        self._link = EngineLink(self._socket_folder)
        self._link.spawn()
        self._vigil.begin(time.monotonic())
        self._open()
        for order in self.standing.orders():
            self._tell(order)
        for request_id in self._journal.request_ids():
            self._journal.take_back(request_id)
        # the latest first: whoever crashes an engine does so soon
        self._trial.open(reversed(self._journal.request_ids()) if with_trial else ())
        if not self._trial.is_open:
            self._try_next()  # a trial waits for Ready, so that nobody is blamed for an engine that cannot load

    def _try_next(self) -> None:
        """Give the engine the next suspect alone; after the last one, everybody."""
        while (request_id := self._trial.call_next()) is not None:
            if self._take_up(request_id):
                return
        for request_id in self._journal.request_ids():
            self._take_up(request_id)

    def _hear_trial(self, accused: str, events: list[TokenEvent]) -> None:
        """Whoever has said enough waits until all have been tried, so that a suspect is always alone."""
        is_over = self._trial.hear(sum(event.finish_reason is None for event in events))
        if accused not in self._journal:
            self._try_next()
        elif is_over:
            self._link.send(Abort(self._journal.engine_id(accused)))
            self._journal.take_back(accused)
            self._try_next()

    def _take_up(self, request_id: str) -> bool:
        """Give the engine a request it does not know; False when nothing of it is left to do."""
        request = self._journal.take_up(request_id)
        if request is not None:
            self._link.send(Submit(request))
        return request is not None

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
        self._asks.fail_all(EngineDead(message))
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
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.gather(self._watchdog, return_exceptions=True)
        await self._link.close()
        await asyncio.gather(*self._ended_links, return_exceptions=True)

    def reap(self) -> None:
        """End the engine process without an event loop: by force, unless it was told to stop."""
        self._link.reap()
