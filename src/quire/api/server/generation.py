"""From prepared engine requests to the outputs of a reply: merged, metered, and given up when nobody reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from quire.api.server.errors import SequenceFailed, Unavailable
from quire.api.server.metrics import RequestMeter
from quire.api.server.service import DRAINING_RETRY_S, Service
from quire.api.tracing import RequestTrace
from quire.base.constraints import CANNOT_FOLLOW
from quire.base.errors import EngineDead, InvalidValue
from quire.base.messages import REFUSED_ARGUMENTS, EngineRequest
from quire.text.session import RequestOutput, Session

logger = logging.getLogger("quire.server")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An engine request whose every limit was applied, and the prompt's text where there was one.

    `shown_ids` are special tokens that the reply's text shows in any case, for whoever parses it.
    """

    request: EngineRequest
    prompt_text: str | None
    shown_ids: frozenset[int] = frozenset()


Outputs: TypeAlias = AsyncGenerator[tuple[int, RequestOutput], None]


async def generate(service: Service, session: Session, prepared: Sequence[Prepared]) -> Outputs:
    """Deltas of all requests as they come, each with the number of its request. Closing it aborts the rest.

    Of several samples some may end in an error. Raises SequenceFailed when all of a
    request do, Unavailable when a shutdown cut it short, EngineDead.
    """
    _log_requests(service, prepared)
    source = _one(service, session, prepared[0]) if len(prepared) == 1 else _many(service, session, prepared)
    try:
        async with aclosing(source) as outputs:
            async for item in outputs:
                yield item
    except EngineDead as error:
        if service.is_draining:
            raise Unavailable("The server is shutting down.", retry_after_s=DRAINING_RETRY_S) from error
        raise


async def _one(service: Service, session: Session, item: Prepared, number: int = 0) -> Outputs:
    watchers: list[RequestMeter | RequestTrace] = [RequestMeter(service.metrics, item.request)]
    if service.tracer is not None:
        watchers.append(service.tracer.begin(item.request))
    errors: list[str] = []
    try:
        async with aclosing(
            session.stream(item.request, item.prompt_text, shown_ids=item.shown_ids)
        ) as outputs:
            async for output in outputs:
                for watcher in watchers:
                    watcher.saw(output)
                errors += [sample.error or "" for sample in output.outputs if sample.finish_reason == "error"]
                if len(errors) == item.request.sampling.n:
                    raise _failure(item, errors[-1])
                yield number, output
    finally:
        for watcher in watchers:
            watcher.close()


def _failure(item: Prepared, error: str) -> Exception:
    """Ours, unless the caller's grammar became more than can be followed, or a logits processor refused its part."""
    if error.startswith(REFUSED_ARGUMENTS):
        return InvalidValue(f"vllm_xargs: {error.removeprefix(REFUSED_ARGUMENTS)}", field="vllm_xargs")
    if error.startswith(CANNOT_FOLLOW):
        return InvalidValue(f"structured_outputs: {error}", field="structured_outputs")
    return SequenceFailed(item.request.request_id)


async def _many(service: Service, session: Session, prepared: Sequence[Prepared]) -> Outputs:
    """All requests at once, their outputs in order of arrival."""
    # bounded: while nobody reads, the pumps wait, and behind them the requests
    arrived: asyncio.Queue[tuple[int, RequestOutput] | Exception | None] = asyncio.Queue(len(prepared))

    async def pump(number: int, item: Prepared) -> None:
        try:
            async with aclosing(_one(service, session, item, number)) as outputs:
                async for pair in outputs:
                    await arrived.put(pair)
            await arrived.put(None)
        except Exception as error:  # noqa: BLE001  handed to the reader, who raises it
            await arrived.put(error)

    pumps = [asyncio.create_task(pump(number, item)) for number, item in enumerate(prepared)]
    try:
        num_open = len(pumps)
        while num_open:
            news = await arrived.get()
            if news is None:
                num_open -= 1
            elif isinstance(news, Exception):
                raise news
            else:
                yield news
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def _log_requests(service: Service, prepared: Sequence[Prepared]) -> None:
    """Names and sizes; what people write stays out of the log, unless its level is DEBUG."""
    if service.config.enable_log_requests:
        for item in prepared:
            logger.info(
                "request %s: %d prompt tokens, %s",
                item.request.request_id,
                len(item.request.prompt_token_ids),
                item.request.sampling,
            )
            if logger.isEnabledFor(logging.DEBUG):
                prompt = item.prompt_text if item.prompt_text is not None else item.request.prompt_token_ids
                shown = prompt[: service.config.max_log_chars]
                logger.debug("request %s asks: %r", item.request.request_id, shown)
