"""Anthropic's routes: messages, and how many tokens they make."""

from quire.api.server.anthropic.routes import anthropic_routes

__all__ = ["anthropic_routes"]
