"""The HTTP server: OpenAI's routes, probes and metrics over the text session. No torch, no pydantic."""

from quire.api.server.app import create_app
from quire.api.server.lifecycle import load_service, serve_http, serve_probes
from quire.api.server.service import Phase, Service

__all__ = ["Phase", "Service", "create_app", "load_service", "serve_http", "serve_probes"]
