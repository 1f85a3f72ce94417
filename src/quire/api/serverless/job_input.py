"""What a job asks for: the union of the inputs three generations of workers took, as one call to the local server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from quire.api.serverless.batching import BatchGrowth
from quire.api.serverless.failures import JobError
from quire.api.serverless.routes import checked_method, checked_route
from quire.api.serverless.worker_settings import Compat, WorkerSettings

CHAT_ROUTE = "/v1/chat/completions"
TEXT_ROUTE = "/v1/completions"
MISSING_INPUT = (
    "The input must contain `openai_route` (with `openai_input`), or `route` (with `body`), "
    "or `messages` or `prompt`."
)

_NATIVE_FIELDS = frozenset(
    {
        "prompt",
        "messages",
        "apply_chat_template",
        "stream",
        "sampling_params",
        "max_batch_size",
        "min_batch_size",
        "batch_size_growth_factor",
        "use_openai_format",  # no generation of the worker ever read it
        "model",
    }
)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call. With `native`, its reply becomes the native shape, cut by that growth."""

    method: str
    route: str
    body: dict[str, Any] | None
    native: BatchGrowth | None = None
    is_openai: bool = (
        False  # asked for as openai_route: what goes by the older shapes of errors and model lists
    )

    @property
    def is_stream(self) -> bool:
        return bool(self.body and self.body.get("stream"))

    @property
    def num_choices(self) -> int:
        count = (self.body or {}).get("n") or 1
        return count if isinstance(count, int) else 1


def read_input(fields: object, settings: WorkerSettings) -> Call:
    """A job's `input` as a call. Raises JobError naming the field that is wrong."""
    if not isinstance(fields, Mapping):
        raise JobError(f"{MISSING_INPUT} Got {type(fields).__name__}.", param="input")
    if fields.get("openai_input") or fields.get("openai_route"):
        return _openai(fields, settings)
    if fields.get("route"):
        route = checked_route(fields["route"], settings.more_routes)
        body = _body(fields, "body")
        return Call(checked_method(fields.get("method"), has_body=body is not None), route, body)
    if fields.get("messages") or fields.get("prompt") is not None:
        return _native(fields, settings)
    raise JobError(MISSING_INPUT, param="input")


def _openai(fields: Mapping[str, Any], settings: WorkerSettings) -> Call:
    route = checked_route(fields.get("openai_route") or CHAT_ROUTE, settings.more_routes)
    body = _body(fields, "openai_input")
    return Call("POST" if body is not None else "GET", route, body, is_openai=True)


def _body(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    body = fields.get(name)
    if not body:
        return None
    if not isinstance(body, dict):
        raise JobError(f"{name} must be an object, got {type(body).__name__}", param=name)
    return body


def _native(fields: Mapping[str, Any], settings: WorkerSettings) -> Call:
    for name in fields:
        if name not in _NATIVE_FIELDS:
            raise JobError(_unknown(name), param=name)
    sampling = fields.get("sampling_params") or {}
    if not isinstance(sampling, dict):
        raise JobError(
            f"sampling_params must be an object, got {type(sampling).__name__}", param="sampling_params"
        )
    if not fields.get("messages") and not isinstance(fields["prompt"], str):
        raise JobError(f"prompt must be text, got {type(fields['prompt']).__name__}", param="prompt")
    is_chat = bool(fields.get("messages")) or bool(fields.get("apply_chat_template"))
    body = _sampling(sampling, settings, is_chat=is_chat)
    if is_chat:
        body["messages"] = fields.get("messages") or [{"role": "user", "content": fields["prompt"]}]
    else:
        body["prompt"] = fields["prompt"]
    if fields.get("model"):
        body["model"] = fields["model"]
    route = CHAT_ROUTE if is_chat else TEXT_ROUTE
    is_stream = fields.get("stream", False)
    if not isinstance(is_stream, bool):
        raise JobError(f"stream must be true or false, got {is_stream!r}", param="stream")
    if is_stream:
        body["stream"] = True
    if settings.compat is Compat.V3:
        return Call("POST", route, body)
    if is_stream:
        # one output for each token, whatever the server puts into one event
        body |= {
            "return_token_ids": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
    return Call("POST", route, body, native=settings.growth.asked_by(fields))


def _sampling(asked: dict[str, Any], settings: WorkerSettings, *, is_chat: bool) -> dict[str, Any]:
    """sampling_params as fields of the HTTP body; the server refuses by name what it does not do."""
    body = {name: value for name, value in asked.items() if value is not None}
    for name in ("prompt", "messages", "model", "stream", "stream_options"):
        if name in body:
            raise JobError(f"{name} does not belong into sampling_params", param=name)
    if body.get("best_of") == body.get("n", 1):
        body.pop("best_of", None)  # as many drawn as returned: nothing to choose
    if settings.default_max_tokens is not None:
        body.setdefault("max_tokens", settings.default_max_tokens)
    count = body.get("logprobs")
    if is_chat and isinstance(count, int) and not isinstance(count, bool):
        body |= {"logprobs": True, "top_logprobs": count}
    return body


def _unknown(name: str) -> str:
    near = get_close_matches(name[:100], sorted(_NATIVE_FIELDS), n=1, cutoff=0.6)
    hint = (
        f"did you mean {near[0]}?" if near else "sampling fields such as max_tokens go into sampling_params"
    )
    return f"unknown input field {name[:100]!r}; {hint}"
