"""KV cache events over real sockets: live, once more for who missed some, and from a whole engine."""

from __future__ import annotations

import socket

import msgspec
import pytest
import zmq

from quire.api.llm import LLM
from quire.base.errors import ConfigError
from quire.base.messages import SamplingParams
from quire.base.observe import KvEventsConfig
from quire.engine.kv import BlockNews
from quire.engine.publisher import EventPublisher
from quire.engine.publisher.publisher import is_ours

LIMIT_MS = 5000


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def connect():
    """Opens sockets that are closed after the test."""
    context, sockets = zmq.Context(), []

    def open_socket(kind: int, endpoint: str):
        opened = context.socket(kind)
        sockets.append(opened)
        opened.setsockopt(zmq.LINGER, 0)
        opened.setsockopt(zmq.RCVTIMEO, LIMIT_MS)
        if kind == zmq.SUB:
            opened.setsockopt(zmq.SUBSCRIBE, b"")
        opened.connect(endpoint)
        return opened

    yield open_socket
    for opened in sockets:
        opened.close()
    context.term()


def some_events(number: int) -> list:
    news = BlockNews(2, has_int_hashes=True)
    news.note_stored([bytes(31) + bytes([number])], None, [number, number])
    return news.take()


def subscribe(connect, publisher: EventPublisher, endpoint: str):
    """A subscriber that is known to be connected: it has heard something."""
    opened = connect(zmq.SUB, endpoint)
    opened.setsockopt(zmq.RCVTIMEO, 20)
    for _ in range(250):
        publisher.publish(some_events(0))
        try:
            opened.recv_multipart()
        except zmq.Again:
            continue
        while opened.poll(50):
            opened.recv_multipart()
        opened.setsockopt(zmq.RCVTIMEO, LIMIT_MS)
        return opened
    raise AssertionError("the subscriber was never connected")


def test_batches_are_numbered_and_can_be_had_again(connect):
    config = KvEventsConfig(
        endpoint=free_endpoint(), replay_endpoint=free_endpoint(), buffer_steps=3, topic="kv@one"
    )
    publisher = EventPublisher(config, clock=lambda: 12.5)
    subscriber = subscribe(connect, publisher, config.endpoint)
    for number in (1, 2, 3, 4):
        publisher.publish(some_events(number))
    publisher.publish([])
    heard = [subscriber.recv_multipart() for _ in range(4)]
    first = int.from_bytes(heard[0][1], "big")
    assert [(topic, int.from_bytes(place, "big")) for topic, place, _ in heard] == [
        (b"kv@one", first + offset) for offset in range(4)
    ]
    assert msgspec.msgpack.decode(heard[0][2]) == [
        12.5,
        [["BlockStored", [1], None, [1, 1], 2, None, "GPU"]],
        0,
    ]

    replay = connect(zmq.DEALER, config.replay_endpoint)
    for wanted, expected in ((0, heard[1:]), (first + 3, heard[3:]), (first + 9, [])):
        replay.send_multipart([b"", wanted.to_bytes(8, "big")])
        answers = []
        while (answer := replay.recv_multipart())[1] != (-1).to_bytes(8, "big", signed=True):
            answers.append(answer)
        assert answers == [[b"", number, batch] for _, number, batch in expected]  # three are kept
        assert answer == [b"", b"\xff" * 8, b""]
    replay.send_multipart([b"", b"nonsense is longer"])  # logged, and no end of the thread
    replay.send_multipart([b"", bytes(8)])
    assert len(replay.recv_multipart()) == 3
    publisher.close()


def test_a_full_queue_leaves_a_gap_in_the_numbers(caplog):
    config = KvEventsConfig(endpoint=free_endpoint(), max_queue_size=1)
    publisher = EventPublisher(config)
    publisher.close()
    publisher._context = zmq.Context()  # nobody takes anything out of this queue
    publisher._queue = publisher._context.socket(zmq.PUSH)
    publisher._queue.connect("inproc://nobody")
    publisher._queue.setsockopt(zmq.SNDHWM, 1)
    for number in range(5000):
        publisher.publish(some_events(number % 256))
    assert publisher._next_number == 5000
    assert "batches of KV cache events were dropped: 1 wait to be sent already" in caplog.text
    publisher._context.destroy(linger=0)


def test_an_address_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"--kv-events-config\.endpoint tcp://.* cannot be used \("):
            EventPublisher(KvEventsConfig(endpoint=endpoint))
        with pytest.raises(ConfigError, match=r"--kv-events-config\.replay_endpoint tcp://"):
            EventPublisher(KvEventsConfig(endpoint=free_endpoint(), replay_endpoint=endpoint))


@pytest.mark.parametrize(
    ("endpoint", "ours"),
    [
        ("tcp://*:5557", True),
        ("tcp://127.0.0.1:5557", True),
        ("tcp://[::1]:5557", True),
        ("ipc:///tmp/x", True),
        ("tcp://router.example:5557", False),
        ("tcp://10.0.0.7:5557", False),
    ],
)
def test_addresses_of_this_machine_are_opened_and_others_connected_to(endpoint, ours):
    assert is_ours(endpoint) is ours


def test_a_model_tells_what_its_cache_holds(connect):
    endpoint, replay_endpoint = free_endpoint(), free_endpoint()
    llm = LLM(
        max_model_len=256,
        kv_events_config={
            "enable_kv_cache_events": True,
            "endpoint": endpoint,
            "replay_endpoint": replay_endpoint,
        },
    )
    prompt = list(range(5, 45))
    sampling = SamplingParams(temperature=0, max_tokens=2)
    llm.generate([prompt], sampling, use_tqdm=False)
    llm.reset_prefix_cache()
    replay = connect(zmq.DEALER, replay_endpoint)
    replay.send_multipart([b"", bytes(8)])
    batches = []
    while (answer := replay.recv_multipart())[2]:
        batches.append(msgspec.msgpack.decode(answer[2])[1])
    ((stored,), cleared) = batches
    assert (stored[0], len(stored[1]), *stored[2:5]) == ("BlockStored", 2, None, prompt[:32], 16)
    assert cleared == [["AllBlocksCleared"]]
    del llm  # lets go of the addresses
    with socket.socket() as again:
        again.bind(("127.0.0.1", int(endpoint.rpartition(":")[2])))
