"""BatchOutput: the results' file. Grows line by line beside its final name, and takes it when it is whole.

Results stand in the order of the input, so what is done is a count: after an interruption the lines that are whole
stay, and the work goes on with the next. A line that was being written is cut off and made again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from quire.api.batch.lines import parse_line
from quire.base.errors import ConfigError

SUFFIX = ".partial"


class _Named(msgspec.Struct):
    custom_id: str | None


class BatchOutput:
    """`num_done` results are in the file. `continue_with` must be called before anything is added."""

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self.path = path
        self.partial = (folder or path.parent) / (path.name + SUFFIX)
        self.num_done = 0
        self._file: BinaryIO | None = None

    def continue_with(self, lines: Iterable[bytes]) -> None:
        """Take up what is there: it must answer the first of the input's `lines`, of which as many are read.

        Raises ConfigError when it belongs to another input, or cannot be written.
        """
        try:
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.partial.open("r+b" if self.partial.exists() else "w+b")
        except OSError as problem:
            raise ConfigError(f"--output-file: {self.partial} cannot be written ({problem})") from None
        asked = iter(lines)
        end_bytes = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            self._check(line, next(asked, b""))
            end_bytes += len(line)
            self.num_done += 1
        self._file.seek(end_bytes)
        self._file.truncate()

    def add(self, line: bytes) -> None:
        """The next result. It is the system's when this returns: a killed process loses none."""
        assert self._file is not None
        self._file.write(line + b"\n")
        self._file.flush()
        self.num_done += 1

    def finish(self) -> None:
        """All results are there: put the file in its place, whole or not at all."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(self.path.name + SUFFIX)
        if beside != self.partial:  # perhaps another file system, where nothing can be renamed to
            shutil.copyfile(self.partial, beside)
        beside.replace(self.path)
        self.partial.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _check(self, result: bytes, asked: bytes) -> None:
        try:
            name = msgspec.json.decode(result, type=_Named).custom_id
        except msgspec.MsgspecError:
            name = None
        if not asked or name != parse_line(asked).custom_id:
            self.close()
            raise ConfigError(
                f"{self.partial} holds results of another input: line {self.num_done + 1} does not answer the same "
                "request; delete it, or choose another --output-file"
            )
