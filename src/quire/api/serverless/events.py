"""Server-sent events as frames of text: cut where a frame ends, so that no character is ever cut."""

from __future__ import annotations

import json
import re
from typing import Any

from quire.api.serverless.failures import JobError, ServerLost

_END = re.compile(rb"\r?\n\r?\n")
DONE = "[DONE]"


class FrameSplitter:
    """Bytes in, as the network cuts them; whole frames out, with the blank line that ends each."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[str]:
        self._rest += data
        frames: list[str] = []
        start = 0
        for end in _END.finditer(self._rest):
            frames.append(self._rest[start : end.end()].decode("utf-8", "replace"))
            start = end.end()
        del self._rest[:start]
        return frames

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left over: the stream ended with a whole frame."""
        return not self._rest.strip()


def frame_data(frame: str) -> str:
    """The data of a frame; "" for comments and keep-alives."""
    lines = frame.replace("\r\n", "\n").split("\n")  # not splitlines: JSON may hold U+2028 and its kin
    return "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))


def frame_json(frame: str) -> dict[str, Any] | None:
    """The chunk a frame carries; None for [DONE], comments and what is no object. Raises JobError for an error."""
    data = frame_data(frame)
    if not data or data == DONE:
        return None
    try:
        chunk = json.loads(data)
    except ValueError:
        return None
    if not isinstance(chunk, dict):
        return None
    error = chunk.get("error")
    if error and "choices" not in chunk:
        raise stream_error(error)
    return chunk


def stream_error(error: object) -> JobError:
    """An error that came as an event, after the reply had begun."""
    if not isinstance(error, dict):
        return JobError(str(error), kind="server_error", code=500)
    if error.get("code") == "engine_dead":
        return ServerLost(str(error.get("message")))
    return JobError(
        str(error.get("message", error)),
        kind=str(error.get("type", "server_error")),
        param=error.get("param"),
        code=error.get("code", 500),
    )
