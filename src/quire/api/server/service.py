"""Service: what every route needs, and whether it may generate now. One per process, no globals."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum

import msgspec

from quire import __version__
from quire.api.server.admission import Admission
from quire.api.server.errors import Unavailable
from quire.api.server.metrics import ServerMetrics
from quire.api.server.stat_loggers import StatLoggers
from quire.api.tracing import Tracer
from quire.base.config import EngineConfig, ServerConfig
from quire.base.errors import EngineAsleep, EngineDead, NotFound, Overloaded, Unsupported
from quire.base.messages import EngineRequest
from quire.engine.client import ASLEEP, Administrator, EngineState, ProcessClient
from quire.text.pooling import pooler_of
from quire.text.session import Session

LOADING_RETRY_S = 2
DRAINING_RETRY_S = 5
_ROUTES_OF_TASKS = {
    "embed": "/v1/embeddings or /pooling",
    "token_embed": "/pooling",
    "classify": "/classify or /pooling",
    "token_classify": "/pooling",
}


class Phase(Enum):
    """Where the server stands. Only READY takes requests; every phase but DEAD is healthy or about to be."""

    LOADING = "loading"
    READY = "ready"
    ASLEEP = "asleep"
    DRAINING = "draining"
    DEAD = "dead"


class Service:
    """The engine client, the text session (None until the tokenizer is loaded) and the requests under way."""

    def __init__(
        self, client: ProcessClient, engine_config: EngineConfig, server_config: ServerConfig
    ) -> None:
        self.client = client
        self.engine_config = engine_config
        self.config = server_config
        self.session: Session | None = None
        self.is_draining = False
        self.started_unix_s = int(time.time())
        self.fingerprint = _fingerprint(engine_config, server_config)
        self.metrics = ServerMetrics(
            model_name=server_config.served_model_names[0],
            engine_config=engine_config,
            client=client,
            buckets_chosen=server_config.histogram_buckets,
            counts_corrupted=server_config.counts_corrupted,
        )
        self.administrator = Administrator(client, may_sleep=engine_config.enable_sleep_mode)
        self.tracer: Tracer | None = None
        if server_config.traces is not None:
            self.tracer = Tracer(server_config.traces, server_config.served_model_names[0])
            client.listeners.append(self.tracer.note_step)
        self.stat_loggers = StatLoggers(engine_config)
        if self.stat_loggers:
            client.listeners.append(self.stat_loggers.record)
        self.admission = Admission(engine_config, server_config)
        self._under_way: set[asyncio.Task[object]] = set()

    @property
    def phase(self) -> Phase:
        if self.client.state is EngineState.DEAD:
            return Phase.DEAD
        if self.is_draining:
            return Phase.DRAINING
        if self.client.state is EngineState.LOADING or self.session is None:
            return Phase.LOADING
        return Phase.ASLEEP if self.client.standing.refuses else Phase.READY

    @property
    def num_under_way(self) -> int:
        """Generation requests whose reply is not complete."""
        return len(self._under_way)

    def text_session(self) -> Session:
        """The session for text work alone (tokenize); raises Unavailable before the tokenizer is loaded."""
        if self.session is None:
            raise self._loading()
        return self.session

    def generating_session(self) -> Session:
        """The session if a request may start now; raises Unavailable, EngineDead, Unsupported of a pooled model."""
        if self.engine_config.pooler is not None:
            raise Unsupported(
                "this model is pooled into vectors or scores and generates nothing; use "
                f"{_ROUTES_OF_TASKS[self.engine_config.pooler.task]}"
            )
        return self._ready_session()

    def pooling_session(self) -> Session:
        """The same, of a model that is pooled; raises Unsupported for one that generates."""
        pooler_of(self.engine_config)
        return self._ready_session()

    def _ready_session(self) -> Session:
        phase = self.phase
        if phase is Phase.DEAD:
            raise EngineDead(self.client.failure)
        if phase is Phase.DRAINING:
            raise Unavailable("The server is shutting down.", retry_after_s=DRAINING_RETRY_S)
        if phase is Phase.LOADING or self.session is None:
            raise self._loading()
        if phase is Phase.ASLEEP:
            raise EngineAsleep(ASLEEP)
        return self.session

    def administrator_now(self) -> Administrator:
        """The administrator, if there is an engine to hear it; raises Unavailable or EngineDead."""
        if self.client.state is EngineState.DEAD:
            raise EngineDead(self.client.failure)
        if self.client.state is EngineState.LOADING:
            raise self._loading()
        return self.administrator

    def admit(self, requests: Sequence[EngineRequest] = ()) -> None:
        """Raises Overloaded when one more HTTP request must not wait, Quarantined when it ended engines before, and
        EngineDead when the engine is gone since the request began to be read: a stream could say so no more."""
        if self.client.state is EngineState.DEAD:
            raise EngineDead(self.client.failure)
        num_tokens = sum(len(request.prompt_token_ids) for request in requests)
        for request in requests:
            self.client.check(request)
        try:
            self.admission.check(self.num_under_way, self.client.num_unheard_tokens, num_tokens)
        except Overloaded:
            self.metrics.admission_rejections += 1
            raise

    def _loading(self) -> Unavailable:
        total_bytes = self.client.load_total_bytes
        done = f" ({100 * self.client.load_done_bytes // total_bytes} %)" if total_bytes else ""
        return Unavailable(
            f"The model is still loading{done}; /ready answers 200 when it can generate.",
            retry_after_s=LOADING_RETRY_S,
        )

    def served_name(self, asked: str | None) -> str:
        """The model name to answer with; raises NotFound. Without a name, the first one is meant."""
        names = self.config.served_model_names
        if asked is None:
            return names[0]
        if asked in names:
            return asked
        listed = ", ".join(f"`{name}`" for name in names)
        error = NotFound(f"The model `{asked[:200]}` is not served here; there is {listed}.", field="model")
        error.code = "model_not_found"
        raise error

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Marks the current task as a generation request, so that a drain waits for it."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            yield
        finally:
            self.admission.note_end(len(self._under_way))
            self._under_way.discard(task)

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no generation request is under way; False when the time ran out first."""
        deadline_s = time.monotonic() + timeout_s
        while self._under_way:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return False
            await asyncio.wait(self._under_way, timeout=remaining_s)
        return True


def _fingerprint(config: EngineConfig, server: ServerConfig) -> str | None:
    """Names what decides the tokens: the version and the engine's configuration, without revealing it."""
    if server.fingerprint_mode in ("none", "custom"):
        return server.fingerprint_value or None
    digest = hashlib.sha256(msgspec.msgpack.encode(config)).hexdigest()[:8]
    return digest if server.fingerprint_mode == "hash" else f"quire-{__version__}-{digest}"
