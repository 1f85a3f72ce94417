"""OpenAI's routes: chat and text completions, models, and tokenizing."""

from quire.api.server.openai.chat import chat_completions
from quire.api.server.openai.completions import completions
from quire.api.server.openai.routes import openai_routes

__all__ = ["chat_completions", "completions", "openai_routes"]
