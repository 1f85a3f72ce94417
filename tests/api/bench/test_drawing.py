"""Charts are well-formed and say what they were given."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.api.bench.drawing import Bar, Line, bar_chart, line_chart, ticks

SVG = "{http://www.w3.org/2000/svg}"


@given(st.floats(1e-3, 1e9))
def test_ticks_reach_the_highest_value_in_a_few_steps(highest):
    found = ticks(highest)
    assert found[0] == 0
    assert found[-1] >= highest * (1 - 1e-6)
    assert 3 <= len(found) <= 13


def test_bars_are_as_long_as_their_values_and_cut_past_the_limit():
    root = ET.fromstring(
        bar_chart("T", "%", [Bar("a<b", 50, "n"), Bar("c", 100, "n"), Bar("d", 900, "n")], limit=100)
    )
    widths = [float(bar.get("width")) for bar in root.iter(f"{SVG}rect") if bar.get("height") == "16"]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert widths[2] == pytest.approx(1.2 * widths[1], rel=0.01)
    assert "a<b" in [text.text for text in root.iter(f"{SVG}text")]


def test_bars_of_each_scale_are_compared_with_each_other_alone():
    bars = [Bar("a", 2, "n", scale="s"), Bar("b", 1, "n", scale="s"), Bar("c", 300, "n", scale="tok/s")]
    drawn = [
        bar for bar in ET.fromstring(bar_chart("T", "", bars)).iter(f"{SVG}rect") if bar.get("height") == "16"
    ]
    first, half, other = (float(bar.get("width")) for bar in drawn)
    assert first == other == pytest.approx(2 * half, rel=0.01)
    tops = [float(bar.get("y")) for bar in drawn]
    assert tops[2] - tops[1] > tops[1] - tops[0]  # scales stand apart


def test_a_line_goes_through_its_points():
    root = ET.fromstring(line_chart("T", "x", "y", [Line("l", [(1, 10), (2, 20)])]))
    points = root.find(f"{SVG}polyline").get("points").split()
    assert len(points) == len(list(root.iter(f"{SVG}circle"))) == 2
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points)
    assert x1 < x2 and y1 > y2
