"""Routes for whoever runs the server: pause, sleep, caches, profiles, what it is made of; and what it refuses."""

from quire.api.server.administration.routes import administration_routes

__all__ = ["administration_routes"]
