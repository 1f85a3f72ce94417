"""Names of span attributes: vLLM's, and those of OpenTelemetry's conventions for generative AI where they differ.

`gen_ai.usage.prompt_tokens` and the latencies are vLLM's; `gen_ai.usage.input_tokens` and the like are the
conventions' of today. Latencies are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quire.base.messages import EngineRequest, RequestTimes

Attributes = dict[str, Any]
LATENCY = "gen_ai.latency."
FORWARD = LATENCY + "time_in_model_forward"
EXECUTE = LATENCY + "time_in_model_execute"


def of_request(request: EngineRequest, model: str, operation: str) -> Attributes:
    """What is known before the first token."""
    sampling = request.sampling
    attributes: Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "quire",
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.request.id": request.request_id,
        "gen_ai.response.id": request.request_id,
        "gen_ai.request.n": sampling.n,
        "gen_ai.request.choice.count": sampling.n,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": float(sampling.temperature),
        "gen_ai.request.top_p": float(sampling.top_p),
        "gen_ai.request.top_k": sampling.top_k or None,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.frequency_penalty": float(sampling.frequency_penalty) or None,
        "gen_ai.request.presence_penalty": float(sampling.presence_penalty) or None,
        "gen_ai.request.stop_sequences": sampling.stop_strings or None,
        "gen_ai.usage.prompt_tokens": len(request.prompt_token_ids),
        "gen_ai.usage.input_tokens": len(request.prompt_token_ids),
        "gen_ai.usage.num_sequences": sampling.n,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def of_reply(num_tokens: int, num_cached: int, reasons: Mapping[int, str]) -> Attributes:
    return {
        "gen_ai.usage.completion_tokens": num_tokens,
        "gen_ai.usage.output_tokens": num_tokens,
        "gen_ai.usage.cache_read.input_tokens": num_cached,
        "gen_ai.response.finish_reasons": [reasons[index] for index in sorted(reasons)],
    }


def of_times(times: RequestTimes) -> Attributes:
    """From the engine's stamps; nothing for stages that were not reached."""
    if times.scheduled_s <= 0.0:
        return {}
    found = {LATENCY + "time_in_queue": times.scheduled_s - times.arrival_s}
    if times.first_token_s > 0.0 and times.finished_s > 0.0:
        found[LATENCY + "time_in_model_prefill"] = times.first_token_s - times.scheduled_s
        found[LATENCY + "time_in_model_decode"] = times.finished_s - times.first_token_s
        found[LATENCY + "time_in_model_inference"] = times.finished_s - times.scheduled_s
    return found
