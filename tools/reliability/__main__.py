"""`python -m tools.reliability [--quick] [--only FIGURE …] [--n FIGURE=COUNT …] [--seed N]`: prints the table.

Every figure starts servers of its own on loopback and ends them. The whole table takes hours, --quick a few minutes.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time

from tools.reliability import deaths, hostile, loads, resident
from tools.reliability.figure import machine, table
from tools.reliability.overload import overload

# name → (n, n of --quick, measurement)
FIGURES = {
    "kill": (200, 2, lambda n, chooser: deaths.engine_deaths(n, chooser, signal.SIGKILL)),
    "stop": (50, 1, lambda n, chooser: deaths.engine_deaths(n, chooser, signal.SIGSTOP)),
    "restart": (20, 1, lambda n, _: deaths.restarts(n)),
    "server": (200, 2, deaths.server_deaths),
    "drain": (50, 2, deaths.drains),
    "nan": (20, 2, lambda n, _: deaths.poisoned_row(n)),
    "poison": (10, 3, lambda n, _: deaths.poison(n)),
    "streams": (4096, 256, lambda n, _: loads.many_streams(n)),
    "overload": (300, 10, overload),
    "disconnects": (10_000, 300, loads.disconnects),
    "memory": (100_000, 2000, loads.memory),
    "resident": (3, 2, resident.resident),
    "fuzz": (100_000, 2000, hostile.fuzz),
    "checkpoints": (200, 10, hostile.damaged_checkpoints),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make reliability")
    parser.add_argument("--quick", action="store_true", help="small n: does everything still work?")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), metavar="FIGURE")
    parser.add_argument("--n", nargs="+", default=[], metavar="FIGURE=COUNT", help="overload counts seconds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    counts = {name: int(count) for name, _, count in (word.partition("=") for word in given.n)}
    figures = []
    print(f"on {machine()}; seed {given.seed}", flush=True)
    for name in given.only:
        full, quick, measure = FIGURES[name]
        started_s = time.monotonic()
        figure = measure(counts.get(name, quick if given.quick else full), random.Random(given.seed))
        figures.append(figure)
        print(f"{name}: {figure.text} ({time.monotonic() - started_s:.0f} s)", file=sys.stderr, flush=True)
    print(table(figures))
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
