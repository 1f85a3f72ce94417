"""The ASGI app: routes, error handlers and middleware put together. No logic of its own."""

from __future__ import annotations

import inspect
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware

from quire.api.server import errors
from quire.api.server.administration import administration_routes
from quire.api.server.anthropic import anthropic_routes
from quire.api.server.auth import PUBLIC_PATHS, RequireApiKey
from quire.api.server.keys import KeyRing
from quire.api.server.openai import openai_routes
from quire.api.server.pooling import pooling_routes
from quire.api.server.probes import probe_routes
from quire.api.server.request_id import RequestIdHeader
from quire.api.server.responses import responses_routes
from quire.api.server.service import Service
from quire.api.server.web import web_routes
from quire.api.tracing import TraceContext
from quire.base.config import ServerConfig
from quire.base.dotted import load_dotted
from quire.base.errors import ConfigError, EngineFault, UserError


def create_app(service: Service) -> Starlette:
    routes = [*probe_routes(service), *openai_routes(service), *administration_routes(service)]
    if not service.config.tokens_only:
        routes += [*responses_routes(service), *anthropic_routes(service), *pooling_routes(service)]
    app = Starlette(
        routes=[*routes, *web_routes(service.config, routes, public_paths=PUBLIC_PATHS)],
        middleware=_middleware(service.config),
        exception_handlers={
            UserError: errors.on_user_error,
            EngineFault: errors.on_engine_fault,
            HTTPException: errors.on_http_exception,
            Exception: errors.on_bug,
        },
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host header to the caller
    return app


def _middleware(config: ServerConfig) -> list[Middleware]:
    """Outermost first: a browser must be able to read a 401, so CORS stands before the key."""
    layers: list[Middleware] = []
    if config.traces is not None:
        layers.append(Middleware(TraceContext))
    if config.enable_request_id_headers:
        layers.append(Middleware(RequestIdHeader))
    if config.allowed_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=config.allowed_origins,
                allow_methods=config.allowed_methods,
                allow_headers=config.allowed_headers,
                allow_credentials=config.allow_credentials,
            )
        )
    if keys := KeyRing(config.api_keys, config.api_key_file):
        layers.append(Middleware(RequireApiKey, keys=keys, root_path=config.root_path))
    return [*layers, *map(_own_middleware, config.middleware)]


def _own_middleware(path: str) -> Middleware:
    """What `--middleware` names: an ASGI class, or an async function of request and call_next."""
    found: Any = load_dotted(path, setting="middleware")
    if inspect.iscoroutinefunction(found):
        return Middleware(BaseHTTPMiddleware, dispatch=found)
    if isinstance(found, type):
        factory: Any = found
        return Middleware(factory)
    raise ConfigError(
        f"--middleware: {path} is neither a class nor an async function of request and call_next",
        setting="middleware",
    )
