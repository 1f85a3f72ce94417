"""Small charts as SVG, written here: bars and lines are all a measurement needs, and a browser shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2a6f97", "#e07a1f", "#4f9d69", "#8d5a97", "#b23a48", "#6b705c")
WIDTH, LEFT, RIGHT, TOP = 860, 70, 20, 56
PLOT_HEIGHT = 320
BAR_HEIGHT, SCALE_GAP = 22, 10
PAST_LIMIT = 1.2  # how far past its limit a bar is drawn


@dataclass(frozen=True, slots=True)
class Line:
    """A named curve."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `group` chooses its colour, `note` stands behind it. Bars of one `scale` are drawn to one scale."""

    name: str
    value: float
    note: str
    group: str = ""
    scale: str = ""


def line_chart(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """Curves over a common x axis. Both axes begin at 0; `lines` hold at least one point."""
    xs, ys = ([point[axis] for line in lines for point in line.points] for axis in (0, 1))
    x_ticks, y_ticks = ticks(max(xs)), ticks(max(ys))
    inner = WIDTH - LEFT - RIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + inner * x / x_ticks[-1], TOP + PLOT_HEIGHT * (1 - y / y_ticks[-1])

    parts = []
    for tick in y_ticks:
        _, y = place(0, tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y + 4, f"{tick:g}", anchor="end"))
    for tick in x_ticks:
        x, _ = place(tick, 0)
        parts.append(text(x, TOP + PLOT_HEIGHT + 18, f"{tick:g}", anchor="middle"))
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in (place(*point) for point in line.points) if len(line.points) <= 40 else ():
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
    parts.append(text(LEFT + inner / 2, TOP + PLOT_HEIGHT + 38, x_label, anchor="middle"))
    parts.append(text(12, TOP - 14, y_label))
    if len(lines) > 1:
        parts.append(_legend([line.name for line in lines]))
    return _page(title, TOP + PLOT_HEIGHT + 52, parts)


def bar_chart(title: str, unit: str, bars: Sequence[Bar], *, limit: float = 0.0) -> str:
    """Horizontal bars, one below the other, those of one scale together; with `limit`, for bars of one scale, a line
    stands there, and bars far past it are cut short."""
    names_width = 10 + 7 * max(len(bar.name) for bar in bars)
    inner = WIDTH - names_width - 190
    groups = list(dict.fromkeys(bar.group for bar in bars))
    scales = list(dict.fromkeys(bar.scale for bar in bars))
    longest = {scale: max(bar.value for bar in bars if bar.scale == scale) or 1.0 for scale in scales}
    bottom = TOP + len(bars) * BAR_HEIGHT + (len(scales) - 1) * SCALE_GAP
    parts = []
    if limit:
        longest = dict.fromkeys(scales, min(max(limit, *longest.values()), limit * PAST_LIMIT))
        x = names_width + 8 + inner * limit / longest[scales[0]]
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="#222" stroke-dasharray="4"/>'
        )
        parts.append(text(x, bottom + 14, f"{limit:g} {unit}", anchor="middle"))
    for index, bar in enumerate(bars):
        y = TOP + index * BAR_HEIGHT + scales.index(bar.scale) * SCALE_GAP
        length = inner * min(bar.value / longest[bar.scale], 1.0)
        colour = COLOURS[groups.index(bar.group) % len(COLOURS)]
        parts.append(text(names_width, y + 14, bar.name, anchor="end"))
        parts.append(
            f'<rect x="{names_width + 8}" y="{y}" width="{length:.1f}" height="{BAR_HEIGHT - 6}" fill="{colour}"/>'
        )
        parts.append(text(names_width + 14 + length, y + 13, bar.note))
    if len(scales) > 1:
        parts.append(text(12, TOP - 14, "each measure to its own scale"))
    if groups != [""]:
        parts.append(_legend(groups))
    return _page(title, bottom + 24, parts)


def ticks(highest: float) -> list[float]:
    """Round numbers from 0 to the first at or above `highest`, four to ten steps."""
    if highest <= 0:
        return [0.0, 1.0]
    size = 10.0 ** (len(str(int(highest))) - 1) if highest >= 1 else 10.0**-6
    while highest / size > 10:
        size *= 10
    step = next(size * part for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if highest / (size * part) <= 10)
    count = int(highest / step) + (highest % step > step * 1e-9)
    return [round(index * step, 9) for index in range(count + 1)]


def text(x: float, y: float, words: str, *, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} stroke="white" stroke-width="3" paint-order="stroke">{escape(words)}</text>'


def _legend(names: Sequence[str]) -> str:
    parts, x = [], WIDTH - RIGHT
    for index, name in reversed(list(enumerate(names))):
        x -= 7 * len(name) + 26
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<rect x="{x}" y="{TOP - 34}" width="11" height="11" fill="{colour}"/>')
        parts.append(text(x + 16, TOP - 24, name))
    return "".join(parts)


def _page(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" '
        'font-family="sans-serif" font-size="12" fill="#222"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="12" y="20" font-size="15" font-weight="bold">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )
