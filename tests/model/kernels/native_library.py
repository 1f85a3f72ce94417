"""Runs a block on one instruction set of the native library, or skips the test where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from quire.model.kernels import configure
from quire.model.kernels.cpu import native

INSTRUCTION_SETS = ("scalar", "avx2", "avx512", "avx512_bf16", "amx")


@contextmanager
def use(instruction_set: str) -> Iterator[None]:
    try:
        here = native.instruction_sets()
    except native.NativeLibraryMissing as missing:
        pytest.skip(str(missing))
    if instruction_set not in here:
        pytest.skip(f"this machine has no {instruction_set}")
    configure(instruction_set=instruction_set)
    try:
        yield
    finally:
        configure()
