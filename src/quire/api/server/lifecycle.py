"""From a bound port to an exit code: the HTTP server's life around the engine's.

The port is bound first, so that probes and `/v1/models` answer while weights load. The first SIGTERM or SIGINT
drains: `/ready` turns false at once, new requests get 503, running streams may finish. A second one aborts.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from quire.api.server.app import create_app
from quire.api.server.http_protocol import http_protocol
from quire.api.server.listener import allow_connections, listening
from quire.api.server.logs import log_config
from quire.api.server.probes import probe_routes
from quire.api.server.service import Phase, Service
from quire.api.server.stats_log import write_stats
from quire.api.server.supervisor import Supervisor
from quire.api.server.tls import refresh_certificates, tls_options, tls_refusal
from quire.base.config import EngineConfig, ServerConfig
from quire.engine.client import EngineState, ProcessClient
from quire.text.session import Session
from quire.text.template import ChatTemplate
from quire.text.tokenizer import AbsentTokenizer, Tokenizer

logger = logging.getLogger("quire.server")

ENGINE_CHECK_S = 0.2  # how soon a dead engine is noticed when no request is waiting on it
FAREWELL_S = 2.0  # how long ended streams get to write their last event
IDLE_CHECK_S = 0.5
READ_CHECK_S = 0.05  # how soon it is noticed that a caller has read his reply to its end
ENDING_LIMIT_S = 20.0  # then whatever keeps an ending process is shown and cut off


def serve_http(
    client: ProcessClient,
    engine_config: EngineConfig,
    server_config: ServerConfig,
    announce: Callable[[float], None],
) -> int:
    """Serve until a signal or the engine's death; returns the exit code.

    0 after a clean drain, 128 + signal when streams had to be aborted, 1 when the engine died. `announce` is
    called once, with the seconds since this call, when requests are taken. The client is shut down in every
    case. Raises ConfigError when the address or the TLS files cannot be used, and whatever the engine failed
    to start with.
    """
    started_s = time.monotonic()
    allow_connections()
    try:
        with listening(server_config) as listener:
            service = Service(client, engine_config, server_config)
            server = _HttpServer(_uvicorn_config(service))
            try:
                with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                    life = _serve(service, server, listener, lambda: announce(time.monotonic() - started_s))
                    return runner.run(life)
            finally:
                if service.tracer is not None:
                    service.tracer.close()
    finally:
        client.reap()  # does nothing after an orderly shutdown


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not made for every platform
        return None
    return uvloop.new_event_loop


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: `_Signals` decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @property
    def num_unread(self) -> int:
        """Connections whose callers have not taken all that was written for them."""
        connections = self.server_state.connections
        return sum(connection.transport.get_write_buffer_size() > 0 for connection in connections)


class _Signals:
    """The first SIGTERM or SIGINT sets `drain`, the second `abort`; `last` remembers which it was."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.abort = asyncio.Event()
        self.last = signal.SIGTERM

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._arrived, number)

    def _arrived(self, number: signal.Signals) -> None:
        self.last = number
        (self.abort if self.drain.is_set() else self.drain).set()


async def _serve(
    service: Service, server: _HttpServer, listener: socket.socket, announce: Callable[[], None]
) -> int:
    signals = _Signals()
    signals.install()
    http = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    refresh = asyncio.create_task(
        refresh_certificates(service.config, server.config.ssl), name="certificate refresh"
    )
    try:
        return await _live(service, server, signals, announce, http)
    finally:
        # no thread and no library can keep a server that is to end; without code 0 it does not pass for well
        faulthandler.dump_traceback_later(ENDING_LIMIT_S, exit=True)
        refresh.cancel()
        service.is_draining = True
        await service.client.shutdown()
        await service.wait_idle(FAREWELL_S)
        server.should_exit = True
        await http


