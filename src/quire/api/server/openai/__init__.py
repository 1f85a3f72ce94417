"""OpenAI's routes: chat and text completions, models, and tokenizing."""

from quire.api.server.openai.routes import openai_routes

__all__ = ["openai_routes"]
