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
from quire.base.config import ServerConfig
from quire.base.constraints import CANNOT_FOLLOW
from quire.base.errors import EngineDead, InvalidValue
from quire.base.messages import NOTHING_TO_CHOOSE, REFUSED_ARGUMENTS, EngineRequest
from quire.text.session import BeamSearchParams, RequestOutput, Session

logger = logging.getLogger("quire.server")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An engine request whose every limit was applied, and the prompt's text where there was one.

    `shown_ids` are special tokens that the reply's text shows in any case, for whoever parses it. With `beams` the
    samples are the best continuations that a beam search finds.
    """

    request: EngineRequest
    prompt_text: str | None
    shown_ids: frozenset[int] = frozenset()
    beams: BeamSearchParams | None = None

    def outputs(self, session: Session) -> AsyncGenerator[RequestOutput, None]:
        if self.beams is not None:
            return session.beam_search(self.request, self.beams, self.prompt_text, shown_ids=self.shown_ids)
        return session.stream(self.request, self.prompt_text, shown_ids=self.shown_ids)


Outputs: TypeAlias = AsyncGenerator[tuple[int, RequestOutput], None]


def generate(service: Service, session: Session, prepared: Sequence[Prepared]) -> Outputs:
    """Deltas of all requests as they come, each with the number of its request. Closing it aborts the rest.

    Of several samples some may end in an error. Raises SequenceFailed when all of a
    request do, Unavailable when a shutdown cut it short, EngineDead.
    """
    _log_requests(service, prepared)
    return _one(service, session, prepared[0]) if len(prepared) == 1 else _many(service, session, prepared)


async def _one(service: Service, session: Session, item: Prepared, number: int = 0) -> Outputs:
    config = service.config
    watchers: list[RequestMeter | RequestTrace | AnswerLog] = [RequestMeter(service.metrics, item.request)]
    if service.tracer is not None:
        watchers.append(service.tracer.begin(item.request))
    if config.enable_log_outputs or config.enable_log_deltas:
        watchers.append(AnswerLog(config, item.request.request_id))
    errors: list[str] = []
    try:
        async with aclosing(item.outputs(session)) as outputs:
            async for output in outputs:
                for watcher in watchers:
                    watcher.saw(output)
                errors += [sample.error or "" for sample in output.outputs if sample.finish_reason == "error"]
                if len(errors) == item.request.sampling.n:
                    raise _failure(item, errors[-1])
                yield number, output
    except EngineDead as error:
        if service.is_draining:
            raise Unavailable("The server is shutting down.", retry_after_s=DRAINING_RETRY_S) from error
        raise
    finally:
        for watcher in watchers:
            watcher.close()


class AnswerLog:
    """Writes what is answered into the log, where the operator asks for it: each piece, or each whole answer."""

    def __init__(self, config: ServerConfig, request_id: str) -> None:
        self._logs_whole = config.enable_log_outputs
        self._logs_deltas = config.enable_log_deltas
        self._max_chars = config.max_log_chars
        self._request_id = request_id
        self._texts: dict[int, list[str]] = {}

    def saw(self, output: RequestOutput) -> None:
        for sample in output.outputs:
            if self._logs_whole:
                self._texts.setdefault(sample.index, []).append(sample.text)
            if self._logs_deltas and sample.text:
                logger.info("request %s, sample %d: %r", self._request_id, sample.index, sample.text)
            if self._logs_whole and sample.finish_reason is not None:
                text = "".join(self._texts.pop(sample.index))[: self._max_chars]
                logger.info(
                    "request %s, sample %d answered (%s): %r",
                    self._request_id,
                    sample.index,
                    sample.finish_reason,
                    text,
                )

    def close(self) -> None:
        """What was not finished is not logged."""


def _failure(item: Prepared, error: str) -> Exception:
    """Ours, unless the caller's fields leave no token to choose, the grammar became more than can be followed, or a
    logits processor refused its part."""
    if error.startswith(REFUSED_ARGUMENTS):
        return InvalidValue(f"vllm_xargs: {error.removeprefix(REFUSED_ARGUMENTS)}", field="vllm_xargs")
    if error.startswith(NOTHING_TO_CHOOSE):
        return InvalidValue(f"The request's fields leave no token to choose: {error}")
    if error.startswith(CANNOT_FOLLOW):
        return InvalidValue(f"structured_outputs: {error}", field="structured_outputs")
    logger.error("%s ended: %s", item.request.request_id, error)
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
