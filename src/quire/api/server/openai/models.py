"""GET /v1/models and /v1/models/{id}: the names this server answers to. Also told while weights load."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire.api.server.replies import json_reply
from quire.api.server.service import Service


class ModelEntry(msgspec.Struct, kw_only=True):
    id: str
    object: str = "model"
    created: int
    owned_by: str = "quire"
    root: str
    parent: str | None = None
    max_model_len: int


class ModelList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[ModelEntry]


async def list_models(service: Service, _request: Request) -> Response:
    return json_reply(ModelList(data=[_entry(service, name) for name in service.config.served_model_names]))


async def show_model(service: Service, request: Request) -> Response:
    return json_reply(_entry(service, service.served_name(request.path_params["model"])))


def _entry(service: Service, name: str) -> ModelEntry:
    return ModelEntry(
        id=name,
        created=service.started_unix_s,
        root=service.engine_config.card.name,
        max_model_len=service.engine_config.max_model_len,
    )
