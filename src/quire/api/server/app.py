"""The ASGI app: routes, error handlers and middleware put together. No logic of its own."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from quire.api.server import errors
from quire.api.server.auth import RequireApiKey
from quire.api.server.openai import openai_routes
from quire.api.server.probes import probe_routes
from quire.api.server.request_id import RequestIdHeader
from quire.api.server.service import Service
from quire.base.config import ServerConfig
from quire.base.errors import EngineFault, UserError


def create_app(service: Service) -> Starlette:
    app = Starlette(
        routes=[*probe_routes(service), *openai_routes(service)],
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
    if config.api_keys:
        layers.append(Middleware(RequireApiKey, keys=config.api_keys, root_path=config.root_path))
    return layers
