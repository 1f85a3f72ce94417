"""Token counts of a reply, as OpenAI's `usage` object."""

from __future__ import annotations

import msgspec

from quire.api.server.service import Service
from quire.text.session import RequestOutput


class PromptTokensDetails(msgspec.Struct):
    cached_tokens: int


class Usage(msgspec.Struct, omit_defaults=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None


class RequestTimings(msgspec.Struct):
    """Where one HTTP request's time went, in seconds; of several prompts the slowest of each stage."""

    queued_s: float
    prefill_s: float
    decode_s: float
    total_s: float
    num_preemptions: int

    @property
    def header(self) -> str:
        """As the value of a Server-Timing header, in milliseconds."""
        stages = {"queue": self.queued_s, "prefill": self.prefill_s, "decode": self.decode_s}
        stages["total"] = self.total_s
        return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in stages.items())


def timing_header(timings: RequestTimings | msgspec.UnsetType) -> dict[str, str]:
    return {} if isinstance(timings, msgspec.UnsetType) else {"server-timing": timings.header}


def usage_tally(service: Service) -> UsageTally:
    config = service.config
    return UsageTally(
        with_details=config.enable_prompt_tokens_details, with_timings=config.enable_per_request_metrics
    )


class UsageTally:
    """Adds up one HTTP request: each prompt once, however many samples are drawn from it."""

    def __init__(self, *, with_details: bool, with_timings: bool = False) -> None:
        self._with_details = with_details
        self._with_timings = with_timings
        self._outputs: list[RequestOutput] = []  # the last of each prompt
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._cached_tokens: dict[int, int] = {}

    def note(self, number: int, output: RequestOutput) -> None:
        """Remember how much of prompt `number` came from the prefix cache, and the times of its last output."""
        self._cached_tokens[number] = output.num_cached_tokens
        if self._with_timings and output.times is not None and output.times.scheduled_s:
            self._outputs.append(output)

    def count(self, number: int, output: RequestOutput) -> None:
        """`note`, and add up the tokens of all samples."""
        self.note(number, output)
        self.completion_tokens += sum(len(sample.token_ids) for sample in output.outputs)

    @property
    def cached_tokens(self) -> int:
        return sum(self._cached_tokens.values())

    def timings(self) -> RequestTimings | msgspec.UnsetType:
        """Unset where nobody asked for them, or nothing has ended."""
        times = [output.times for output in self._outputs if output.times is not None]
        if not times:
            return msgspec.UNSET
        return RequestTimings(
            queued_s=max(one.scheduled_s - one.arrival_s for one in times),
            prefill_s=max(one.first_token_s - one.scheduled_s for one in times),
            decode_s=max(one.finished_s - one.first_token_s for one in times),
            total_s=max(one.finished_s for one in times) - min(one.arrival_s for one in times),
            num_preemptions=sum(output.num_preemptions for output in self._outputs),
        )

    def as_usage(self) -> Usage:
        details = PromptTokensDetails(self.cached_tokens) if self._with_details else None
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.prompt_tokens + self.completion_tokens,
            prompt_tokens_details=details,
        )
