"""Header blocks of every size through a real socket."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import uvicorn

from quire.api.server.http_protocol import Arriving, BoundedHttpProtocol, http_protocol

MAX_HEADER_BYTES = BoundedHttpProtocol.max_header_bytes


def exchange(live, data: bytes) -> bytes:
    """Send, then read until the server closes."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as connection:
        try:
            for start in range(0, len(data), 4096):
                connection.sendall(data[start : start + 4096])
        except ConnectionError:
            pass  # refused before all was sent
        reply = b""
        try:
            while part := connection.recv(65536):
                reply += part
        except ConnectionResetError:
            pass  # closed with our bytes unread
        return reply


def head(*lines: str) -> bytes:
    return "\r\n".join(["GET /version HTTP/1.1", "host: x", "connection: close", *lines, "", ""]).encode()


def test_headers_below_the_limit_pass(live):
    assert b" 200 OK" in exchange(live, head("x-filler: " + "a" * (MAX_HEADER_BYTES - 5000)))


@pytest.mark.parametrize("lines", [["x-filler: " + "a" * 1_000_000], ["x: y"] * 200_000])
def test_headers_above_it_are_a_431(lines, live):
    assert exchange(live, head(*lines)).startswith(b"HTTP/1.1 431")


def test_a_request_line_counts(live):
    assert exchange(live, b"GET /" + b"a" * 1_000_000).startswith(b"HTTP/1.1 431")


def test_large_bodies_and_requests_on_one_connection_do_not_count_as_headers(live):
    body = b'{"prompt": "x", "user": "' + b"a" * 100_000 + b'"}'
    one = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    reply = exchange(live, (one % len(body) + body) * 3 + head())
    assert reply.count(b" 200 OK") == 4


def test_limits_of_ones_own(service, serve):
    live = serve(service, protocol=http_protocol(max_header_bytes=2048, max_header_count=10))
    assert b" 200 OK" in exchange(live, head(*["x: y"] * 8))
    refused = exchange(live, head(*["x: y"] * 9))
    assert refused.startswith(b"HTTP/1.1 431")
    assert b"A request may have at most 10 header lines." in refused
    assert b"at most 2 KiB" in exchange(live, head("x: " + "y" * 50_000))
    # a refused request's body is nobody's
    body = (
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n" + b"x: y\r\n" * 20 + b"\r\nhello"
    )
    assert exchange(live, body).startswith(b"HTTP/1.1 431")


def test_headers_that_come_too_slowly_end_the_connection(service, serve):
    """A connection costs a file: one that never asks, or asks a byte at a time, does not keep it."""
    live = serve(service, protocol=type("Impatient", (BoundedHttpProtocol,), {"max_header_s": 0.3}))
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as silent:
        assert silent.recv(1) == b""
    trickling = socket.create_connection(("127.0.0.1", live.port), timeout=10)
    with trickling, pytest.raises(ConnectionError):
        for byte in head("x-filler: " + "a" * 200):
            trickling.sendall(bytes([byte]))
            time.sleep(0.01)
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as waiting:
        for _ in range(2):  # the time counts from each request's first byte
            time.sleep(0.2)
            waiting.sendall(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
            reply = b""
            while not reply.endswith(b"}"):
                reply += waiting.recv(4096)
            assert b" 200 OK" in reply


def test_bodies_that_never_end_have_a_bound_together(service, serve):
    """Each may hold 32 MiB, and nobody is counted as a request before his body is there."""
    own = {"max_arriving_bytes": 250_000, "arriving": Arriving()}
    live = serve(service, protocol=type("Narrow", (BoundedHttpProtocol,), own))
    begun = (
        b"POST /v1/completions HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 200000\r\n\r\n"
    )
    begun += b'{"prompt": "' + b"a" * 100_000
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as one:
        one.sendall(begun)
        with socket.create_connection(("127.0.0.1", live.port), timeout=10) as two:
            two.sendall(begun)
            while own["arriving"].num_bytes < 200_000:
                time.sleep(0.01)
            refused = exchange(live, begun)
            assert refused.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in refused
    while own["arriving"].num_bytes:  # what is given up makes room
        time.sleep(0.01)
    whole = (
        b"POST /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 200000\r\n\r\n"
        + b" " * 200_000
    )
    assert exchange(live, whole).startswith(b"HTTP/1.1 405")
    assert own["arriving"].num_bytes == 0


async def test_a_caller_who_does_not_read_is_cut_off():

    async def endless(_scope, _receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            await asyncio.sleep(0)

    class Impatient(BoundedHttpProtocol):
        max_unread_s = 0.2

    server = uvicorn.Server(uvicorn.Config(endless, http=Impatient, lifespan="off", log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        for _ in range(30):  # whoever reads, however little at a time, stays
            assert await reader.read(300_000)
            await asyncio.sleep(0.01)
        writer.transport.pause_reading()
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        (cut_off,) = server.server_state.connections
        while not cut_off.transport.is_closing():
            await asyncio.sleep(0.02)
        writer.transport.abort()
        server.should_exit = server.force_exit = True
        await serving
