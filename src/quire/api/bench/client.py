"""A lean HTTP/1.1 client for many streams at once: one asyncio protocol per connection, parsed by httptools.

Load generator and server often share a few cores, so what a token costs here is taken from what is measured; and an
event's time is taken in the callback that got its bytes, not when some task is next scheduled.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools
import msgspec

from quire.base.errors import ConfigError

CONNECT_LIMIT_S = 30.0


@dataclass(slots=True)
class Reply:
    """What came of one request. Times are time.perf_counter() stamps; `event_times_s` has one for each event that
    brought text, `text` all of it. `error` is empty when the stream came to its proper end."""

    started_s: float
    ended_s: float = 0.0
    event_times_s: list[float] = field(default_factory=list)
    text: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str = ""


class _Connection(asyncio.Protocol):
    """One connection: writes a request, gathers the reply's events. Used for one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_open = False
        self._reply: Reply | None = None
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.is_open = transport, True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._finish(f"connection lost: {error or 'closed by the server'}")

    async def ask(self, head_and_body: bytes, reply: Reply) -> None:
        """Send a request and wait for its reply's end."""
        assert self.transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._reply, self._body, self._saw_end = reply, b"", False
        self._texts: list[str] = []
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(head_and_body)
        try:
            await self._done
        finally:
            self._reply = self._done = None

    def data_received(self, data: bytes) -> None:
        self._now_s = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as problem:
            self._finish(f"not HTTP: {problem}")
            self.close()

    def close(self) -> None:
        self.is_open = False
        if self.transport is not None:
            self.transport.close()

    # httptools calls these
    def on_body(self, body: bytes) -> None:
        self._body += body
        if self._parser.get_status_code() != 200:
            return
        *events, self._body = self._body.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            self._take(event)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.close()
        if status != 200:
            self._finish(f"HTTP {status}: {self._body.decode('utf-8', 'replace')[:300]}")
        elif self._saw_end:
            self._finish("")
        else:
            self._finish("the stream ended before [DONE]")

    def _take(self, event: bytes) -> None:
        """One server-sent event; comments and fields other than data are left out."""
        data = b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        reply = self._reply
        if not data or reply is None:
            return
        if data == b"[DONE]":
            self._saw_end = True
            return
        try:
            chunk = msgspec.json.decode(data)
        except msgspec.DecodeError:
            reply.error = "an event that is not JSON"
            return
        if "error" in chunk:
            reply.error = str(chunk["error"])[:300]
            return
        usage = chunk.get("usage")
        if usage:
            reply.prompt_tokens, reply.completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        for choice in chunk.get("choices") or ():
            self._take_choice(choice, reply)

    def _take_choice(self, choice: dict[str, Any], reply: Reply) -> None:
        """Anything a choice brings counts, also text that is empty because half a character came."""
        if "delta" in choice:
            delta = choice["delta"]
            text = delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or ""
            if not text and not delta.get("tool_calls"):
                return  # the role, or the finish reason alone
        else:
            text = choice.get("text") or ""
            if not text and choice.get("finish_reason"):
                return
        reply.event_times_s.append(self._now_s)
        self._texts.append(text)

    def _finish(self, error: str) -> None:
        if self._reply is None or self._done is None or self._done.done():
            return
        self._reply.ended_s = time.perf_counter()
        self._reply.text = "".join(self._texts)
        self._reply.error = self._reply.error or error
        self._done.set_result(None)


class Client:
    """Calls below one base URL; idle connections are used again."""

    def __init__(self, base_url: str, *, api_key: str = "", headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--base-url {base_url!r} is not a URL such as http://127.0.0.1:8000")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/")
        self._idle: list[_Connection] = []
        fields = {
            "Host": parts.netloc.rpartition("@")[2],
            "Content-Type": "application/json",
            **(headers or {}),
        }
        if api_key:
            fields["Authorization"] = f"Bearer {api_key}"
        for name, value in fields.items():
            if any(letter in name + value for letter in "\r\n"):
                raise ConfigError(f"--header {name}: a header cannot hold a line break")
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def stream(self, path: str, body: dict[str, Any]) -> Reply:
        """POST `body` and take the streamed reply in. Failures are told in the reply, never raised."""
        payload = msgspec.json.encode(body)
        head = f"POST {self._path}{path} HTTP/1.1\r\n{self._head}Content-Length: {len(payload)}\r\n\r\n"
        reply = Reply(time.perf_counter())
        try:
            connection = await self._connection()
        except (OSError, TimeoutError) as problem:
            reply.ended_s, reply.error = time.perf_counter(), f"cannot connect: {problem or 'timed out'}"
            return reply
        try:
            await connection.ask(head.encode() + payload, reply)
        except asyncio.CancelledError:
            connection.close()
            raise
        if connection.is_open:
            self._idle.append(connection)
        return reply

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        opening = loop.create_connection(_Connection, self._host, self._port, ssl=self._tls)
        _, connection = await asyncio.wait_for(opening, CONNECT_LIMIT_S)
        return connection
