"""What `quire chat` and `quire complete` share: their options, the prompt loop, printing a stream, statistics."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from quire.api.cli.client import ApiClient
from quire.base.errors import ConfigError

DEFAULT_URL = "http://localhost:8000/v1"


class Options(argparse.ArgumentParser):
    """Options of a client command; a wrong one is a ConfigError."""

    def __init__(self, command: str, doc: str) -> None:
        super().__init__(prog=f"quire {command}", description=doc)
        self.add_argument(
            "--url", default=DEFAULT_URL, help=f"base URL of the server (default {DEFAULT_URL})"
        )
        self.add_argument("--model-name", default="", help="model to ask for (default: the server's first)")
        self.add_argument("--api-key", default=_key_from_environment(), help="key the server wants, if any")
        self.add_argument("-q", "--quick", metavar="MESSAGE", help="send one message, print the answer, end")
        self.add_argument("--stats", action="store_true", help="after each answer: tokens and speed")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Underscores in option names count as dashes, as everywhere."""
        spelled = []
        for word in arguments:
            name, equals, value = word.partition("=")
            spelled.append(f"{name.replace('_', '-')}{equals}{value}" if name.startswith("--") else word)
        return self.parse_args(spelled)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}")


@dataclass(slots=True)
class Answer:
    """An answer's text and what its stream told about speed."""

    text: str
    num_tokens: int
    first_token_s: float
    total_s: float

    def describe(self) -> str:
        if not self.num_tokens:
            return "[no tokens]"
        decode_s = self.total_s - self.first_token_s
        rate = (
            f", then {(self.num_tokens - 1) / decode_s:.1f} tokens/s"
            if self.num_tokens > 1 and decode_s
            else ""
        )
        return f"[{self.num_tokens} tokens in {self.total_s:.2f} s: first after {self.first_token_s:.2f} s{rate}]"


def pick_model(client: ApiClient, asked: str) -> str:
    """The model asked for, or the first the server names."""
    return asked or client.model_names()[0]


def print_stream(
    chunks: Generator[dict[str, Any], None, None], text_of: Callable[[dict[str, Any]], str]
) -> Answer:
    """Write an answer as it arrives. `text_of` reads a choice. Ctrl-C ends this answer, not the program."""
    began_s = time.monotonic()
    first_s = 0.0
    parts: list[str] = []
    num_tokens = 0
    try:
        with contextlib.suppress(KeyboardInterrupt), contextlib.closing(chunks):
            for chunk in chunks:
                for text in filter(None, map(text_of, chunk.get("choices", ()))):
                    first_s = first_s or time.monotonic() - began_s
                    num_tokens += 1  # until usage, which comes last, tells exactly
                    parts.append(text)
                    print(text, end="", flush=True)
                if chunk.get("usage"):
                    num_tokens = chunk["usage"]["completion_tokens"]
    finally:
        print()
    return Answer("".join(parts), num_tokens, first_s, time.monotonic() - began_s)


def prompts() -> Iterator[str]:
    """Lines the user types, until end of input or Ctrl-C."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() history and editing
        print("Ctrl-D ends; Ctrl-C stops an answer.")
    while True:
        try:
            line = input("> " if is_terminal else "")
        except (EOFError, KeyboardInterrupt):
            if is_terminal:
                print()
            return
        if line.strip():
            yield line


def _key_from_environment() -> str:
    return os.environ.get("QUIRE_API_KEY") or os.environ.get("VLLM_API_KEY") or ""
