"""WorkerSettings: what the worker itself is told by its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from quire.api.serverless.batching import BatchGrowth
from quire.api.serverless.values import given, not_allowed, read_integer, read_number, read_switch
from quire.base.errors import ConfigError

LOOPBACK_NAMES = ("127.0.0.1", "localhost")
DEFAULT_SERVER_PORT = 8000


class Compat(Enum):
    """Whose output shapes: the documented worker's (auto), an older generation's exactly, or today's (v3)."""

    AUTO = "auto"
    V1 = "v1"
    V2 = "v2"
    V3 = "v3"


class Mode(Enum):
    QUEUE = "queue"
    LOAD_BALANCER = "load-balancer"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Everything that is not the server's. `more_routes` are open to jobs beyond the usual ones."""

    mode: Mode = Mode.QUEUE
    compat: Compat = Compat.AUTO
    growth: BatchGrowth = field(default_factory=BatchGrowth)
    is_raw_openai: bool = True
    max_concurrency: int = 30
    server_port: int = DEFAULT_SERVER_PORT
    startup_timeout_s: float = 1200.0
    request_timeout_s: float = 3600.0
    more_routes: tuple[str, ...] = ()
    port: int = 80
    health_port: int = 80

    @property
    def default_max_tokens(self) -> int | None:
        """For native jobs that say nothing; None leaves it to the server."""
        return {Compat.V2: 100, Compat.V3: None}.get(self.compat, 16)


def read_settings(
    environ: Mapping[str, str], mode: str = "", taken_ports: tuple[int, ...] = ()
) -> WorkerSettings:
    """Raises ConfigError naming the variable. `mode` is the command line's; others listen on `taken_ports`."""
    compat = Compat(_choice(environ, "RUNPOD_COMPAT", [word.value for word in Compat], "auto"))
    chosen = Mode(mode or _choice(environ, "WORKER_MODE", [word.value for word in Mode], "queue"))
    port = _integer(environ, "PORT", 80, 1, 65535) if chosen is Mode.LOAD_BALANCER else 80
    health_port = _integer(environ, "PORT_HEALTH", port, 1, 65535) if chosen is Mode.LOAD_BALANCER else port
    taken = (port, health_port) if chosen is Mode.LOAD_BALANCER else taken_ports
    return WorkerSettings(
        mode=chosen,
        compat=compat,
        growth=_growth(environ),
        is_raw_openai=read_switch("RAW_OPENAI_OUTPUT", given(environ, "RAW_OPENAI_OUTPUT") or "1"),
        max_concurrency=_integer(environ, "MAX_CONCURRENCY", 300 if compat is Compat.V1 else 30, 1),
        server_port=_server_port(environ, taken),
        startup_timeout_s=_seconds(environ, "VLLM_STARTUP_TIMEOUT", 1200.0),
        request_timeout_s=_seconds(environ, "REQUEST_TIMEOUT", 3600.0),
        more_routes=_routes(environ),
        port=port,
        health_port=health_port,
    )


def _growth(environ: Mapping[str, str]) -> BatchGrowth:
    least = _first_given(environ, "DEFAULT_MIN_BATCH_SIZE", "MIN_BATCH_SIZE")
    factor = _first_given(environ, "DEFAULT_BATCH_SIZE_GROWTH_FACTOR", "BATCH_SIZE_GROWTH_FACTOR")
    return BatchGrowth(
        most=_integer(environ, "DEFAULT_BATCH_SIZE", 50, 1),
        least=_integer(environ, least, 1, 0),
        factor=read_number(factor, given(environ, factor) or "3", 0.0),
    )


def _first_given(environ: Mapping[str, str], *names: str) -> str:
    return next((name for name in names if given(environ, name)), names[0])


def _server_port(environ: Mapping[str, str], taken: tuple[int, ...]) -> int:
    """VLLM_PORT, or the port of VLLM_BASE_URL, or the first from 8000 on that is not taken."""
    url = given(environ, "VLLM_BASE_URL")
    port = given(environ, "VLLM_PORT")
    if url:
        of_url = _url_port(url)
        if port and read_integer("VLLM_PORT", port, 1, 65535) != of_url:
            raise ConfigError(f"VLLM_BASE_URL={url} and VLLM_PORT={port} name two ports; give one of them")
        port = str(of_url)
    if not port:
        return next(number for number in range(DEFAULT_SERVER_PORT, 65536) if number not in taken)
    number = read_integer("VLLM_PORT", port, 1, 65535)
    if number in taken:
        raise ConfigError(
            f"VLLM_PORT={number} is taken by the worker itself; give another", setting="VLLM_PORT"
        )
    return number


def _url_port(url: str) -> int:
    allowed = "the loopback address of the worker's own server, such as http://127.0.0.1:8000"
    try:
        parts = urlsplit(url)
        port = parts.port or 0
    except ValueError:
        raise not_allowed("VLLM_BASE_URL", url, allowed) from None
    has_more = parts.path.strip("/") or parts.query or parts.username
    if parts.scheme != "http" or parts.hostname not in LOOPBACK_NAMES or not port or has_more:
        raise not_allowed("VLLM_BASE_URL", url, allowed)
    return port


def _routes(environ: Mapping[str, str]) -> tuple[str, ...]:
    routes = tuple(
        word.strip() for word in given(environ, "WORKER_ALLOWED_ROUTES").split(",") if word.strip()
    )
    for route in routes:
        if not route.startswith("/") or route == "/*":
            raise not_allowed("WORKER_ALLOWED_ROUTES", route, "paths such as /pause or /admin/*")
    return routes


def _choice(environ: Mapping[str, str], name: str, words: list[str], default: str) -> str:
    word = given(environ, name).lower() or default
    if word not in words:
        raise not_allowed(name, word, f"one of {', '.join(words)}")
    return word


def _integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int | None = None) -> int:
    raw = given(environ, name)
    return read_integer(name, raw, low, high) if raw else default


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    raw = given(environ, name)
    return read_number(name, raw, 0.001) if raw else default
