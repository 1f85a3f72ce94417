"""OpenAI's responses: create, stream, keep, retrieve, cancel and delete."""

from quire.api.server.responses.routes import responses_routes

__all__ = ["responses_routes"]
