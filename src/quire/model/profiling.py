"""Names in a profile: while torch's profiler runs, each op is a range of its own, whoever provides it.

A provider in C++ is nothing that torch sees, and a recorded forward pass is one call for all of them. So a profiled
step runs as the network is written, and every op says when it begins and ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quire.model.ops import Op


@contextmanager
def named_ops() -> Iterator[None]:
    """Within the block each op is a range `quire::<op>` of the running profiler."""
    Op.is_named = True
    try:
        yield
    finally:
        Op.is_named = False
