"""uvicorn's httptools protocol with a bound on the header block, which uvicorn itself lets grow for ever."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 1024  # request line and headers; common servers take 8 to 64 KiB

_REFUSAL_BODY = (
    b'{"error":{"message":"The request line and headers may hold at most 64 KiB.",'
    b'"type":"invalid_request_error","param":null,"code":"headers_too_large"}}'
)
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_REFUSAL_BODY), _REFUSAL_BODY)
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Counts the bytes that arrive before a header block is complete, and closes the connection at the limit.

    What one read brings is parsed before it is counted, so a block may pass that is longer by one read.
    """

    _is_in_headers = True
    _num_header_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if not self._is_in_headers:
            self._num_header_bytes = 0
            return
        self._num_header_bytes += len(data)
        if self._num_header_bytes > MAX_HEADER_BYTES:
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_headers = True

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._is_in_headers = False
