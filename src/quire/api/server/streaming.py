"""A streamed reply: events go out as they come, an error becomes an event, and the route's ending comes last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, nullcontext

from starlette.types import Receive, Scope, Send

from quire.api.server.disconnect import ClientGone, unless_disconnected
from quire.api.server.errors import error_body
from quire.api.server.replies import DONE, event, send_events, start_events
from quire.api.server.service import Service
from quire.base.errors import QuireError

KEEP_ALIVE = b": keep-alive\n\n"
logger = logging.getLogger("quire.server")


async def kept_alive(events: AsyncIterator[bytes], interval_s: float) -> AsyncIterator[bytes]:
    """The events, with a comment line wherever none came for `interval_s`. Comments say nothing."""
    waiting: asyncio.Future[bytes] | None = None
    try:
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({waiting}, timeout=interval_s)
            if not done:
                yield KEEP_ALIVE
                continue
            arrived, waiting = waiting, None
            try:
                data = arrived.result()
            except StopAsyncIteration:
                return
            yield data
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


class StreamedReply:
    """An ASGI response over ready-made event bytes. Hanging up closes the generator, which aborts the work.

    `spell_error` makes an event of an error, `ending` comes after everything else. `is_work` is false where the
    stream only tells of work that is counted already.
    """

    def __init__(
        self,
        service: Service,
        events: AsyncGenerator[bytes, None],
        *,
        spell_error: Callable[[Exception], bytes] = lambda error: event(error_body(error)),
        ending: bytes = DONE,
        is_work: bool = True,
    ) -> None:
        self._service = service
        self._events = events
        self._spell_error = spell_error
        self._ending = ending
        self._is_work = is_work

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with self._service.under_way() if self._is_work else nullcontext():
            try:
                await unless_disconnected(receive, self._write(send))
            except ClientGone:
                return

    async def _write(self, send: Send) -> None:
        await start_events(send)
        interval_s = self._service.config.sse_keep_alive_s
        async with aclosing(self._events) as events:
            try:
                async for data in kept_alive(events, interval_s) if interval_s else events:
                    await send_events(send, data)
            except Exception as error:
                if not isinstance(error, QuireError):
                    logger.exception("a stream failed")
                await send_events(send, self._spell_error(error))
        await send_events(send, self._ending, last=True)
