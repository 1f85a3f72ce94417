"""How the threads of torch's operators wait for each other: asleep, not spinning.

By default libgomp's threads spin at every barrier. As soon as another process takes a core, each step waits for
whole time slices: measured on two cores with a busy neighbour, 500 ms a step instead of 16. The library reads its
environment once, when torch is loaded, so this comes before.
"""

from __future__ import annotations

import os
import sys

_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
_CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def with_sleeping_threads(environment: dict[str, str]) -> dict[str, str]:
    """A copy of `environment` for a process that will load torch; what the user chose stands."""
    if any(name in environment for name in _CHOSEN_BY_USER):
        return dict(environment)
    return {**environment, **_WAITING}


def let_threads_sleep() -> None:
    """The same for this process; too late, and left alone, when torch is loaded already."""
    if "torch" not in sys.modules:
        os.environ.update(with_sleeping_threads(dict(os.environ)))
