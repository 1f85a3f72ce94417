"""What the engine tells of its steps: times, blocks' stays, work; and nothing it was not asked for."""

from __future__ import annotations

import msgspec

from quire.base.commands import ResetPrefixes
from quire.base.observe import KvEventsConfig, WatchConfig, WorkRates
from quire.engine.core import EngineCore
from tests.engine.paper_executor import PaperExecutor
from tests.engine.workload import drive, engine_config, request


def engine(watch: WatchConfig, publisher=None, **config) -> EngineCore:
    changed = msgspec.structs.replace(engine_config(**config), watch=watch)
    return EngineCore(changed, PaperExecutor(changed.cache.num_blocks, changed.cache.block_size),
                      publisher=publisher, audit_steps=True)  # fmt: skip


def test_a_step_s_times_are_told():
    core = engine(WatchConfig())
    core.submit(request("a", [1, 2, 3]))
    core.step()
    stats = core.stats()
    assert stats.step_started_s > 0 and stats.step_execute_s > 0
    assert (stats.flops, stats.read_bytes, stats.written_bytes, stats.block_stays) == (0, 0, 0, [])


def test_work_is_counted_from_what_each_step_holds():
    rates = WorkRates(
        flops_per_token=1000,
        flops_per_pair=10,
        flops_per_sampled_row=1,
        weight_bytes=10**6,
        kv_bytes_per_token=100,
    )
    core = engine(WatchConfig(work=rates))
    core.submit(request("a", [1, 2, 3], max_tokens=2))
    core.step()
    first = core.stats()
    assert first.flops == 3 * 1000 + (1 + 2 + 3) * 10 + 1
    assert (first.read_bytes, first.written_bytes) == (10**6 + 300, 300)
    core.step()  # one token attends to four
    second = core.stats()
    assert second.flops - first.flops == 1000 + 4 * 10 + 1
    assert second.read_bytes - first.read_bytes == 10**6 + 400
    assert second.written_bytes == 400
    drive(core)


def test_experts_are_read_as_far_as_tokens_can_choose_them():
    rates = WorkRates(
        flops_per_token=0,
        flops_per_pair=0,
        flops_per_sampled_row=0,
        weight_bytes=10**6,
        kv_bytes_per_token=0,
        num_experts=5,
        chosen_experts=2,
        expert_bytes=1000,
    )
    core = engine(WatchConfig(work=rates))
    core.submit(request("a", [1, 2, 3], max_tokens=2))
    core.step()
    assert core.stats().read_bytes == 10**6  # three tokens can choose all five
    core.step()
    assert core.stats().read_bytes == 2 * 10**6 - 3 * 1000
    drive(core)


def test_stays_of_blocks_are_told_once():
    core = engine(WatchConfig(kv_residency_share=1.0), num_blocks=4)
    for number in range(3):
        core.submit(request(str(number), [number + 1] * 9, max_tokens=4))
        drive(core)
    stays = core.stats().block_stays
    assert len(stays) == 3 * 3 - 4  # each request takes three of the four blocks
    assert all(0 <= stay.idle_s <= stay.lifetime_s < 60 for stay in stays)
    assert core.stats().block_stays == []


class Ear:
    def __init__(self) -> None:
        self.heard: list = []

    def publish(self, events) -> None:
        self.heard += events


def test_news_of_the_cache_are_published_after_the_step_that_made_them():
    ear = Ear()
    core = engine(WatchConfig(kv_events=KvEventsConfig(endpoint="ipc://unused")), ear)
    core.submit(request("a", [1, 2, 3, 4, 5], max_tokens=1))
    core.step()
    assert [event.token_ids for event in ear.heard] == [[1, 2, 3, 4]]
    core.answer(ResetPrefixes())
    assert len(ear.heard) == 2
    drive(core)
