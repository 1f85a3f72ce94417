"""A thing to fuzz, and a folder for it."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from random import Random
from typing import ClassVar

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Target(ABC):
    """`run` returns when all is well; anything it raises is a finding."""

    name: ClassVar[str]
    mutate: ClassVar[Callable[[bytes, Random], bytes]]

    @abstractmethod
    def seeds(self) -> list[bytes]: ...

    @abstractmethod
    def run(self, data: bytes) -> None: ...

    @cached_property
    def folder(self) -> Path:
        """A folder of its own, in memory where the system has one."""
        self._temporary = tempfile.TemporaryDirectory(prefix="quire-fuzz-", dir=MEMORY)
        return Path(self._temporary.name)
