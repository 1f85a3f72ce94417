"""What a browser or a generator of clients reads: the chat page, the reference page, the OpenAPI document."""

from quire.api.server.web.pages import PAGE_PATHS
from quire.api.server.web.routes import web_routes

__all__ = ["PAGE_PATHS", "web_routes"]
