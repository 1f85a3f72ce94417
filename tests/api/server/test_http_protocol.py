"""Header blocks of every size through a real socket."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvicorn

from quire.api.server.http_protocol import BoundedHttpProtocol, http_protocol

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
