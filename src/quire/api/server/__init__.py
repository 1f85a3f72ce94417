"""The HTTP server: OpenAI's routes, probes and metrics over the text session. No torch, no pydantic."""

from quire.api.server.app import create_app
from quire.api.server.lifecycle import serve_http
from quire.api.server.service import Service

__all__ = ["Service", "create_app", "serve_http"]
