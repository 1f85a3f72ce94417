"""EventPublisher: batches of KV cache events to whoever subscribes, numbered, and once more to whoever missed some.

PUB      topic | number (8 bytes, big-endian) | batch (msgpack)
ROUTER   asked with the first number wanted (8 bytes), answers each kept batch as number | batch, then -1 | nothing

A thread of its own does the sending; the engine only hands over bytes and never waits. A batch that does not find
room is dropped with its number, so that subscribers see the gap.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import zmq

from quire.base.errors import ConfigError
from quire.base.observe import KvEventsConfig
from quire.engine.kv import BlockEvent

logger = logging.getLogger(__name__)

NUMBER_BYTES = 8
END_OF_REPLAY = (-1).to_bytes(NUMBER_BYTES, "big", signed=True)
FAREWELL_MS = 500  # how long what is queued may take to leave at the end
_LOCAL_HOSTS = ("*", "0.0.0.0", "127.", "localhost", "[::", "::")


class EventBatch(msgspec.Struct, frozen=True, array_like=True):
    """The events of one step. `ts` is in seconds since 1970."""

    ts: float
    events: list[BlockEvent]
    data_parallel_rank: int | None = None


def open_publisher(config: KvEventsConfig | None) -> EventPublisher | None:
    """None where no events are wanted. Raises ConfigError when an address cannot be used."""
    return None if config is None else EventPublisher(config)


class EventPublisher:
    """`publish` from one thread; `close` in the end."""

    def __init__(self, config: KvEventsConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        self._next_number = 0
        self._num_dropped = 0
        self._kept: deque[tuple[bytes, bytes]] = deque(maxlen=config.buffer_steps)
        self._context = zmq.Context()
        self._outlet: zmq.Socket[bytes] = self._context.socket(zmq.PUB)
        self._outlet.setsockopt(zmq.SNDHWM, config.send_limit)
        self._outlet.setsockopt(zmq.LINGER, FAREWELL_MS)
        self._inlet: zmq.Socket[bytes] = self._context.socket(zmq.PULL)
        self._inlet.setsockopt(zmq.RCVHWM, 1)
        self._inlet.bind("inproc://batches")
        self._queue: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        self._queue.setsockopt(zmq.SNDHWM, config.max_queue_size)
        self._queue.connect("inproc://batches")
        self._replay: zmq.Socket[bytes] | None = None
        try:
            self._open()
        except ConfigError:
            self._context.destroy(linger=0)
            raise
        self._thread = threading.Thread(target=self._run, name="kv-events", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        _attach(self._outlet, "endpoint", self._config.endpoint, binds=is_ours(self._config.endpoint))
        if self._config.replay_endpoint:
            self._replay = self._context.socket(zmq.ROUTER)
            self._replay.setsockopt(zmq.LINGER, 0)
            _attach(self._replay, "replay_endpoint", self._config.replay_endpoint, binds=True)

    def publish(self, events: Sequence[BlockEvent]) -> None:
        """Queue one batch; an empty one is none."""
        if not events:
            return
        number = self._next_number.to_bytes(NUMBER_BYTES, "big")
        self._next_number += 1
        batch = EventBatch(ts=self._clock(), events=list(events), data_parallel_rank=0)
        try:
            self._queue.send_multipart([number, self._encoder.encode(batch)], zmq.NOBLOCK)
        except zmq.Again:
            self._num_dropped += 1
            if self._num_dropped & (self._num_dropped - 1) == 0:  # 1, 2, 4 …: not a line for each
                logger.warning(
                    "%d batches of KV cache events were dropped: %d wait to be sent already",
                    self._num_dropped,
                    self._config.max_queue_size,
                )

    def close(self) -> None:
        """Send what is queued, then let go of the addresses."""
        self._queue.send_multipart([b""])
        self._thread.join(2 * FAREWELL_MS / 1000)
        self._queue.close(linger=0)
        self._context.term()

    # ---- in the thread ----

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._inlet, zmq.POLLIN)
        if self._replay is not None:
            poller.register(self._replay, zmq.POLLIN)
        topic = self._config.topic.encode()
        is_open = True
        while is_open:
            ready = dict(poller.poll())
            if self._inlet in ready:
                number, *rest = self._inlet.recv_multipart()
                is_open = bool(rest)
                if is_open:
                    self._kept.append((number, rest[0]))
                    self._outlet.send_multipart([topic, number, rest[0]])
            if self._replay is not None and self._replay in ready:
                self._send_again(self._replay)
        for socket in (self._inlet, self._outlet, self._replay):
            if socket is not None:
                socket.close()

    def _send_again(self, replay: zmq.Socket[bytes]) -> None:
        """Answer one request: every kept batch from the asked number on, then the end."""
        frames = replay.recv_multipart()
        if len(frames) != 3 or len(frames[2]) != NUMBER_BYTES:
            logger.warning("a request for KV cache events was no number of %d bytes", NUMBER_BYTES)
            return
        caller, first = frames[0], int.from_bytes(frames[2], "big")
        for number, batch in list(self._kept):
            if int.from_bytes(number, "big") >= first:
                replay.send_multipart([caller, b"", number, batch])
        replay.send_multipart([caller, b"", END_OF_REPLAY, b""])


def is_ours(endpoint: str) -> bool:
    """Whether the address is one of this machine, to be opened; any other is one to connect to."""
    transport, _, address = endpoint.partition("://")
    return transport == "ipc" or address.startswith(_LOCAL_HOSTS)


def _attach(socket: zmq.Socket[bytes], field: str, endpoint: str, *, binds: bool) -> None:
    try:
        if binds:
            socket.bind(endpoint)
        else:
            socket.connect(endpoint)
    except zmq.ZMQError as problem:
        raise ConfigError(
            f"--kv-events-config.{field} {endpoint} cannot be used ({problem.strerror}); give a free address such as "
            "tcp://127.0.0.1:5558",
            setting="kv_events_config",
        ) from None
