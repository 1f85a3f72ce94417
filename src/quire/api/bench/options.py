"""What the measurements' command lines share: how options are read, and where results go."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from quire import __version__
from quire.base.config import Asked
from quire.base.errors import ConfigError
from quire.base.hardware import probe_machine


class Options(argparse.ArgumentParser):
    """Options of one measurement; a wrong one is a ConfigError. Underscores in names count as dashes."""

    def __init__(self, command: str, doc: str) -> None:
        super().__init__(prog=f"quire bench {command}", description=doc, allow_abbrev=False)
        self.add_argument(
            "--output-json", "--output", type=Path, metavar="FILE", help="write the result as JSON"
        )
        self.add_argument("--plot", type=Path, metavar="FILE", help="draw the result, as SVG")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        return self.parse_args([_dashed(word) for word in words])

    def parse_with_engine(self, words: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
        """Our options, and all others as `LLM` keywords, read through the settings table; as words they are in the
        former's `engine_words`."""
        known, rest = self.parse_known_args([_dashed(word) for word in words])
        asked = Asked.from_arguments(rest)
        given = {dest: found.value for dest, found in asked.given.items() if found.origin in ("flag", "file")}
        given.pop("config", None)
        known.engine_words = rest
        return known, given

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}")


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if name.startswith("--") else word


def whole(low: int) -> Any:
    """A reader of whole numbers from `low` on."""

    def read(text: str) -> int:
        number = int(text)
        if number < low:
            raise argparse.ArgumentTypeError(f"{number} is too small; give {low} or more")
        return number

    read.__name__ = "whole number"
    return read


def positive(text: str) -> float:
    """A number above 0; "inf" is one."""
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def machine_facts() -> dict[str, Any]:
    """What a reader of a result must know of where it was measured."""
    machine = msgspec.to_builtins(probe_machine())
    return {name: machine[name] for name in ("cpu_name", "num_cores", "memory_total_bytes")}


def write_result(path: Path | None, result: dict[str, Any]) -> None:
    """The result with its date, version and machine as JSON at `path`, where one was given."""
    if path is None:
        return
    whole_result = {
        "date": time.strftime("%Y%m%d-%H%M%S"),
        "quire_version": __version__,
        "machine": machine_facts(),
        **result,
    }
    write_file(path, json.dumps(whole_result, indent=2, allow_nan=False) + "\n")
    print(f"Result: {path}")


def write_file(path: Path, text: str) -> None:
    """Raises ConfigError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as problem:
        raise ConfigError(f"{path} cannot be written: {problem.strerror}") from None
