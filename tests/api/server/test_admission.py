"""Who may wait, and what those hear who may not."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from tests.api.server.scripted_engine import engine_config, server_config

from quire.api.server.admission import LASTING_SHARE, MAX_WAIT_S, QUEUE_PER_SEAT, Admission
from quire.base.errors import Overloaded

SEATS = 8  # of the scripted engine, whose KV cache holds 1024 tokens


@pytest.fixture
def make(model_folder):
    def admission(clock=lambda: 0.0, **limits: object) -> Admission:
        return Admission(engine_config(model_folder), server_config(**limits), clock)

    return admission


def admits(admission: Admission, num_under_way: int, queued_tokens: int = 0, tokens: int = 0) -> bool:
    try:
        admission.check(num_under_way, queued_tokens, tokens)
    except Overloaded:
        return False
    return True


def test_a_given_limit_counts_those_without_a_seat(make):
    assert [admits(make(max_num_queued_reqs=2), SEATS + n) for n in range(4)] == [True, True, False, False]
    assert admits(make(max_num_queued_reqs=0), 10**6)


def test_waiting_tokens_are_bounded_by_what_the_cache_holds(make):
    assert admits(make(), 1, 24, 1000) and not admits(make(), 1, 25, 1000)
    assert admits(make(), 1, 0, 5000)  # alone it may always come: it is refused later if it can never fit
    assert not admits(make(max_num_queued_tokens=100), 1, 60, 41)
    assert admits(make(max_num_queued_tokens=0), 1, 10**6, 10**6)


def test_the_automatic_limit_follows_the_measured_speed(make):
    now_s = 0.0
    admission = make(lambda: now_s)
    assert admission.max_requests == QUEUE_PER_SEAT * SEATS
    for _ in range(40):  # one request a second while all seats are taken
        now_s += 1.0
        admission.note_end(SEATS)
    assert admission.max_requests == MAX_WAIT_S
    now_s += 1e6
    admission.note_end(1)  # an idle night is no slowness
    now_s += 1e6
    admission.note_end(SEATS)
    assert admission.max_requests == MAX_WAIT_S
    with pytest.raises(Overloaded) as refusal:
        admission.check(SEATS + 30, 0, 0)
    assert refusal.value.retry_after_s == 30


def offered(admission: Admission, queued: int, arrivals: list[int]) -> list[int]:
    """How many wait each time a request has ended and so many have come in its stead."""
    lengths = []
    for num_new in arrivals:
        admission.note_end(SEATS + queued)
        queued -= 1
        for _ in range(num_new):
            queued += admits(admission, SEATS + queued)
        lengths.append(queued)
    return lengths


def test_under_a_load_that_lasts_a_quarter_of_the_queue_is_kept(make):
    limit = 2 * SEATS
    short = int(limit * LASTING_SHARE) + 1  # an end has given a part of a place back when the next one comes
    admission = make(max_num_queued_reqs=limit)
    assert [admits(admission, SEATS + n) for n in range(limit)] == [True] * limit  # a burst is taken whole
    # one too many in four: the queue stays as long as it may be
    assert offered(admission, limit, [1, 1, 1, 2] * 50) == [limit] * 200
    sinking = offered(admission, limit, [4] * 100)
    assert all(0 <= earlier - later <= 1 for earlier, later in pairwise(sinking))
    assert (sinking[0], sinking[-1]) == (limit, short) and sinking.index(short) < 2 * limit
    # the load goes back to what can be served, in time the burst may come again
    assert offered(admission, short, [1] * 100) == [short] * 100
    assert [admits(admission, SEATS + n) for n in range(short, limit)] == [True] * (limit - short)


def test_an_idle_server_has_its_whole_queue_again_and_a_queue_of_one_is_never_shorter(make):
    admission = make(max_num_queued_reqs=1)
    assert not any(admits(admission, SEATS + 1) for _ in range(50))
    assert admits(admission, SEATS) and admission.share == LASTING_SHARE
    assert admits(admission, 0) and admission.share == 1.0


def test_a_load_that_lasts_lowers_what_prompts_may_wait_too(make):
    admission = make(max_num_queued_tokens=100, max_num_queued_reqs=4)
    assert admits(admission, 1, 60, 40)
    for _ in range(12):
        assert not admits(admission, 1, 60, 41)
    assert [admits(admission, 1, 10, tokens) for tokens in (15, 16)] == [True, False]
    assert admits(admission, 1, 0, 5000)


@pytest.mark.parametrize(
    ("status", "path"), [("503", "v1/completions"), ("429", "v1/chat/completions"), ("503", "invocations")]
)
async def test_one_too_many_is_refused_and_told_when_to_come_back(make_service, connect, status, path):
    service = make_service(max_num_queued_reqs=1, overload_status=status)
    service.client.pause_after = 1
    bodies = {
        "v1/completions": {"prompt": "hello", "max_tokens": 5},
        "v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5},
        "invocations": {"prompt": "hello", "max_tokens": 5},
    }
    async with connect(service) as http:
        waiting = [asyncio.create_task(http.post(f"/{path}", json=bodies[path])) for _ in range(SEATS + 1)]
        while service.num_under_way < SEATS + 1:
            await asyncio.sleep(0)
        refused = await http.post(f"/{path}", content=b"no JSON, which nobody reads")
        assert (refused.status_code, refused.json()["error"]["code"]) == (int(status), "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert "max-num-queued-reqs" in refused.json()["error"]["message"]
        service.client.resume()
        assert {reply.status_code for reply in await asyncio.gather(*waiting)} == {200}
        metrics = (await http.get("/metrics")).text
    assert 'vllm:admission_rejections_total{engine="0",model_name="scripted"} 1.0' in metrics
    assert service.num_under_way == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_quarantined_request_is_a_422_before_its_stream_begins(http, engine, stream):
    engine.quarantined = True
    reply = await http.post("/v1/completions", json={"prompt": "x", "stream": stream})
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "request_quarantined")
    assert engine.requests == []
