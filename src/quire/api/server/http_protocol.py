"""uvicorn's httptools protocol with a bound on the header block, which uvicorn itself lets grow for ever."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSAL = (
    "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    "content-length: {}\r\n\r\n{}"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Counts bytes and lines that arrive before a header block is complete; closes the connection at the limit.
    A caller who does not read is cut off, too: after `max_unread_s` with the write buffer full.

    What one read brings is parsed before its bytes are counted, so a block may pass that is longer by one read.
    """

    max_header_bytes = 64 * 1024  # request line and headers; common servers take 8 to 64 KiB
    max_header_count = 256
    max_unread_s = 60.0
    _cut_off: asyncio.TimerHandle | None = None
    _is_in_headers = True
    _num_header_bytes = 0
    _num_headers = 0

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._is_in_headers:
            self._num_header_bytes = 0
            return
        self._num_header_bytes += len(data)
        if self._num_header_bytes > self.max_header_bytes:
            self._refuse(
                f"The request line and headers may hold at most {self.max_header_bytes // 1024} KiB."
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
        if self._num_headers > self.max_header_count:
            self._refuse(f"A request may have at most {self.max_header_count} header lines.")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._num_headers <= self.max_header_count:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._num_headers <= self.max_header_count:
            super().on_message_complete()

    def _refuse(self, message: str) -> None:
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "headers_too_large",
        }
        body = json.dumps({"error": error}, separators=(",", ":"))
        self.transport.write(_REFUSAL.format(len(body), body).encode())
        self.transport.close()


def http_protocol(*, max_header_bytes: int, max_header_count: int) -> type[BoundedHttpProtocol]:
    """The protocol with these limits, as a class, which is what uvicorn takes."""
    limits = {"max_header_bytes": max_header_bytes, "max_header_count": max_header_count}
    return type("LimitedHttpProtocol", (BoundedHttpProtocol,), limits)
