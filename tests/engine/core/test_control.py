"""Commands between steps: what each does to queues and blocks, and that no stream says anything else for it."""

from __future__ import annotations

from quire.base.commands import ResetPrefixes
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
    core, _ = paper_engine(engine_config(num_blocks=64))
    said: dict[str, list] = {}
    for number, prompt in enumerate(PROMPTS):
        core.submit(request(str(number), prompt, seed=number, max_tokens=10))
    collect(core, said, steps)
    return core, said


def assert_undisturbed(said) -> None:
    for number, prompt in enumerate(PROMPTS):
        assert tokens(said[str(number)]) == paper_stream(prompt, number, 0, 10)


def test_prefixes_are_forgotten_with_or_without_what_runs():
    for with_running, num_preemptions in ((False, 0), (True, 1)):
        core, said = started_core(4)
        running = core.stats().num_running
        assert running == 4
        assert core.answer(ResetPrefixes(with_running=with_running)) is True
        assert core.stats().num_running == (0 if with_running else 4)
        assert (core.stats().num_blocks_used == 0) is with_running
        collect(core, said)
        assert_undisturbed(said)
        assert {events[-1].num_preemptions for events in said.values()} == {num_preemptions}
