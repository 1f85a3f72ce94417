"""Header blocks of every size through a real socket."""

from __future__ import annotations

import socket

import pytest

from quire.api.server.http_protocol import MAX_HEADER_BYTES


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
