"""Prompts computed in part: how many at a time, short ones ahead of long ones, and room for the whole of one."""

from __future__ import annotations

from tests.engine.workload import drive, engine_config, paper_engine, request


def lengths_by_step(executor) -> list[list[int]]:
    return [[len(chunk.token_ids) for chunk in plan.chunks] for plan in executor.plans]


def test_without_limits_long_prompts_share_a_step():
    core, executor = paper_engine(engine_config(long_prefill_token_threshold=5))
    core.submit(request("a", [1] * 10))
    core.submit(request("b", [2] * 10))
    core.step()
    assert lengths_by_step(executor) == [[5, 5]]
    drive(core)


def test_partial_prefills_are_bounded():
    core, executor = paper_engine(engine_config(long_prefill_token_threshold=5, max_num_partial_prefills=1))
    core.submit(request("a", [1] * 10))
    core.submit(request("b", [2] * 10))
    core.step()
    core.step()
    # b has to wait until a's prompt is done within the step
    assert lengths_by_step(executor) == [[5], [5, 5]]
    drive(core)


def test_short_prompts_go_ahead_while_enough_long_ones_are_under_way():
    limits = {"long_prefill_token_threshold": 5, "max_num_partial_prefills": 4}
    for max_long, expected in ((0, [5, 5, 3]), (1, [5, 3])):
        core, executor = paper_engine(engine_config(**limits, max_long_partial_prefills=max_long))
        core.submit(request("long a", [1] * 10))
        core.submit(request("long b", [2] * 10))
        core.submit(request("short", [3] * 3))
        core.step()
        assert lengths_by_step(executor)[0] == expected
        drive(core)


def test_a_request_is_admitted_only_with_room_for_its_whole_prompt():
    for reserves, num_preempted in ((True, 0), (False, 1)):
        config = engine_config(
            num_blocks=8, block_size=4, max_num_batched_tokens=8, reserve_whole_prompts=reserves,
            long_prefill_token_threshold=4,
        )  # fmt: skip
        core, _ = paper_engine(config)
        core.submit(request("a", [1] * 20, max_tokens=1))
        core.submit(request("b", [2] * 20, max_tokens=1))
        drive(core)
        assert min(core.stats().num_preemptions, 1) == num_preempted