async def _live(
    service: Service,
    server: _HttpServer,
    signals: _Signals,
    announce: Callable[[], None],
    http: asyncio.Task[None],
) -> int:
    """Load, serve, drain; returns the exit code."""
    loading = asyncio.create_task(load_service(service), name="load")
    drain = asyncio.create_task(signals.drain.wait(), name="drain signal")
    watch = asyncio.create_task(_engine_death(service), name="engine watch")
    stats = asyncio.create_task(write_stats(service), name="stats log")
    supervisor = Supervisor()
    reassurance = asyncio.create_task(
        supervisor.reassure(lambda: service.phase is not Phase.DEAD), name="watchdog"
    )
    try:
        await asyncio.wait({loading, drain, http}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            await loading  # raises what the engine failed with
            announce()
            supervisor.tell("READY=1")
            await asyncio.wait({drain, watch, http}, return_when=asyncio.FIRST_COMPLETED)
        if http.done():
            await http
            return 1
        if watch.done():
            logger.error("the engine died: %s", service.client.failure)
            if service.config.outlives_engine:
                await asyncio.wait({drain, http}, return_when=asyncio.FIRST_COMPLETED)
            return 1
        supervisor.tell("STOPPING=1")
        return await _drain(service, server, signals, watch)
    finally:
        tasks = (loading, drain, watch, stats, reassurance)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def load_service(service: Service) -> None:
    """Tokenizer and template here, weights over there, at the same time."""
    session, _ = await asyncio.gather(asyncio.to_thread(_text_session, service), service.client.connect())
    if service.client.ready is not None:
        session.extra_arguments = frozenset(service.client.ready.extra_arguments)
    service.session = session


def _text_session(service: Service) -> Session:
    config = service.engine_config
    folder = Path(config.text_folder)
    template = ChatTemplate.load(folder, service.config.chat_template) if config.has_tokenizer else None
    return Session(
        service.client,
        config,
        Tokenizer.load(folder) if config.has_tokenizer else AbsentTokenizer(config.card.vocab_size),
        template,
        service.config.sampling_defaults,
        stream_interval_tokens=service.config.stream_interval_tokens,
    )


async def serve_probes(service: Service) -> None:
    """Health and metrics alone, for an engine that other work keeps busy; until cancelled. Raises ConfigError."""
    config = service.config
    with listening(config) as listener:
        app = Starlette(routes=list(probe_routes(service)))
        made = uvicorn.Config(app, ws="none", lifespan="off", log_level="warning", server_header=False)
        server = _HttpServer(made)
        try:
            await server.serve(sockets=[listener])
        finally:
            server.should_exit = True


async def _engine_death(service: Service) -> None:
    while service.client.state is not EngineState.DEAD:
        await asyncio.sleep(ENGINE_CHECK_S)


async def _drain(service: Service, server: _HttpServer, signals: _Signals, watch: asyncio.Task[None]) -> int:
    service.is_draining = True
    num_streams = service.num_under_way
    timeout_s = service.config.shutdown_timeout_s
    if num_streams:
        logger.info("draining %d requests, at most %d s; signal again to abort", num_streams, timeout_s)
    idle = asyncio.create_task(_idle(service, server, timeout_s), name="drain")
    abort = asyncio.create_task(signals.abort.wait(), name="abort signal")
    await asyncio.wait({idle, abort, watch}, return_when=asyncio.FIRST_COMPLETED)
    is_clean = idle.done() and idle.result()
    for task in (idle, abort):
        task.cancel()
    await asyncio.gather(idle, abort, return_exceptions=True)
    if is_clean:
        return 0
    if watch.done():
        logger.error("the engine died while draining: %s", service.client.failure)
        return 1
    logger.warning(
        "aborting %d requests; %d callers have not read what was written for them",
        service.num_under_way,
        server.num_unread,
    )
    return 128 + signals.last


async def _idle(service: Service, server: _HttpServer, timeout_s: float) -> bool:
    """Wait until every reply is complete and has been read; False when the time ran out first.

    Only time in which this process ran counts: one that was stopped meanwhile gave nobody time to finish.
    """
    left_s = timeout_s
    while service.num_under_way or server.num_unread:
        if left_s <= 0:
            return False
        started_s = time.monotonic()
        if await service.wait_idle(min(left_s, IDLE_CHECK_S)) and server.num_unread:
            await asyncio.sleep(READ_CHECK_S)
        left_s -= min(time.monotonic() - started_s, 2 * IDLE_CHECK_S)
    return True


def _uvicorn_config(service: Service) -> uvicorn.Config:
    """Raises ConfigError when the TLS files cannot be used."""
    config = service.config
    made = uvicorn.Config(
        create_app(service),
        http=http_protocol(
            max_header_bytes=config.max_header_bytes, max_header_count=config.max_header_count
        ),
        timeout_keep_alive=config.keep_alive_s,
        ws="none",
        lifespan="off",
        log_config=log_config(config.uvicorn_log_level, service.engine_config.log, config.quiet_paths),
        access_log=not config.disable_access_log,
        root_path=config.root_path,
        server_header=False,
        **tls_options(config),
        timeout_graceful_shutdown=int(FAREWELL_S),
    )
    try:
        made.load()
    except OSError as error:  # ssl.SSLError is one
        raise tls_refusal(config, error) from None
    return made
