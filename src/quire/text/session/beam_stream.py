"""A beam search as a stream of one output: its steps run on the engine like any other requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol

from quire.base.config import EngineConfig
from quire.base.errors import EngineFault
from quire.base.messages import EngineRequest, PositionLogprobs, RequestTimes, TokenEvent
from quire.text.session.beams import BeamSearch, BeamSearchParams, beam_output, step_request
from quire.text.session.outputs import RequestOutput
from quire.text.tokenizer import Tokenizer


class Engine(Protocol):
    def submit(self, request: EngineRequest) -> AsyncIterator[list[TokenEvent]]: ...

    def abort(self, request_id: str, index: int | None = None) -> None: ...


async def search_beams(
    engine: Engine,
    request: EngineRequest,
    params: BeamSearchParams,
    tokenizer: Tokenizer,
    config: EngineConfig,
    prompt_text: str | None,
    shown_ids: frozenset[int],
) -> RequestOutput:
    """The best continuations as finished samples, best first. Cancelled, it gives up what the engine works on."""
    sampling = params.step_sampling(request.sampling.logprobs or 0, config.max_logprobs)
    search = BeamSearch(len(request.prompt_token_ids), params, request.eos_token_ids)
    first_token_s = scheduled_s = 0.0
    num_steps = num_cached_tokens = 0
    while not search.is_done:
        names = [f"{num_steps}.{place}" for place in range(len(search.live))]
        asked = [
            step_request(request, beam, sampling, name) for beam, name in zip(search.live, names, strict=True)
        ]
        answers = await _all([asyncio.create_task(_next_position(engine, one)) for one in asked])
        if not num_steps:
            first = answers[0]
            num_cached_tokens = first.num_cached_tokens
            scheduled_s = first.times.scheduled_s if first.times else 0.0
            first_token_s = time.monotonic()
        search.advance(position_of(answer) for answer in answers)
        num_steps += 1
    times = RequestTimes(request.arrival_s, scheduled_s, first_token_s, time.monotonic())
    return finished_output(
        request, search, tokenizer, prompt_text, shown_ids, num_cached_tokens=num_cached_tokens, times=times
    )


def finished_output(
    request: EngineRequest,
    search: BeamSearch,
    tokenizer: Tokenizer,
    prompt_text: str | None,
    shown_ids: frozenset[int] = frozenset(),
    *,
    num_cached_tokens: int = 0,
    times: RequestTimes | None = None,
) -> RequestOutput:
    return RequestOutput(
        request_id=request.request_id,
        prompt=prompt_text,
        prompt_token_ids=request.prompt_token_ids,
        outputs=[
            beam_output(request, index, beam, tokenizer, shown_ids)
            for index, beam in enumerate(search.best())
        ],
        finished=True,
        num_cached_tokens=num_cached_tokens,
        times=times,
    )


async def _all(tasks: list[asyncio.Task[TokenEvent]]) -> list[TokenEvent]:
    """What all of them return; when one raises or this is cancelled, none is left running."""
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next_position(engine: Engine, request: EngineRequest) -> TokenEvent:
    is_open = True
    try:
        async for events in engine.submit(request):
            for event in events:
                if event.finish_reason is not None:
                    is_open = False
                    return event
        raise EngineFault(f"the engine ended request {request.request_id} without a finish reason")
    finally:
        if is_open:
            engine.abort(request.request_id)


def position_of(event: TokenEvent) -> PositionLogprobs:
    """Raises EngineFault where the step failed."""
    if event.finish_reason == "error" or not event.logprobs:
        raise EngineFault(f"a step of beam search failed: {event.error or event.finish_reason}")
    return event.logprobs[0]
