"""A caller who hangs up, seen through a real socket: the engine is told at once, in whatever state the work is."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest
from starlette.requests import Request

from quire.api.server.body import read_body
from quire.api.server.disconnect import ClientGone
from quire.api.server.http_protocol import BoundedHttpProtocol
from quire.engine.client import EngineState

LIMIT_S = 2.0


def send_request(live, path: str, body: dict, receive_bytes: int | None = None) -> socket.socket:
    data = json.dumps(body).encode()
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", live.port))
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


def wait_until(condition, limit_s: float = LIMIT_S) -> float:
    started_s = time.monotonic()
    while not condition():
        assert time.monotonic() - started_s < limit_s
        time.sleep(0.002)
    return time.monotonic() - started_s


def read_until(connection: socket.socket, wanted: bytes) -> None:
    seen = b""
    while wanted not in seen:
        part = connection.recv(65536)
        assert part, seen
        seen += part


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("pause_after", [0, 3])
@pytest.mark.parametrize(
    ("path", "body", "num_requests"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "n": 2}, 1),
        ("/v1/completions", {"prompt": ["one", "two", "three"]}, 3),
    ],
)
def test_hanging_up_aborts_queued_and_running_work(path, body, num_requests, pause_after, streams, live):
    live.engine.pause_after = pause_after  # 0: still queued, no token yet
    connection = send_request(live, path, {**body, "stream": streams})
    wait_until(lambda: len(live.engine.requests) == num_requests)
    if streams and pause_after:
        read_until(connection, b"data: ")
    connection.close()
    took_s = wait_until(lambda: len(live.engine.aborted) == num_requests)
    assert took_s < 0.5
    assert sorted(live.engine.aborted) == sorted(request.request_id for request in live.engine.requests)
    wait_until(lambda: live.service.num_under_way == 0)
    assert live.engine.num_streams == 0


def test_a_finished_request_is_not_aborted(live):
    connection = send_request(live, "/v1/completions", {"prompt": "one"})
    read_until(connection, b"200 OK")
    connection.close()
    wait_until(lambda: live.service.num_under_way == 0)
    assert live.engine.aborted == []


def test_a_reset_in_the_middle_of_the_body_harms_nobody(live):
    connection = socket.create_connection(("127.0.0.1", live.port))
    head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    connection.sendall(head.encode())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    again = send_request(live, "/v1/completions", {"prompt": "one"})
    read_until(again, b"200 OK")
    again.close()


async def test_an_engine_that_ends_while_a_request_is_read_is_a_status(live):
    """Not an event in a stream that began with 200: clients and proxies try again on a 503."""
    body = b'{"prompt": "one", "stream": true}'
    lines = b"POST /v1/completions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(lines % len(body) + body[:9])
    await asyncio.sleep(0.2)  # it is being read
    live.engine.state = EngineState.DEAD
    writer.write(body[9:])
    status = await reader.readline()
    writer.close()
    assert b" 503 " in status


async def test_many_hang_ups_leave_no_task_behind(live):
    live.engine.pause_after = 1
    connections = [
        send_request(live, "/v1/completions", {"prompt": "one", "stream": True}) for _ in range(50)
    ]
    await asyncio.to_thread(wait_until, lambda: len(live.engine.requests) == 50)
    for connection in connections:
        connection.close()
    await asyncio.to_thread(wait_until, lambda: len(live.engine.aborted) == 50)
    await asyncio.to_thread(wait_until, lambda: live.service.num_under_way == 0)


def test_a_stream_that_nobody_reads_ends_at_its_deadline(service, serve):
    """Its events wait in the buffers of the connection until those are full, then the time runs."""
    live = serve(service, protocol=type("Impatient", (BoundedHttpProtocol,), {"max_unread_s": 0.3}))
    live.engine.script = lambda _request, _index: [5] * 200
    live.engine.pause_after = 199
    body = {"prompt": "one", "max_tokens": 200, "n": 64, "logprobs": 5, "stream": True}
    connection = send_request(live, "/v1/completions", body, receive_bytes=4096)
    wait_until(lambda: len(live.engine.aborted) == 1, limit_s=20)
    wait_until(lambda: live.service.num_under_way == 0)
    connection.close()


async def test_who_has_hung_up_before_being_read_is_not_computed():
    messages = [{"type": "http.request", "body": b"{}", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> dict:
        return messages.pop(0)

    with pytest.raises(ClientGone):
        await read_body(Request({"type": "http", "headers": []}, receive))
