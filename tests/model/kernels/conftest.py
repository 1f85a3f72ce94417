"""Native tests run on each instruction set of this machine, on one thread unless they say otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quire.model.kernels import configure
from tests.model.kernels.native_library import INSTRUCTION_SETS, use


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    with use(request.param):
        yield request.param


@pytest.fixture
def two_threads() -> Iterator[None]:
    configure(num_threads=2)
    yield
    configure(num_threads=1)
