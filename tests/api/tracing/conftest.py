"""The scripted engine of the server's tests."""

from tests.api.server.conftest import connect, make_service, model_folder, tokenizer

__all__ = ["connect", "make_service", "model_folder", "tokenizer"]
