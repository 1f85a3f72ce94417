"""Commands between steps: what each does to queues and blocks, and that no stream says anything else for it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.base.commands import CallWorker, FreeKV, Hold, Release, ResetPrefixes, Sleep, WakeUp
from quire.base.errors import CheckpointError, InvalidValue
from tests.engine.paper_executor import paper_stream
from tests.engine.workload import engine_config, paper_engine, request

PROMPTS = [[1, 2, 3], [4] * 30, [5, 6], [7] * 11]


def collect(core, said, steps=1000) -> None:
    while core.has_work and steps:
        steps -= 1
        for event in core.step():
            said.setdefault(event.request_id, []).append(event)


def tokens(events) -> list[int]:
    return [token for event in events for token in event.token_ids]


def started_core(steps: int):
    core, executor = paper_engine(engine_config(num_blocks=64))
    said: dict[str, list] = {}
    for number, prompt in enumerate(PROMPTS):
        core.submit(request(str(number), prompt, seed=number, max_tokens=10))
    collect(core, said, steps)
    return core, executor, said


def assert_undisturbed(said) -> None:
    for number, prompt in enumerate(PROMPTS):
        assert tokens(said[str(number)]) == paper_stream(prompt, number, 0, 10)


def test_prefixes_are_forgotten_with_or_without_what_runs():
    for with_running, num_preemptions in ((False, 0), (True, 1)):
        core, _, said = started_core(4)
        running = core.stats().num_running
        assert running == 4
        assert core.answer(ResetPrefixes(with_running=with_running)) is True
        assert core.stats().num_running == (0 if with_running else 4)
        assert (core.stats().num_blocks_used == 0) is with_running
        collect(core, said)
        assert_undisturbed(said)
        assert {events[-1].num_preemptions for events in said.values()} == {num_preemptions}


def test_a_held_engine_computes_nothing_and_still_tells_of_ends():
    core, executor, said = started_core(4)
    num_plans = len(executor.plans)
    core.answer(Hold())
    assert not core.has_work and core.step() == []
    core.submit(request("late", [9]))
    core.abort("1")
    assert core.has_work
    assert [(event.request_id, event.finish_reason) for event in core.step()] == [("1", "abort")]
    assert not core.has_work and len(executor.plans) == num_plans
    core.answer(Release())
    collect(core, said)
    assert tokens(said["late"]) == paper_stream([9], 0, 0, 8)
    assert tokens(said["2"]) == paper_stream([5, 6], 2, 0, 10)


def test_a_sleeper_wakes_when_every_part_is_back_and_says_what_it_would_have_said():
    core, executor, said = started_core(6)
    core.answer(Sleep(1))
    assert core.stats().num_blocks_used == 0 and not core.has_work
    core.answer(Release())  # of a hold that is not there: memory is missing all the same
    core.answer(WakeUp(["kv_cache"]))
    assert not core.has_work and executor.is_asleep
    core.answer(WakeUp(["weights", "kv_cache"]))
    assert core.has_work and not executor.is_asleep
    core.answer(WakeUp(["weights"]))  # has nothing left to do
    assert [type(command) for command in executor.commands] == [Sleep, WakeUp]
    collect(core, said)
    assert_undisturbed(said)


def test_weights_that_do_not_come_back_leave_the_engine_asleep():
    core, executor, said = started_core(6)
    core.answer(Sleep(2))
    answer, executor.answer = executor.answer, _raise
    with pytest.raises(CheckpointError):
        core.answer(WakeUp(["weights", "kv_cache"]))
    assert not core.has_work
    executor.answer = answer
    core.answer(WakeUp(["weights", "kv_cache"]))
    collect(core, said)
    assert_undisturbed(said)


def _raise(command):
    raise CheckpointError("gone")


def test_sleep_needs_its_option():
    config = msgspec.structs.replace(engine_config(), enable_sleep_mode=False)
    core, executor = paper_engine(config)
    with pytest.raises(InvalidValue, match="--enable-sleep-mode"):
        core.answer(Sleep(1))
    assert not executor.commands


COMMANDS = (
    Hold(), Release(), ResetPrefixes(), ResetPrefixes(with_running=True), FreeKV(), Sleep(1), Sleep(2),
    WakeUp(["weights"]), WakeUp(["kv_cache"]), CallWorker("anything"),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(moves=st.lists(st.tuples(st.sampled_from(COMMANDS), st.integers(0, 3)), max_size=30))
def test_streams_are_the_same_whatever_is_commanded_meanwhile(moves):
    core, _, said = started_core(1)
    for command, num_steps in moves:
        core.answer(command)
        collect(core, said, num_steps)
    core.answer(WakeUp(["weights", "kv_cache"]))
    core.answer(Release())
    collect(core, said)
    assert_undisturbed(said)
    assert core.stats().num_blocks_used == 0
