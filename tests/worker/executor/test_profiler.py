"""Profiles are real traces: each step and each op is a named range; limits of steps are kept."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from quire.base.commands import ProfilerConfig, StartProfile, StopProfile
from quire.base.errors import InvalidValue
from quire.engine.client import InProcessClient
from quire.worker.executor.profiler import StepProfiler
from tests.engine.client.test_process_client import wish
from tests.model.tiny import engine_config, tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


def client_with(model: Path, **profiler: Any) -> InProcessClient:
    settings = ProfilerConfig(**{"with_stack": False, **profiler}) if profiler else None
    return InProcessClient(msgspec.structs.replace(engine_config(model), profiler=settings))


def run(client: InProcessClient, num_tokens: int = 6) -> list[int]:
    client.submit(wish(0, [5, 6, 7], max_tokens=num_tokens))
    events = []
    while client.has_work:
        events += client.step()
    return [token for event in events for token in event.token_ids]


def names_in(path: str) -> list[str]:
    content = Path(path).read_bytes()
    trace = json.loads(gzip.decompress(content) if path.endswith(".gz") else content)
    return [event["name"] for event in trace["traceEvents"] if event.get("cat") == "user_annotation"]


def steps_in(path: str) -> list[int]:
    return [int(name.split()[1][:-1]) for name in names_in(path) if name.startswith("step ")]


def test_a_trace_names_every_op_and_the_tokens_are_the_same(folder, tmp_path):
    client = client_with(folder, folder=str(tmp_path / "traces"))
    unwatched = run(client)
    client.ask(StartProfile(prefix="mine"))
    assert run(client) == unwatched
    path = client.ask(StopProfile())
    assert Path(path).parent == tmp_path / "traces" and Path(path).name.startswith("mine.")
    assert path.endswith(".pt.trace.json.gz")
    names = names_in(path)
    assert len(steps_in(path)) == 6
    num_layers = 3
    assert names.count("quire::paged_attention") == 6 * num_layers
    assert {"quire::linear", "quire::rms_norm", "quire::embedding"} <= set(names)
    assert run(client) == unwatched  # recorded again
    assert not list((tmp_path / "traces").glob("*.tmp"))


@pytest.mark.parametrize(
    ("asked", "configured", "expected"),
    [
        ({"delay_iterations": 2}, {}, [2, 3, 4, 5]),
        ({"max_iterations": 2}, {}, [0, 1]),
        ({}, {"delay_iterations": 1, "max_iterations": 3}, [1, 2, 3]),
        ({"delay_iterations": 0}, {"delay_iterations": 5, "max_iterations": 1}, [0]),
        ({}, {"wait_iterations": 1, "warmup_iterations": 1, "active_iterations": 2}, [2, 3]),
    ],
)
def test_steps_are_left_out_and_limited_as_asked(asked, configured, expected, folder, tmp_path):
    client = client_with(folder, folder=str(tmp_path), use_gzip=False, **configured)
    client.ask(StartProfile(**asked))
    run(client)
    assert steps_in(client.ask(StopProfile())) == expected
    assert len(list(tmp_path.iterdir())) == 1


def test_shapes_memory_stacks_and_flops_are_recorded_where_asked(folder, tmp_path):
    for more in ({}, {"record_shapes": True, "with_memory": True, "with_stack": True, "with_flops": True}):
        client = client_with(folder, folder=str(tmp_path), use_gzip=False, **more)
        client.ask(StartProfile())
        run(client, 1)
        text = Path(client.ask(StopProfile())).read_text()
        assert ('"Input Dims"' in text) is bool(more)
        assert ('"[memory]"' in text) is bool(more)
        assert ('"cat": "python_function"' in text) is bool(more)


def test_what_makes_no_profile_is_refused(folder, tmp_path):
    without = client_with(folder)
    with pytest.raises(InvalidValue, match="without a profiler; start it with --profiler-config"):
        without.ask(StartProfile())
    client = client_with(folder, folder=str(tmp_path))
    with pytest.raises(InvalidValue, match="no profile is being taken"):
        client.ask(StopProfile())
    with pytest.raises(InvalidValue, match="profile_prefix"):
        client.ask(StartProfile(prefix="../up"))
    client.ask(StartProfile())
    with pytest.raises(InvalidValue, match="already"):
        client.ask(StartProfile())
    assert client.ask(StopProfile()) == ""  # no step was recorded
    assert not list(tmp_path.iterdir())


def test_a_trace_that_cannot_be_made_ends_the_profile_and_no_step(folder, tmp_path, monkeypatch, caplog):
    client = client_with(folder, folder=str(tmp_path / "traces"))
    unwatched = run(client)

    def fail(*_: Any) -> None:
        raise UnicodeDecodeError("utf-8", b"\xa0", 0, 1, "invalid start byte")  # torch has been seen to

    monkeypatch.setattr(StepProfiler, "_write", fail)
    client.ask(StartProfile(max_iterations=2))
    assert run(client) == unwatched
    assert "the profile ended: UnicodeDecodeError" in caplog.text
    with pytest.raises(InvalidValue, match="no profile is being taken"):
        client.ask(StopProfile())
    monkeypatch.undo()
    client.ask(StartProfile(max_iterations=2))
    assert run(client) == unwatched and steps_in(client.ask(StopProfile()))
