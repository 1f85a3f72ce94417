"""Paused requests hold nothing, let others go on, and say the same in the end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.paper_executor import paper_stream
from tests.engine.workload import engine_config, paper_engine, request

PROMPTS = [[1, 2, 3], [4] * 30, [5, 6], [7] * 11]


@settings(max_examples=60, deadline=None)
@given(moves=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40), n=st.integers(1, 2))
def test_streams_paused_at_any_time_equal_the_undisturbed_ones(moves, n):
    core, _ = paper_engine(engine_config(num_blocks=24))
    for number, prompt in enumerate(PROMPTS):
        core.submit(request(str(number), prompt, seed=number, n=n, max_tokens=10))
    said: dict[tuple[str, int], list[int]] = {}

    def step() -> None:
        for event in core.step():
            said.setdefault((event.request_id, event.index), []).extend(event.token_ids)

    for number, pauses in moves:
        (core.pause if pauses else core.resume)(str(number))
        step()
    for number in range(len(PROMPTS)):
        core.resume(str(number))
    while core.has_work:
        step()
    for number, prompt in enumerate(PROMPTS):
        for index in range(n):
            assert said[str(number), index] == paper_stream(prompt, number, index, 10)
    assert core.stats().num_blocks_used == 0


def test_a_paused_request_holds_no_block_and_leaves_nothing_to_do():
    core, _ = paper_engine(engine_config())
    core.submit(request("slow", [1, 2, 3]))
    core.step()
    core.pause("slow")
    assert core.stats().num_blocks_used == 0 and not core.has_work
    core.abort("slow")
    assert [event.finish_reason for event in core.step()] == ["abort"]
    assert not core.has_work
