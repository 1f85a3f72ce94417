"""Settings of the engine's core: a scheduler of one's own, and a log line for each step."""

from __future__ import annotations

import logging

import msgspec
import pytest

from quire.base.errors import ConfigError
from quire.engine.core import EngineCore
from quire.engine.scheduler import Scheduler
from tests.engine.paper_executor import PaperExecutor
from tests.engine.workload import drive, engine_config, request


class OneAtATime(Scheduler):
    """Takes a request only when nothing else is under way."""

    most_running = 0

    def plan(self):
        plan = super().plan()
        OneAtATime.most_running = max(OneAtATime.most_running, len(plan.chunks))
        return plan


def engine(config) -> EngineCore:
    return EngineCore(config, PaperExecutor(config.cache.num_blocks, config.cache.block_size))


def test_a_scheduler_of_ones_own_schedules():
    config = engine_config(scheduler_class=f"{__name__}.OneAtATime", max_num_seqs=2)
    core = engine(config)
    assert type(core.scheduler).__name__ == "OneAtATime"
    for number in range(3):
        core.submit(request(str(number), [number + 1]))
    drive(core)
    assert type(core.scheduler).most_running == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("Scheduler", "--scheduler-cls: 'Scheduler' is not allowed; give a path"),
        ("no.such.module.X", "--scheduler-cls: no.such.module cannot be imported"),
        ("quire.engine.core.Nothing", "--scheduler-cls: quire.engine.core has no Nothing"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_sentence(path, message):
    with pytest.raises(ConfigError, match=message):
        engine(engine_config(scheduler_class=path))


def test_steps_are_logged_where_asked(caplog):
    caplog.set_level(logging.INFO, "quire")
    for logs_steps, num_lines in ((False, 0), (True, 2)):
        caplog.clear()
        core = engine(msgspec.structs.replace(engine_config(), log_steps=logs_steps))
        core.submit(request("a", [1, 2, 3], max_tokens=2))
        drive(core)
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == num_lines
    assert lines[0].startswith("step 0: 3 tokens of 1 sequences in ")
