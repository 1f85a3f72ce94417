"""A measured figure beside the bar it must meet, and the table of them."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """`text` says what was measured, with its spread; `n` how often."""

    name: str
    bar: str
    n: int
    text: str
    is_met: bool


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed; 0.0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1e6) * len(ordered) // 10**6) - 1))]


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Median and range."""
    if not values:
        return "none"
    return f"{percentile(values, 0.5):.2f} {unit} [{min(values):.2f} … {max(values):.2f}]"


def machine() -> str:
    with open("/proc/cpuinfo") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {models[0] if models else platform.machine()}; load {loads}"


def table(figures: Sequence[Figure]) -> str:
    """Markdown, to be pasted."""
    lines = ["| figure | bar | n | measured | met |", "|---|---|---|---|---|"]
    for figure in figures:
        met = "yes" if figure.is_met else "NO"
        lines.append(f"| {figure.name} | {figure.bar} | {figure.n} | {figure.text} | {met} |")
    return "\n".join(lines)
