"""A server that answers each request with the next of its scripts: raw bytes, in pieces, or a broken connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Script:
    """One reply. `pieces` are written one by one; without `is_whole` the connection breaks off after them."""

    status: int = 200
    content_type: str = "text/event-stream"
    pieces: list[bytes] = field(default_factory=list)
    is_whole: bool = True
    hangs: bool = False


class ScriptedServer:
    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.num_hung_up = 0
        self.port = 0

    def will_stream(self, *pieces: bytes, **more: Any) -> None:
        self.scripts.append(Script(pieces=list(pieces), **more))

    def will_reply(self, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.scripts.append(Script(status, "application/json", [data]))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedServer]:
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except ConnectionError:
            self.num_hung_up += 1
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((first, headers, json.loads(body) if body else None))
        script = self.scripts.pop(0)
        head = f"HTTP/1.1 {script.status} X\r\nContent-Type: {script.content_type}\r\n"
        writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in script.pieces:
            if piece:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(0)
        if script.hangs and not await reader.read(1):
            raise ConnectionResetError
        if script.is_whole:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
