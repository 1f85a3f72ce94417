"""Plugins run in both processes, when they are named, and what is wrong with one is a sentence."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import pytest
from tests.api.test_startup import make_folder
from tests.model.tiny import engine_config, tiny_checkpoint

from quire.api.server.stat_loggers import StatLoggers
from quire.api.startup import prepare_startup
from quire.base.config import Asked
from quire.base.errors import ConfigError
from quire.base.messages import EngineStats
from quire.engine.client import ProcessClient

MODULE = """
import os, pathlib
def note():
    with open(pathlib.Path(__file__).with_name("notes"), "a") as file:
        file.write(f"{os.getpid()}\\n")
def fail(*_):
    raise ZeroDivisionError("oh")
class Monitor:
    made = []
    def __init__(self, config, engine_index):
        self.steps, self.num_logs = [], 0
        self.config, self.engine_index = config, engine_index
        Monitor.made.append(self)
    def record(self, stats):
        if stats.num_steps == 99:
            raise OSError("monitor is gone")
        self.steps.append(stats.num_steps)
    def log(self):
        self.num_logs += 1
"""


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Where the plugin of a package installed in a folder of its own says that it ran."""
    site = tmp_path / "site"
    (site / "example-1.dist-info").mkdir(parents=True)
    (site / "example_plugin.py").write_text(MODULE)
    (site / "example-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: example\nVersion: 1\n"
    )
    (site / "example-1.dist-info" / "entry_points.txt").write_text(
        "[quire.plugins]\nnote = example_plugin:note\nbad = example_plugin:fail\n"
        "[vllm.general_plugins]\ngeneral = example_plugin:note\n"
        "[quire.stat_loggers]\nmonitor = example_plugin:Monitor\nbroken = example_plugin:fail\n"
        "[vllm.stat_logger_plugins]\nforeign = example_plugin:Monitor\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{':'.join(sys.path)}")
    yield site / "notes"
    sys.modules.pop("example_plugin", None)


def start(folder, **environ: str):
    return prepare_startup(Asked.from_arguments([str(folder)], environ)).resolution.engine


def test_only_named_plugins_run(tmp_path, notes):
    folder = make_folder(tmp_path / "m")
    start(folder)
    assert not notes.exists()
    assert start(folder, VLLM_PLUGINS="note").plugins == ["note"]
    assert len(notes.read_text().splitlines()) == 1
    start(folder, VLLM_PLUGINS="general,monitor")  # a group of vLLM's, and one that the server makes
    assert len(notes.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nots",
            r"^VLLM_PLUGINS: no installed package offers 'nots' under quire.plugins, vllm.general_plugins, "
            r"quire.stat_loggers; there is bad, broken, general, monitor, note",
        ),
        ("foreign", r"^VLLM_PLUGINS: foreign is a statistics logger of vLLM, .* under quire.stat_loggers"),
        ("bad", r"^VLLM_PLUGINS: bad failed \(ZeroDivisionError: oh\)"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, notes, name, message):
    with pytest.raises(ConfigError, match=message):
        start(make_folder(tmp_path / "m"), VLLM_PLUGINS=name)


async def test_plugins_run_in_the_engine_process(tmp_path, notes):
    config = engine_config(tiny_checkpoint("qwen3", tmp_path / "tiny"))
    client = ProcessClient(msgspec.structs.replace(config, plugins=["note"]))
    client.spawn()
    try:
        await asyncio.wait_for(client.connect(), 60)
        assert notes.read_text() == f"{client.pid}\n"
    finally:
        await client.shutdown()


def test_statistics_loggers_hear_of_every_step_and_are_let_go_when_they_fail(tmp_path, notes, caplog):
    config = msgspec.structs.replace(
        engine_config(tiny_checkpoint("qwen3", tmp_path / "tiny")), plugins=["note", "monitor"]
    )
    loggers = StatLoggers(config)
    for number in (1, 2):
        loggers.record(EngineStats(num_steps=number))
    loggers.log()
    (monitor,) = sys.modules["example_plugin"].Monitor.made
    assert (monitor.steps, monitor.num_logs, monitor.engine_index) == ([1, 2], 1, 0)
    assert monitor.config is config
    loggers.record(EngineStats(num_steps=99))
    loggers.record(EngineStats(num_steps=3))
    assert monitor.steps == [1, 2] and len(loggers) == 0
    assert "the statistics logger monitor failed and is not called again" in caplog.text
    with pytest.raises(ConfigError, match="VLLM_PLUGINS: broken failed"):
        StatLoggers(msgspec.structs.replace(config, plugins=["broken"]))
