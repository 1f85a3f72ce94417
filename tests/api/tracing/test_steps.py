"""Sums of steps' times over stretches of time."""

from __future__ import annotations

from quire.api.tracing import steps
from quire.api.tracing.steps import StepTimes


def test_sums_are_of_the_steps_that_began_within(monkeypatch):
    times = StepTimes()
    for number in range(10):
        times.add(float(number), 1.0, 2.0)
    assert times.between(0.0, 9.0) == (10.0, 20.0)
    assert times.between(2.5, 4.0) == (2.0, 4.0)
    assert times.between(9.5, 20.0) == times.between(5.0, 4.0) == (0.0, 0.0)
    monkeypatch.setattr(steps, "MAX_STEPS", 10)
    times.add(10.0, 1.0, 2.0)
    assert times.between(0.0, 4.0) == (0.0, 0.0)  # forgotten
    assert times.between(5.0, 10.0) == (6.0, 12.0)
