"""`LLM.beam_search`: searches over several prompts, step by step, on the engine in this process."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quire.base.messages import EngineRequest, FinishReason, PositionLogprobs, SamplingParams, TokenEvent
from quire.engine.client import InProcessClient
from quire.text.session import (
    BeamSearch,
    BeamSearchParams,
    Logprob,
    Session,
    finished_output,
    position_of,
    step_request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tqdm import tqdm


@dataclass(slots=True)
class BeamSearchSequence:
    """One continuation. As in vLLM, `tokens` and `text` begin with the prompt; `logprobs` are of the output alone."""

    tokens: list[int]
    logprobs: Sequence[dict[int, Logprob]]
    cum_logprob: float
    text: str
    finish_reason: FinishReason | None
    stop_reason: int | str | None = None


@dataclass(slots=True)
class BeamSearchOutput:
    """A prompt's continuations, best first."""

    sequences: list[BeamSearchSequence] = field(default_factory=list)


def search_beams(
    client: InProcessClient,
    session: Session,
    requests: list[EngineRequest],
    params: BeamSearchParams,
    *,
    at_once: int,
    bar: tqdm[Any] | None,
) -> list[BeamSearchOutput]:
    """`requests` are whole searches; their order is that of the answers."""
    sampling = params.step_sampling(params.num_candidates, session.config.max_logprobs)
    waiting = deque(enumerate(requests))
    under_way: dict[int, BeamSearch] = {}
    found: dict[int, BeamSearchOutput] = {}
    while waiting or under_way:
        while waiting and len(under_way) < at_once:
            number, request = waiting.popleft()
            under_way[number] = BeamSearch(len(request.prompt_token_ids), params, request.eos_token_ids)
        answers = _step(client, {number: requests[number] for number in under_way}, under_way, sampling)
        for number, search in list(under_way.items()):
            search.advance(answers[number])
            if search.is_done:
                del under_way[number]
                found[number] = _output(session, requests[number], search)
                if bar is not None:
                    bar.update()
    if bar is not None:
        bar.close()
    return [found[number] for number in range(len(requests))]


def _step(
    client: InProcessClient,
    requests: dict[int, EngineRequest],
    searches: dict[int, BeamSearch],
    sampling: SamplingParams,
) -> dict[int, list[PositionLogprobs]]:
    """One token of every live beam; aborts what is left when anything goes wrong."""
    asked = {
        number: [
            step_request(requests[number], beam, sampling, str(place))
            for place, beam in enumerate(search.live)
        ]
        for number, search in searches.items()
    }
    names = [one.request_id for several in asked.values() for one in several]
    ends: dict[str, TokenEvent] = {}
    try:
        for several in asked.values():
            for one in several:
                client.submit(one)
        while len(ends) < len(names):
            ends |= {event.request_id: event for event in client.step() if event.finish_reason is not None}
    finally:
        for name in names:
            if name not in ends:
                client.abort(name)
    return {
        number: [position_of(ends[one.request_id]) for one in several] for number, several in asked.items()
    }


def _output(session: Session, request: EngineRequest, search: BeamSearch) -> BeamSearchOutput:
    output = finished_output(request, search, session.tokenizer, None)
    shows_special = not request.sampling.skip_special_tokens
    sequences: list[BeamSearchSequence] = []
    for sample in output.outputs:
        is_cut = sample.finish_reason == "stop" and not request.sampling.include_stop_str_in_output
        tokens = [*request.prompt_token_ids, *sample.token_ids[: -1 if is_cut else None]]
        sequences.append(
            BeamSearchSequence(
                tokens=tokens,
                logprobs=sample.logprobs or [],
                cum_logprob=sample.cumulative_logprob or 0.0,
                text=session.tokenizer.decode(tokens, skip_special_tokens=not shows_special),
                finish_reason=sample.finish_reason,
            )
        )
    return BeamSearchOutput(sequences)
