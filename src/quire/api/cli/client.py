"""A small client of an OpenAI-compatible server, on the standard library alone: JSON calls and token streams."""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Iterator
from typing import Any
from urllib.parse import urlsplit

from quire.base.errors import ConfigError, QuireError

CONNECT_TIMEOUT_S = 10.0


class ServerProblem(QuireError):
    """The server cannot be reached, or answered with an error. The message is for the person at the terminal."""


class ApiClient:
    """Calls below one base URL (`http://localhost:8000/v1`). One connection per call."""

    def __init__(self, url: str, api_key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--url {url!r} is not a URL such as http://localhost:8000/v1", setting="url")
        self._url = url.rstrip("/")
        self._path = parts.path.rstrip("/")
        self._host, self._port = parts.hostname, parts.port
        self._is_secure = parts.scheme == "https"
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def model_names(self) -> list[str]:
        """Names the server answers to, its own first."""
        connection, response = self._open("GET", "/models", None)
        with connection:
            return [entry["id"] for entry in json.loads(response.read())["data"]]

    def stream(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The chunks of a streamed completion. Closing the iterator tells the server to stop."""
        connection, response = self._open("POST", path, {**body, "stream": True})
        with connection:
            yield from read_events(response)

    def _open(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> tuple[_Closing, http.client.HTTPResponse]:
        maker = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        connection = maker(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
            connection.sock.settimeout(None)  # an answer may take as long as it takes
            payload = None if body is None else json.dumps(body)
            connection.request(method, self._path + path, payload, self._headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            raise ServerProblem(
                f"no server answers at {self._url} ({problem or type(problem).__name__}); start one with "
                "`quire serve`, or name another with --url"
            ) from None
        if response.status != 200:
            with _Closing(connection):
                raise ServerProblem(_error_sentence(response.status, response.read(), self._url + path))
        return _Closing(connection), response


class _Closing:
    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def read_events(lines: Iterator[bytes] | http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Data of server-sent events up to [DONE]. Raises ServerProblem for an error event or an early end."""
    data: list[str] = []
    for line in lines:
        text = line.decode("utf-8").rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
            continue
        if text or not data:  # comments, other fields, keep-alive lines
            continue
        event = "\n".join(data)
        data = []
        if event == "[DONE]":
            return
        chunk: dict[str, Any] = json.loads(event)
        if "error" in chunk:
            raise ServerProblem(str(chunk["error"].get("message", chunk["error"])))
        yield chunk
    raise ServerProblem("the server closed the stream before the answer was complete")


def _error_sentence(status: int, body: bytes, url: str) -> str:
    """The server's own words where it has some, and what to do about the usual refusals."""
    try:
        error = json.loads(body)["error"]
        message = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace").strip()[:200] or "no explanation"
    remedies = {
        401: "; give the server's key with --api-key",
        404: "; check --url (it usually ends in /v1) and --model-name",
        503: "; it may still be loading, try again in a moment",
    }
    return f"{url} answered {status}: {message.rstrip('.')}{remedies.get(status, '')}"
