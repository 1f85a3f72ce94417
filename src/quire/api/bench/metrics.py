"""What a run against a server comes to. Names are those of the field's serving benchmark, so that results compare."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from quire.api.bench.client import Reply
from quire.api.bench.load import Outcome
from quire.api.bench.statistics import figures, most_in_flight

NAMES = {
    "ttft": "Time to first token",
    "tpot": "Time per output token after the first",
    "itl": "Between two events of a stream",
    "e2el": "Whole request",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """One finished request in seconds. `gaps_s` lie between its events, `per_token_s` is None for one token."""

    first_s: float
    total_s: float
    gaps_s: list[float]
    output_tokens: int

    @property
    def per_token_s(self) -> float | None:
        return (self.total_s - self.first_s) / (self.output_tokens - 1) if self.output_tokens > 1 else None


def timing_of(reply: Reply) -> Timing:
    """Of a reply without error. Its last token's time is the whole; tokens are the server's count, else events."""
    times = reply.event_times_s or [reply.ended_s]
    tokens = reply.completion_tokens if reply.completion_tokens is not None else len(reply.event_times_s)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    return Timing(times[0] - reply.started_s, times[-1] - reply.started_s, gaps, tokens)


def measures(timings: Iterable[Timing]) -> dict[str, list[float]]:
    """Seconds by measure."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for timing in timings:
        found["ttft"].append(timing.first_s)
        found["itl"] += timing.gaps_s
        found["e2el"].append(timing.total_s)
        if timing.per_token_s is not None:
            found["tpot"].append(timing.per_token_s)
    return found


def summarise(
    outcome: Outcome, *, shown: Collection[str], percents: Sequence[float], goals_ms: dict[str, float]
) -> dict[str, Any]:
    """The result's figures. `shown` are measures whose percentiles count; `goals_ms` bounds what counts as good."""
    good = [(turn, reply) for turn, reply in outcome.replies if not reply.error]
    timings = [timing_of(reply) for _, reply in good]
    duration = outcome.duration_s or 1e-9
    inputs = [
        turn.prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens for turn, reply in good
    ]
    outputs = [timing.output_tokens for timing in timings]
    result: dict[str, Any] = {
        "duration": outcome.duration_s,
        "completed": len(good),
        "failed": len(outcome.replies) - len(good),
        "total_input_tokens": sum(inputs),
        "total_output_tokens": sum(outputs),
        "request_throughput": len(good) / duration,
        "output_throughput": sum(outputs) / duration,
        "total_token_throughput": (sum(inputs) + sum(outputs)) / duration,
        "max_concurrent_requests": most_in_flight((reply.started_s, reply.ended_s) for _, reply in good),
        "ended_early": outcome.was_cut,
    }
    if goals_ms:
        result["request_goodput"] = sum(_meets(timing, goals_ms) for timing in timings) / duration
    for name, values in measures(timings).items():
        result |= figures(name, values, percents if name in shown else ())
    return result


def _meets(timing: Timing, goals_ms: dict[str, float]) -> bool:
    per_token_s = timing.per_token_s or 0.0
    have_s = {"ttft": timing.first_s, "tpot": per_token_s, "e2el": timing.total_s}
    return all(1000 * have_s[name] <= goal for name, goal in goals_ms.items())


def details(outcome: Outcome) -> dict[str, Any]:
    """Every request by itself, for `--save-detailed`."""
    good = [(turn, reply, timing_of(reply)) for turn, reply in outcome.replies if not reply.error]
    return {
        "input_lens": [reply.prompt_tokens or turn.prompt_tokens for turn, reply, _ in good],
        "output_lens": [timing.output_tokens for *_, timing in good],
        "ttfts": [timing.first_s for *_, timing in good],
        "itls": [timing.gaps_s for *_, timing in good],
        "generated_texts": [reply.text for _, reply, _ in good],
        "errors": [reply.error for _, reply in outcome.replies if reply.error],
    }


def describe(result: dict[str, Any]) -> str:
    """A table for a person."""
    rows = [
        f"{result['completed']} requests in {result['duration']:.2f} s, {result['failed']} failed, "
        f"at most {result['max_concurrent_requests']} at once"
        + (f"; ended early by {result['ended_early']}" if result["ended_early"] else ""),
        f"tokens in {result['total_input_tokens']}, out {result['total_output_tokens']}",
        f"per second: {result['request_throughput']:.2f} requests, {result['output_throughput']:.1f} output tokens, "
        f"{result['total_token_throughput']:.1f} tokens in all",
    ]
    if "request_goodput" in result:
        rows.append(f"requests within the goals per second: {result['request_goodput']:.2f}")
    for name, words in NAMES.items():
        suffix = f"_{name}_ms"
        cells = [
            f"{key.removesuffix(suffix)} {value:.2f}" for key, value in result.items() if key.endswith(suffix)
        ]
        rows.append(f"{words + ' (ms)':<44} {'  '.join(cells)}")
    return "\n".join(rows)
