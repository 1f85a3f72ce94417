"""Whatever arrives, in whatever order, into however small a pool: every stream is the undisturbed one."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.paper_executor import paper_stream
from tests.engine.workload import check_one_end_each, drive, engine_config, paper_engine, request, tokens

PROMPTS = st.one_of(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.integers(1, 40).map(lambda length: [7] * length),  # long shared prefixes
)
REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": PROMPTS,
            "n": st.integers(1, 4),
            "max_tokens": st.integers(1, 12),
            "seed": st.integers(0, 2),
            "priority": st.integers(0, 2),
            "prompt_logprobs": st.sampled_from([None, None, 0]),
            "arrives": st.integers(0, 20),
            "aborted": st.one_of(st.none(), st.none(), st.integers(0, 25)),
        }
    ),
    min_size=1,
    max_size=10,
)
ENGINES = st.fixed_dictionaries(
    {
        "num_blocks": st.integers(14, 40),
        "block_size": st.sampled_from([1, 4, 5]).filter(lambda size: size > 1),
        "prefix_caching": st.booleans(),
        "max_num_batched_tokens": st.sampled_from([1, 7, 16, 64]),
        "max_num_seqs": st.integers(1, 6),
        "policy": st.sampled_from(["fcfs", "priority"]),
        "long_prefill_token_threshold": st.sampled_from([0, 3]),
    }
)


@settings(max_examples=150, deadline=None)
@given(asked=REQUESTS, limits=ENGINES)
def test_streams_equal_the_undisturbed_ones_and_end_once(asked, limits):
    core, executor = paper_engine(engine_config(**limits))
    requests = {
        f"r{number}": request(
            f"r{number}", want["prompt"], seed=want["seed"], priority=want["priority"], arrival_s=float(number),
            n=want["n"], max_tokens=want["max_tokens"], prompt_logprobs=want["prompt_logprobs"],
        )
        for number, want in enumerate(asked)
    }  # fmt: skip
    wants = dict(zip(requests, asked, strict=True))
    streams = {}

    def arrivals_and_aborts(step):
        for name, want in wants.items():
            if want["arrives"] == step:
                core.submit(requests[name])
            if want["aborted"] == step:
                core.abort(name)

    for step in range(26):  # let every arrival happen, work or not
        arrivals_and_aborts(step)
        if core.has_work:
            for event in core.step():
                streams.setdefault((event.request_id, event.index), []).append(event)
    drive(core, streams=streams)

    check_one_end_each(streams)
    assert len(streams) == sum(want["n"] for want in asked)
    for (name, index), events in streams.items():
        want = wants[name]
        expected = paper_stream(want["prompt"], want["seed"], index, want["max_tokens"])
        if events[-1].finish_reason == "abort":
            assert want["aborted"] is not None
            assert tokens(events) == expected[: len(tokens(events))]
        else:
            assert events[-1].finish_reason == "length", events[-1]
            assert tokens(events) == expected
            if want["prompt_logprobs"] is not None and index == 0:
                entries = events[0].prompt_logprobs
                assert [entry and entry.token_ids[0] for entry in entries] == [None, *want["prompt"][1:]]
    assert core.scheduler.kv.num_used == 0
    core.step()  # hands the last `ended` ids down
    assert not executor.known


def test_preemption_happens_and_changes_nothing():
    core, _ = paper_engine(engine_config(num_blocks=8, block_size=4, max_num_seqs=4))
    prompts = {f"r{number}": [number] * 9 for number in range(4)}
    for name, prompt in prompts.items():
        core.submit(request(name, prompt, max_tokens=16))
    streams = drive(core)
    assert core.stats().num_preemptions > 0
    for (name, index), events in streams.items():
        assert tokens(events) == paper_stream(prompts[name], 0, index, 16)


def test_a_failing_row_ends_alone_and_its_blocks_are_not_reused_by_key():
    core, executor = paper_engine(engine_config())
    executor.failing_tokens = {42}
    core.submit(request("bad", [42] * 9))
    core.submit(request("good", [1] * 9))
    streams = drive(core)
    assert streams["bad", 0][-1].finish_reason == "error"
    assert "non-finite" in streams["bad", 0][-1].error
    assert tokens(streams["good", 0]) == paper_stream([1] * 9, 0, 0, 8)
    executor.failing_tokens = set()
    core.submit(request("again", [42] * 9))
    assert drive(core)["again", 0][-1].num_cached_tokens == 0


def test_an_exception_in_a_step_ends_its_sequences_and_the_engine_goes_on(caplog):
    core, executor = paper_engine(engine_config())
    core.submit(request("unlucky", [1, 2, 3]))
    executor.is_broken = True
    (event,) = core.step()
    assert event.finish_reason == "error" and "ZeroDivisionError" in event.error
    executor.is_broken = False
    core.submit(request("lucky", [1, 2, 3]))
    assert tokens(drive(core)["lucky", 0]) == paper_stream([1, 2, 3], 0, 0, 8)


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    n=st.integers(1, 3),
    cut=st.integers(1, 11),
    ended=st.sets(st.integers(0, 2)),
)
def test_a_request_taken_up_again_goes_on_after_its_last_token(prompt, n, cut, ended):
    streams = [paper_stream(prompt, 4, index, 12) for index in range(n)]
    ended = sorted(index for index in ended if index < n)[: n - 1]
    core, _ = paper_engine(engine_config(max_num_seqs=2))
    taken_up = msgspec.structs.replace(
        request("again", prompt, seed=4, n=n, max_tokens=12),
        emitted=[stream[:cut] for stream in streams],
        ended_samples=ended,
    )
    core.submit(taken_up)
    news = drive(core)
    check_one_end_each(news)
    assert {index for _, index in news} == set(range(n)) - set(ended)
    for (_, index), events in news.items():
        assert tokens(events) == streams[index][cut:]
