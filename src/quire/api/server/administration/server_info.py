"""/server_info: how the server is configured and on what it runs, without keys."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from quire import __version__
from quire.api.server.administration.asked import read_query
from quire.api.server.replies import json_reply
from quire.api.server.service import Service
from quire.base.errors import InvalidValue

_SECRET_FIELDS = ("api_keys", "ssl_keyfile")
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "msgspec", "starlette", "uvicorn")


class InfoQuery(msgspec.Struct):
    config_format: str = "text"


async def server_info(service: Service, request: Request) -> Response:
    asked = read_query(request, InfoQuery)
    if asked.config_format not in ("text", "json"):
        raise InvalidValue(
            f"config_format must be text or json, got {asked.config_format!r:.60}", field="config_format"
        )
    server = msgspec.to_builtins(service.config)
    for field in _SECRET_FIELDS:
        server.pop(field)
    config: Any = {"engine": msgspec.to_builtins(service.engine_config), "server": server}
    if asked.config_format == "text":
        config = msgspec.json.encode(config).decode()
    return json_reply(
        {"vllm_config": config, "vllm_env": shown_variables(os.environ), "system_env": _system()}
    )


def shown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """VLLM_* and QUIRE_* variables, without those whose name says that they are secret."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith(("VLLM_", "QUIRE_")) and not any(word in name for word in _SECRET_WORDS)
    }


def _system() -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "quire": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "num_cpus": os.cpu_count(),
        "libraries": versions,
    }
