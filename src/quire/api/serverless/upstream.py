"""HTTP to the local server: one connection per job, whole replies or the bytes of a stream as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from quire.api.serverless.failures import JobError, ServerLost
from quire.api.serverless.job_input import Call

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT_S = 10.0


class Upstream:
    """The local server by its port. `api_key` is what it wants from clients, "" for nothing."""

    def __init__(self, port: int, *, api_key: str, timeout_s: float, quotes_status: bool) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._quotes_status = quotes_status  # error messages in the words of today's worker

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncGenerator[Reply, None]:
        """The reply to a call; leaving the block (or the end of the running task) ends the work over there.

        Raises ServerLost when the server goes away, JobError for an error reply or a timeout.
        """
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, auto_decompress=True) as session,
                session.request(
                    call.method,
                    self._url(call.route),
                    json=call.body,
                    headers=self._headers,
                    allow_redirects=False,
                ) as response,
            ):
                self._end_with_task(response)
                if response.status >= 300:
                    raise self._refusal(response.status, await response.text("utf-8", "replace"))
                yield Reply(response)
        except TimeoutError:
            raise JobError(
                f"Request to vLLM failed: no answer after {self._timeout_s:g} s (REQUEST_TIMEOUT)",
                kind="worker_error",
                code=504,
            ) from None
        except aiohttp.ClientError as problem:
            raise ServerLost(f"Request to vLLM failed: {problem or type(problem).__name__}") from None

    def _url(self, route: str) -> Any:
        """Built from parts: nothing in a route can become a host."""
        from yarl import URL

        path, _, query = route.partition("?")
        return URL.build(
            scheme="http", host="127.0.0.1", port=self._port, path=path, query_string=query, encoded=True
        )

    @staticmethod
    def _end_with_task(response: aiohttp.ClientResponse) -> None:
        """A cancelled job may leave its generator waiting to be collected; the connection must not wait with it."""
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(lambda _: response.close())

    def _refusal(self, status: int, text: str) -> JobError:
        """An error reply in the server's own words."""
        try:
            error = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            error = None
        if not isinstance(error, dict):
            error = {"message": text.strip()[:1000] or "no explanation", "type": "server_error"}
        if status == 503 and error.get("code") != "overloaded":
            return ServerLost(str(error.get("message")))
        message = str(error.get("message"))
        code = error.get("code", status)
        if self._quotes_status:
            message, code = f"vLLM returned HTTP {status}: {text.strip()[:1000]}", status
        return JobError(message, kind=str(error.get("type")), param=error.get("param"), code=code)


class Reply:
    """A reply with status 200."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def is_stream(self) -> bool:
        return bool(self._response.content_type == "text/event-stream")

    async def whole(self) -> Any:
        """The decoded JSON, or the text where it is none."""
        text = await self._response.text("utf-8")
        if self._response.content_type == "application/json":
            return json.loads(text)
        return text or {"status": self._response.status}

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._response.content.iter_any():
            yield piece
