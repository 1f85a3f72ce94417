"""The command line: `quire serve`, `chat`, `complete`, `config`, `doctor`."""

from quire.api.cli.main import main

__all__ = ["main"]
