"""uvicorn's httptools protocol with bounds on what a caller may send, how slowly, and leave unread."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSAL = (
    "HTTP/1.1 {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{}"
)
_TOO_LARGE = "431 Request Header Fields Too Large", "invalid_request_error", "headers_too_large"
_OVERLOADED = "503 Service Unavailable\r\nretry-after: 1", "overloaded", "overloaded"


class Arriving:
    """Bytes of bodies that are not complete yet, over all connections of a server."""

    num_bytes = 0


class BoundedHttpProtocol(HttpToolsProtocol):
    """Counts bytes and lines that arrive before a header block is complete; closes the connection at the limit, or
    when the block is not complete after `max_header_s`. A caller who does not read is cut off, too: after
    `max_unread_s` with the write buffer full. All bodies together that are still arriving may hold
    `max_arriving_bytes`: one byte more is refused.

    What one read brings is parsed before its bytes are counted, so a block may pass that is longer by one read.
    """

    max_header_bytes = 64 * 1024  # request line and headers; common servers take 8 to 64 KiB
    max_header_count = 256
    max_header_s = 30.0  # from the connection, or the first byte of a further request
    max_unread_s = 60.0
    max_arriving_bytes = 512 * 1024 * 1024  # sixteen of the largest
    arriving = Arriving()
    _num_body_bytes = 0
    _headers_due: asyncio.TimerHandle | None = None
    _cut_off: asyncio.TimerHandle | None = None
    _is_in_headers = True
    _num_header_bytes = 0
    _num_headers = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._is_in_headers:
            self._num_header_bytes = 0
            return
        self._expect_headers()
        self._num_header_bytes += len(data)
        if self._num_header_bytes > self.max_header_bytes:
            self._refuse(
                f"The request line and headers may hold at most {self.max_header_bytes // 1024} KiB.",
                *_TOO_LARGE,
            )

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut_off = self.loop.call_later(self.max_unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read_again()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._read_again()
        self._headers_came()
        self._body_came()

    def _expect_headers(self) -> None:
        is_replying = self.cycle is not None and not self.cycle.response_complete
        if self._headers_due is None and not is_replying:
            self._headers_due = self.loop.call_later(self.max_header_s, self.transport.close)

    def _headers_came(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _read_again(self) -> None:
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_headers = True
        self._num_headers = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._num_headers += 1
        if self._num_headers <= self.max_header_count:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_headers = False
        self._headers_came()
        if self._num_headers > self.max_header_count:
            self._refuse(f"A request may have at most {self.max_header_count} header lines.", *_TOO_LARGE)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._num_headers > self.max_header_count:
            return
        self._num_body_bytes += len(body)
        self.arriving.num_bytes += len(body)
        if self.arriving.num_bytes > self.max_arriving_bytes:
            self._refuse(
                "The server is reading as many bodies as it has room for. Try again later.", *_OVERLOADED
            )
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_came()
        if self._num_headers <= self.max_header_count:
            super().on_message_complete()

    def _body_came(self) -> None:
        self.arriving.num_bytes -= self._num_body_bytes
        self._num_body_bytes = 0

    def _refuse(self, message: str, status: str, kind: str, code: str) -> None:
        error = {"message": message, "type": kind, "param": None, "code": code}
        body = json.dumps({"error": error}, separators=(",", ":"))
        self.transport.write(_REFUSAL.format(status, len(body), body).encode())
        self.transport.close()


def http_protocol(*, max_header_bytes: int, max_header_count: int) -> type[BoundedHttpProtocol]:
    """The protocol with these limits, as a class, which is what uvicorn takes."""
    limits = {
        "max_header_bytes": max_header_bytes,
        "max_header_count": max_header_count,
        "arriving": Arriving(),
    }
    return type("LimitedHttpProtocol", (BoundedHttpProtocol,), limits)
