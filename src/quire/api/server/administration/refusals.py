"""Routes of vLLM's that need what Quire does not have: each answers 501 with the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.errors import HttpError
from quire.api.server.service import Service

_NO_ADAPTERS = "Quire has no LoRA adapters yet; serve a checkpoint with the adapter merged into its weights."
_NO_EXPERTS = "Quire has no expert parallelism yet, so there is nothing to scale."
_NO_RECOVERY = (
    "Quire takes no fault tolerance commands: it replaces a dead engine itself, and its streams go on."
)
_NO_TRANSFER = "Quire has no weight updates at run time yet; start the server again with the new checkpoint."

REFUSED: tuple[tuple[str, str, str], ...] = (
    ("POST", "/v1/load_lora_adapter", _NO_ADAPTERS),
    ("POST", "/v1/unload_lora_adapter", _NO_ADAPTERS),
    ("POST", "/scale_elastic_ep", _NO_EXPERTS),
    ("POST", "/is_scaling_elastic_ep", _NO_EXPERTS),
    ("POST", "/fault_tolerance/apply", _NO_RECOVERY),
    ("GET", "/fault_tolerance/status", _NO_RECOVERY),
    ("POST", "/init_weight_transfer_engine", _NO_TRANSFER),
    ("POST", "/shutdown_weight_transfer_engine", _NO_TRANSFER),
    ("POST", "/start_weight_update", _NO_TRANSFER),
    ("POST", "/start_draft_weight_update", _NO_TRANSFER),
    ("POST", "/update_weights", _NO_TRANSFER),
    ("POST", "/finish_weight_update", _NO_TRANSFER),
    ("POST", "/update_weight_version", _NO_TRANSFER),
    ("POST", "/weight_checker", _NO_TRANSFER),
    ("GET", "/weight_info", _NO_TRANSFER),
)


def refusal(reason: str) -> Callable[[Service, Request], Awaitable[Response]]:
    """A handler that gives the reason."""

    async def refuse(_service: Service, _request: Request) -> Response:
        raise HttpError(reason, status=501, code="not_implemented")

    return refuse
