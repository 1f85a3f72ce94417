"""Which figures of a result are drawn, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quire.api.bench.drawing import Bar, Line, bar_chart, line_chart


def latency_picture(run: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Mean and percentiles of each measure of a run against a server, to a scale of its own: a whole request takes so
    much longer than a token that one scale would show nothing of tokens."""
    bars = []
    for name, title in names.items():
        suffix = f"_{name}_ms"
        for key, value in run.items():
            if key.endswith(suffix) and not key.startswith("std"):
                note = f"{value:.2f} ms"
                bars.append(Bar(f"{title}, {key.removesuffix(suffix)}", value, note, name, scale=name))
    return bar_chart(f"Latency of {run['model_id']}: {run['completed']} requests", "ms", bars)


def concurrency_picture(runs: Sequence[Mapping[str, Any]]) -> str:
    """Throughput against requests at a time."""
    curves = {"output tokens/s": "output_throughput", "tokens/s in all": "total_token_throughput"}
    lines = [
        Line(name, [(run["max_concurrency"], run[key]) for run in runs if run["completed"]])
        for name, key in curves.items()
    ]
    if not lines[0].points:
        lines = [Line("no request completed", [(0, 0)])]
    return line_chart(
        f"Throughput of {runs[0]['model_id']}", "requests at a time", "tokens per second", lines
    )


def roofline_picture(rows: Sequence[Mapping[str, Any]]) -> str:
    """Each kernel's share of what bounds it."""
    bars = [
        Bar(row["name"], 100 * row["share"], f"{100 * row['share']:.0f} % of {row['limit']}", row["limit"])
        for row in rows
    ]
    return bar_chart("Share of the limit measured in the same run", "%", bars, limit=100)


def percentile_picture(title: str, latencies_ms: Sequence[float]) -> str:
    """The share of measurements within a time."""
    ordered = sorted(latencies_ms)
    points = [(100 * (index + 1) / len(ordered), value) for index, value in enumerate(ordered)]
    return line_chart(title, "percent of all within", "ms", [Line("latency", points)])


def comparison_picture(medians: Mapping[str, Mapping[str, float]]) -> str:
    """Values by figure and side. Figures differ in unit and size, so each has a scale of its own."""
    bars = [
        Bar(f"{figure}: {side}", value, f"{value:.4g}", side, scale=figure)
        for figure, by_side in medians.items()
        for side, value in by_side.items()
    ]
    return bar_chart("Medians", "", bars)


def figure_picture(title: str, unit: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """(name, value, group) as bars."""
    return bar_chart(
        title, unit, [Bar(name, value, f"{value:.4g} {unit}", group) for name, value, group in rows]
    )
