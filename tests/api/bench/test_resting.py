"""A side is asked when the processes of all sides are idle: what counts as theirs, and how long is waited."""

from __future__ import annotations

import subprocess
import sys

import pytest

from quire.api.bench.resting import LIMIT_S, PROCESSES, UNSEEN_S, WINDOW_S, processor_seconds, wait_for_rest


class Machine:
    """Time that passes by sleeping only, and processes that use `cores` until `busy_s`."""

    def __init__(self, cores: float, busy_s: float) -> None:
        self.now_s, self._cores, self._busy_s = 0.0, cores, busy_s

    def wait(self, least_s: float = 0.0):
        return wait_for_rest(self._used_s, least_s, self._sleep, lambda: self.now_s)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def _used_s(self) -> float:
        return self._cores * min(self.now_s, self._busy_s)


def test_idle_sides_are_given_one_window():
    rest = Machine(2.0, 0.0).wait()
    assert rest == (WINDOW_S, 0.0) and str(rest) == "rest: 0.3 s"


def test_spinning_threads_are_waited_for():
    machine = Machine(2.0, 1.0)
    rest = machine.wait()
    assert rest.cores == 0.0
    assert 1.0 + WINDOW_S <= rest.waited_s == machine.now_s <= 1.0 + 2 * WINDOW_S


def test_what_an_idle_server_uses_is_no_reason_to_wait():
    assert Machine(0.05, 100.0).wait().waited_s == WINDOW_S


def test_sides_that_never_rest_are_given_up_and_named():
    rest = Machine(1.5, 100.0).wait()
    assert LIMIT_S <= rest.waited_s < LIMIT_S + 2 * WINDOW_S
    assert str(rest) == "no rest: 1.5 cores still used after 10 s; the next figure suffers"


def test_an_unseen_server_is_given_a_while():
    assert UNSEEN_S <= Machine(0.0, 0.0).wait(UNSEEN_S).waited_s < UNSEEN_S + 2 * WINDOW_S


BUSY = """
import subprocess, sys
work = "import sys, time\\nwhile time.process_time() < 0.3: pass\\nprint(flush=True)\\nsys.stdin.read()"
subprocess.run([sys.executable, "-c", work])
"""


@pytest.mark.skipif(not PROCESSES.exists(), reason="this system does not show processes as files")
def test_what_a_sides_children_use_is_the_sides():
    side = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert side.stdout is not None and side.stdout.readline() == b"\n"
        assert processor_seconds([side.pid]) >= 0.29
        assert processor_seconds([]) == 0.0
    finally:
        side.communicate()  # its child ends with its input
    assert processor_seconds([side.pid]) == 0.0
