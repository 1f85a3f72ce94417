"""The load client against a server that says exactly what a test wants, byte by byte if need be."""

import asyncio
import contextlib
import json

import pytest

from quire.api.bench.client import Client
from quire.api.bench.load import Target, offer
from quire.api.bench.metrics import describe, details, summarise
from quire.api.bench.workload import Talk, Turn
from quire.base.errors import ConfigError


def event(data):
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def text(words):
    return event({"choices": [{"index": 0, "text": words, "finish_reason": None}]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 9}})
DONE = event("[DONE]")


def chunked(body):
    return b"%x\r\n%s\r\n" % (len(body), body)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def replying(*replies, connections=None):
    """A server that answers the n-th request with the n-th list of pieces, each sent by itself; None
    keeps the connection open without another word."""
    waiting = list(replies)

    async def serve(reader, writer):
        if connections is not None:
            connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while waiting:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                for piece in waiting.pop(0):
                    if piece is None:
                        await reader.read()
                        continue
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


WHOLE = HEAD + chunked(text("Hel") + text("lo")) + chunked(USAGE + DONE) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_is_read_however_it_is_cut(size):
    pieces = [WHOLE[start : start + size] for start in range(0, len(WHOLE), size)]
    async with replying(pieces) as url:
        client = Client(url)
        reply = await client.stream("/v1/completions", {})
        client.close()
    assert (reply.text, reply.error, reply.prompt_tokens, reply.completion_tokens) == ("Hello", "", 4, 9)
    assert len(reply.event_times_s) == 2
    assert reply.started_s <= reply.event_times_s[0] <= reply.event_times_s[1] <= reply.ended_s


async def test_a_connection_is_used_again():
    connections = []
    async with replying([WHOLE], [WHOLE], connections=connections) as url:
        client = Client(url)
        replies = [await client.stream("/x", {}) for _ in range(2)]
        client.close()
    assert [reply.error for reply in replies] == ["", ""]
    assert len(connections) == 1


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [
        ([b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater"], "HTTP 503: later"),
        ([HEAD + chunked(text("a")) + b"0\r\n\r\n"], "before \\[DONE\\]"),
        ([HEAD + chunked(text("a"))], "connection lost"),
        ([HEAD + chunked(event({"error": {"message": "no room"}}) + DONE) + b"0\r\n\r\n"], "no room"),
        ([HEAD + chunked(event("{")) + chunked(DONE) + b"0\r\n\r\n"], "not JSON"),
        ([b"SSH-2.0\r\n\r\n"], "not HTTP"),
    ],
)
async def test_a_broken_reply_is_an_error_and_no_number(pieces, complaint):
    async with replying(pieces) as url:
        client = Client(url)
        reply = await client.stream("/x", {})
        client.close()
    assert reply.error
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError(reply.error)


async def test_nobody_listening_is_an_error():
    async with replying() as url:
        pass
    assert "cannot connect" in (await Client(url).stream("/x", {})).error


async def test_what_does_not_end_is_cut_at_the_limit_and_what_ended_counts():
    turns = [Turn([1, 2], 9, 2), Turn([1, 2, 3], 9, 3)]
    async with replying([WHOLE], [HEAD + chunked(text("forever")), None]) as url:
        client = Client(url)
        talks = [(0.0, Talk((turns[0],))), (0.05, Talk((turns[1],)))]
        outcome = await offer(client, Target("m", "/v1/completions"), talks, limit_s=0.4, max_concurrency=1)
        client.close()
    result = summarise(outcome, shown=["ttft"], percents=[99], goals_ms={"e2el": 10_000})
    assert result["completed"] == 1 and result["total_output_tokens"] == 9
    assert result["total_input_tokens"] == 4  # the server's count
    assert "0.4 s" in result["ended_early"] and "0.4 s" in describe(result)
    assert result["request_goodput"] == pytest.approx(1 / result["duration"])
    assert "p99_ttft_ms" in result and "p99_itl_ms" not in result
    assert details(outcome)["generated_texts"] == ["Hello"]


def test_a_url_without_scheme_is_refused():
    with pytest.raises(ConfigError, match="is not a URL"):
        Client("localhost:8000")
