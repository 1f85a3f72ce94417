"""Progress: a redrawn bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from quire.base.observe import Progress, Unit


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_speed_and_time_left(clock: list[float]) -> None:
    display = Progress("org/m", 1_000_000_000, stream=io.StringIO())
    clock[0] += 2.0
    display.update(100_000_000)
    assert display.line() == "org/m: 100.0 of 1000.0 MB (10 %), 50.0 MB/s, 18 s left"
    clock[0] += 2.0
    display.update(100_000_100)
    clock[0] += 20.0
    display.update(300_000_000)
    assert "10.0 MB/s, 1 min 10 s left" in display.line()


def test_plain_lines_hold_no_control_characters(clock: list[float]) -> None:
    stream = io.StringIO()
    display = Progress("org/m", 1000, stream=stream)
    for step in range(1, 101):
        clock[0] += 0.25
        display.update(step * 10)
    display.finish()
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert lines[-1].startswith("org/m: 0.0 of 0.0 MB (100 %)")
    assert all(character.isprintable() for line in lines for character in line)


def test_terminal_bar_is_redrawn_in_place(clock: list[float]) -> None:
    stream = Terminal()
    display = Progress("org/m", 1000, stream=stream)
    for done in (250, 500, 1000):
        clock[0] += 1.0
        display.update(done)
    display.finish()
    drawn = stream.getvalue().split("\r")
    assert drawn[1].startswith("[######..................] org/m")
    assert drawn[-1].startswith("[########################]")
    assert drawn[-1].endswith("\n")


def test_what_is_over_soon_is_not_shown(clock):
    stream = io.StringIO()
    display = Progress("weights", 1000, quiet_s=1.5, stream=stream)
    clock[0] += 10.0  # nothing was under way yet
    display.update(10)
    clock[0] += 1.0
    display.update(1000)
    display.finish()
    assert stream.getvalue() == ""


def test_what_takes_longer_is_shown_to_its_end(clock):
    stream = io.StringIO()
    display = Progress("weights", 1000, quiet_s=1.5, stream=stream)
    display.update(10)
    clock[0] += 2.0
    display.update(500)
    clock[0] += 1.0
    display.update(1000)
    display.finish()
    assert len(stream.getvalue().splitlines()) == 2


def test_other_units_and_a_remark(clock: list[float]) -> None:
    display = Progress("batch", 40, 10, unit=Unit("requests", window_s=30.0), stream=io.StringIO())
    clock[0] += 20.0
    display.remark = ", 1 failed"
    display.update(20)
    assert display.line() == "batch: 20 of 40 requests (50 %), 0.5 requests/s, 1 failed, 40 s left"
