"""Vigil: silence of a process that works is patience, silence of one that does not is a hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from quire.engine.client.vigil import FIRST_STEP_LIMIT_S, STILL_LIMIT_S, Signs, Vigil, read_signs


class Watched:
    """A vigil over a process on paper."""

    def __init__(self, step_limit_s: float | None = None) -> None:
        self.vigil = Vigil(max_step_tokens=100, step_limit_s=step_limit_s)
        self.now_s = 1000.0
        self.signs = Signs(is_runnable=False)
        self.vigil.begin(self.now_s)
        self.vigil.look(self.now_s, self.signs, is_loading=False)

    def step(self, seconds: float, num_tokens: int) -> None:
        self.now_s += seconds
        self.vigil.note_step(self.now_s, num_tokens)

    def until_hung(
        self, *, works: bool, is_loading: bool = False, patience_s: float = 1000.0
    ) -> float | None:
        """Seconds until the vigil speaks; None when it does not within `patience_s`."""
        started_s = self.now_s
        while self.now_s - started_s < patience_s:
            self.now_s += self.vigil.interval_s
            if works:
                self.signs = Signs(is_runnable=False, ticks=self.signs.ticks + 10)
            if self.vigil.look(self.now_s, self.signs, is_loading=is_loading):
                return self.now_s - started_s
        return None


@pytest.mark.parametrize("is_loading", [False, True])
def test_a_process_that_stands_still_is_found_within_five_seconds(is_loading):
    assert Watched().until_hung(works=False, is_loading=is_loading) <= 5.0


def test_a_first_prompt_may_take_minutes_and_loading_any_time_while_work_is_done():
    assert Watched().until_hung(works=True) == pytest.approx(FIRST_STEP_LIMIT_S, abs=1)
    assert Watched().until_hung(works=True, is_loading=True) is None


def test_a_step_far_beyond_the_recent_ones_is_a_hang_even_if_it_keeps_computing():
    quick = Watched()
    quick.step(0.02, 10)
    assert quick.until_hung(works=True) == pytest.approx(5.0, abs=1)
    dear = Watched()
    dear.step(0.5, 10)  # a full step of 100 tokens may take 5 s, so 4 times that is no surprise
    assert dear.until_hung(works=True) == pytest.approx(20.0, abs=1)


def test_a_given_limit_holds_alone_and_zero_is_none():
    assert Watched(step_limit_s=1.0).until_hung(works=False) == pytest.approx(1.0, abs=0.5)
    assert Watched(step_limit_s=600.0).until_hung(works=False) == pytest.approx(600, abs=1)
    assert Watched(step_limit_s=0).until_hung(works=False) is None


def test_time_nobody_looked_at_does_not_count():
    watched = Watched()
    watched.now_s += 3600.0  # the watcher itself was stopped
    assert watched.vigil.look(watched.now_s, watched.signs, is_loading=False) is None


def test_signs_of_a_working_a_sleeping_and_a_stopped_process():
    code = "import sys; print(flush=True); sys.stdin.read(1)\nwhile True: pass"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        process.stdout.readline()
        while read_signs(process.pid).is_runnable:
            assert process.poll() is None
        assert not read_signs(process.pid).show_work_since(read_signs(process.pid))
        process.stdin.write(b"x")
        while not read_signs(process.pid).is_runnable:
            assert process.poll() is None
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert not read_signs(process.pid).show_work_since(read_signs(process.pid))
    finally:
        process.kill()
        process.communicate()
    assert read_signs(process.pid) is None
    assert STILL_LIMIT_S < 5
