"""Scheduling rules one by one: budget, seats, chunking, order, priority, prefix hits, forks, refusals."""

from __future__ import annotations

import pytest

from quire.base.errors import InvalidValue
from tests.engine.paper_executor import paper_stream
from tests.engine.workload import drive, engine_config, paper_engine, request, tokens


def chunk_lengths(plan):
    return [len(chunk.token_ids) for chunk in plan.chunks]


def test_a_step_never_exceeds_the_token_budget_and_mixes_decodes_with_prefill():
    core, executor = paper_engine(engine_config(max_num_batched_tokens=10))
    core.submit(request("short", [1, 2]))
    core.step()
    core.submit(request("long", [3] * 25))
    drive(core)
    assert max(plan.num_tokens for plan in executor.plans) <= 10
    assert chunk_lengths(executor.plans[1]) == [1, 9]


def test_decodes_come_before_a_prefill_under_way():
    core, executor = paper_engine(engine_config(max_num_batched_tokens=8))
    core.submit(request("long", [3] * 20))
    core.step()
    core.submit(request("short", [1]))
    core.step()
    core.step()
    lengths = [chunk_lengths(plan) for plan in executor.plans]
    assert lengths[:3] == [[8], [8], [4, 1]]
    drive(core)


def test_long_prompts_are_cut_at_the_threshold_so_that_short_ones_share_the_step():
    core, executor = paper_engine(engine_config(long_prefill_token_threshold=5))
    core.submit(request("long", [3] * 12))
    core.submit(request("short", [1, 2]))
    core.step()
    assert chunk_lengths(executor.plans[0]) == [5, 2]
    drive(core)


def test_without_chunking_a_prompt_waits_for_a_step_it_fits_whole():
    core, executor = paper_engine(engine_config(max_num_batched_tokens=16, enable_chunked_prefill=False))
    core.submit(request("a", [1] * 10))
    core.submit(request("b", [2] * 10))
    drive(core)
    assert all(length in (1, 10) for plan in executor.plans for length in chunk_lengths(plan))


def test_seats_bound_the_sequences_of_a_step():
    core, executor = paper_engine(engine_config(max_num_seqs=2))
    for number in range(5):
        core.submit(request(f"r{number}", [number]))
    drive(core)
    assert max(len(plan.chunks) for plan in executor.plans) == 2


def test_priority_policy_admits_the_lowest_number_first():
    core, executor = paper_engine(engine_config(max_num_seqs=1, policy="priority"))
    core.submit(request("later", [1], priority=5))
    core.submit(request("sooner", [2], priority=-1))
    core.step()
    assert executor.plans[0].chunks[0].token_ids == [2]
    drive(core)


def test_a_repeated_prompt_hits_the_prefix_cache_for_all_but_the_last_block():
    core, _ = paper_engine(engine_config(block_size=4))
    prompt = list(range(12))
    core.submit(request("first", prompt))
    drive(core)
    core.submit(request("second", prompt))
    last = drive(core)["second", 0][-1]
    assert last.num_cached_tokens == 8
    assert core.stats().prefix_cache_hits_tokens == 8
    assert core.stats().prefix_cache_queries_tokens == 24


@pytest.mark.parametrize("field", ["cache_salt", "adapter", "media_keys"])
def test_prefixes_are_shared_only_under_the_same_salt_adapter_and_media(field):
    core, _ = paper_engine(engine_config())
    value = ["image"] if field == "media_keys" else "tenant"
    core.submit(request("plain", [5] * 16))
    drive(core)
    salted = request("salted", [5] * 16)
    core.submit(
        type(salted)(**{name: getattr(salted, name) for name in salted.__struct_fields__} | {field: value})
    )
    assert drive(core)["salted", 0][-1].num_cached_tokens == 0


def test_a_fork_shares_full_pages_and_copies_only_the_page_it_writes():
    core, executor = paper_engine(engine_config(block_size=4))
    core.submit(request("fan", [9] * 10, n=3))
    core.step()
    assert core.scheduler.kv.num_used == 3
    core.step()
    assert core.scheduler.kv.num_used == 5  # two shared full pages, three tails
    assert len(executor.plans[1].copies) == 2
    streams = drive(core)
    for index in range(3):
        assert len(streams["fan", index]) == 6 and streams["fan", index][-1].finish_reason == "length"


def test_forks_beyond_the_seats_wait_and_still_say_the_same():
    core, _ = paper_engine(engine_config(max_num_seqs=2))
    core.submit(request("fan", [9] * 10, n=5))
    streams = drive(core)
    for index in range(5):
        assert tokens(streams["fan", index]) == paper_stream([9] * 10, 0, index, 8)


def test_a_request_that_ends_with_its_first_token_leaves_its_prompt_in_the_cache():
    core, _ = paper_engine(engine_config(block_size=4))
    core.submit(request("first", [7] * 10, max_tokens=1))
    drive(core)
    core.submit(request("again", [7] * 10, max_tokens=1))
    assert drive(core)["again", 0][-1].num_cached_tokens == 8


def test_stop_tokens_end_a_stream_after_min_tokens():
    stream = paper_stream([1, 2, 3], 0, 0, 8)
    core, _ = paper_engine(engine_config())
    core.submit(request("stopped", [1, 2, 3], stop_token_ids=[stream[2]]))
    core.submit(request("patient", [1, 2, 3], stop_token_ids=[stream[2]], min_tokens=8))
    streams = drive(core)
    assert tokens(streams["stopped", 0]) == stream[: stream.index(stream[2]) + 1]
    assert streams["stopped", 0][-1].stop_reason == stream[2]
    assert streams["patient", 0][-1].finish_reason in ("length", "stop")
    assert len(tokens(streams["patient", 0])) == 8


def test_a_request_that_can_never_fit_is_refused_with_the_remedy():
    core, _ = paper_engine(engine_config(num_blocks=4, block_size=4))
    core.submit(request("huge", [1] * 10, max_tokens=8))
    (event,) = drive(core)["huge", 0]
    assert event.finish_reason == "error" and "--kv-cache-memory-bytes" in event.error


def test_a_request_id_in_use_is_refused():
    core, _ = paper_engine(engine_config())
    core.submit(request("same", [1]))
    with pytest.raises(InvalidValue, match="same") as refused:
        core.submit(request("same", [2]))
    assert refused.value.field == "request_id"
    drive(core)


def test_one_sample_can_be_aborted_and_its_siblings_go_on():
    core, _ = paper_engine(engine_config())
    core.submit(request("fan", [9] * 10, n=3))
    first = core.step()
    assert all(event.times and event.times.first_token_s for event in first)
    core.abort("fan", 1)
    streams = drive(core)
    assert [streams["fan", index][-1].finish_reason for index in range(3)] == ["length", "abort", "length"]


def test_aborting_an_unknown_request_is_harmless():
    core, _ = paper_engine(engine_config())
    core.abort("nobody")
    assert not core.has_work
