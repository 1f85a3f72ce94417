"""The command line: `quire serve`, `chat`, `complete`, `config`."""

from quire.api.cli.main import main

__all__ = ["main"]
