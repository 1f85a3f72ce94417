"""Tracer: one span for each request from its arrival to its end, and one for each step where details are wanted."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from quire.api.tracing import attributes as names
from quire.api.tracing.context import current_call
from quire.api.tracing.exporter import close_provider, open_provider
from quire.api.tracing.steps import StepTimes
from quire.base.messages import EngineRequest, EngineStats, RequestTimes
from quire.base.observe import TraceConfig
from quire.text.session import RequestOutput

if TYPE_CHECKING:
    from opentelemetry.trace import Span

REQUEST_SPAN = "llm_request"  # vLLM's name
STEP_SPAN = "engine_step"
MAX_LINKS = 64  # requests a step's span points to


class Tracer:
    """Spans of one served model. `note_step` is to hear of each step's stats."""

    def __init__(self, config: TraceConfig, model: str) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # it repeats what callers sent in headers that are no trace's, a line for each
        logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)
        self.config = config
        self.steps = StepTimes()
        self._model = model
        self._num_steps = 0
        self._provider = open_provider(config)
        self._tracer = self._provider.get_tracer("quire")
        self._propagator = TraceContextTextMapPropagator()
        self._open: dict[str, Span] = {}

    def begin(self, request: EngineRequest) -> RequestTrace:
        """The span of a request, a child of what the caller's headers name."""
        from opentelemetry.trace import SpanKind

        call = current_call()
        span = self._tracer.start_span(
            REQUEST_SPAN,
            context=self._propagator.extract(call.headers),
            kind=SpanKind.SERVER,
            attributes=names.of_request(request, self._model, call.operation),
            start_time=unix_ns(request.arrival_s),
        )
        self._open[request.request_id] = span
        return RequestTrace(self, request, span)

    def end(self, request_id: str) -> None:
        self._open.pop(request_id, None)

    def note_step(self, stats: EngineStats) -> None:
        """A span for the step, pointing to the requests under way; sums for those, when they end."""
        if stats.num_steps == self._num_steps or not self.config.details:
            return
        self._num_steps = stats.num_steps
        self.steps.add(stats.step_started_s, stats.step_forward_s, stats.step_execute_s)
        from opentelemetry.context import Context
        from opentelemetry.trace import Link

        span = self._tracer.start_span(
            STEP_SPAN,
            context=Context(),
            links=[Link(span.get_span_context()) for span in list(self._open.values())[:MAX_LINKS]],
            attributes={
                "quire.step": stats.num_steps,
                "quire.step.tokens": stats.step_tokens,
                "quire.step.running": stats.num_running,
                "quire.step.waiting": stats.num_waiting,
                **self.chosen(stats.step_forward_s, stats.step_execute_s),
            },
            start_time=unix_ns(stats.step_started_s),
        )
        span.end(unix_ns(stats.step_started_s + stats.step_execute_s))

    def chosen(self, forward_s: float, execute_s: float) -> dict[str, float]:
        """Of the two times, those that details were asked of."""
        times = {"model": (names.FORWARD, forward_s), "worker": (names.EXECUTE, execute_s)}
        return dict(times[detail] for detail in self.config.details)

    def close(self) -> None:
        close_provider(self._provider)


class RequestTrace:
    """Feed it every output of a request with `saw`; call `close` once, however the request ended."""

    def __init__(self, tracer: Tracer, request: EngineRequest, span: Span) -> None:
        self._tracer = tracer
        self._request = request
        self._span = span
        self._first_token_s = 0.0
        self._num_tokens = 0
        self._num_cached = 0
        self._reasons = dict.fromkeys(range(request.sampling.n), "abort")
        self._times: RequestTimes | None = None

    def saw(self, output: RequestOutput) -> None:
        if not self._first_token_s:
            self._first_token_s = time.monotonic()
        self._num_cached = max(self._num_cached, output.num_cached_tokens)
        for sample in output.outputs:
            self._num_tokens += len(sample.token_ids)
            if sample.finish_reason is not None:
                self._reasons[sample.index] = sample.finish_reason
        self._times = output.times or self._times

    def close(self) -> None:
        from opentelemetry.trace import Status, StatusCode

        now_s, arrival_s = time.monotonic(), self._request.arrival_s
        self._tracer.end(self._request.request_id)
        self._span.set_attributes(names.of_reply(self._num_tokens, self._num_cached, self._reasons))
        self._span.set_attribute(names.LATENCY + "e2e", now_s - arrival_s)
        if self._first_token_s:
            self._span.set_attribute(names.LATENCY + "time_to_first_token", self._first_token_s - arrival_s)
        if self._times is not None:
            self._span.set_attributes(names.of_times(self._times))
            sums = self._tracer.steps.between(self._times.scheduled_s or now_s, now_s)
            self._span.set_attributes(self._tracer.chosen(*sums))
        if "error" in self._reasons.values():
            self._span.set_attribute("error.type", "error")
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(unix_ns(now_s))


def unix_ns(monotonic_s: float) -> int:
    """Nanoseconds since 1970 of a moment on the monotonic clock."""
    return time.time_ns() - int((time.monotonic() - monotonic_s) * 1e9)
