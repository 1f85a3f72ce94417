"""Every op test runs on the reference and on each instruction set of the native library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from quire.model.ops import OPS
from tests.model.kernels.native_library import INSTRUCTION_SETS, use


@pytest.fixture(params=["reference", *INSTRUCTION_SETS], autouse=True)
def provider(request: pytest.FixtureRequest) -> Iterator[str]:
    with ExitStack() as stack:
        if request.param != "reference":
            stack.enter_context(use(request.param))
        backends = () if request.param == "reference" else ("cpu",)
        for op in OPS.values():
            stack.enter_context(op.provided_by(backends))
        yield request.param
