"""Plugins run in both processes, when they are named, and what is wrong with one is a sentence."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import pytest
from tests.api.test_startup import make_folder
from tests.model.tiny import engine_config, tiny_checkpoint

from quire.api.startup import prepare_startup
from quire.base.config import Asked
from quire.base.errors import ConfigError
from quire.engine.client import ProcessClient

MODULE = """
import os, pathlib
def note():
    with open(pathlib.Path(__file__).with_name("notes"), "a") as file:
        file.write(f"{os.getpid()}\\n")
def fail():
    raise ZeroDivisionError("oh")
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nots",
            r"^VLLM_PLUGINS: no installed package offers 'nots' under quire.plugins; there is bad, note",
        ),
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
