"""Settings of the engine process: its processors, its socket's folder, how long a step may take, its sleep."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from quire.base.errors import ConfigError, EngineDead
from quire.engine.client import EngineState, ProcessClient
from tests.engine.client.test_process_client import read, wish
from tests.model.tiny import engine_config, tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("tiny"))


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_bound_to_processors_with_a_socket_where_asked_and_asleep_when_idle(folder, tmp_path):
    processor = min(os.sched_getaffinity(0))
    config = msgspec.structs.replace(engine_config(folder), cpu_ids=[processor], process_name="mine::engine")
    client = ProcessClient(config, socket_folder=str(tmp_path))
    client.spawn()
    assert [path.name[:6] for path in tmp_path.iterdir()] == ["quire-"]
    try:
        await client.connect()
        assert all(
            os.sched_getaffinity(int(task.name)) == {processor}
            for task in Path(f"/proc/{client.pid}/task").iterdir()
        )
        assert Path(f"/proc/{client.pid}/comm").read_text() == "mine::engine\n"
        await read(client, wish(0, [5, 6, 7]))
        before_s = processor_seconds(client.pid)
        await asyncio.sleep(0.5)
        assert processor_seconds(client.pid) - before_s <= 0.05
    finally:
        await client.shutdown()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_sentence(folder, tmp_path):
    client = ProcessClient(engine_config(folder), socket_folder=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"^VLLM_RPC_BASE_PATH: no folder can be made in .*none"):
        client.spawn()


async def test_an_engine_whose_step_takes_too_long_is_replaced(folder):
    client = ProcessClient(engine_config(folder), step_timeout_s=0.5)
    client.spawn()
    try:
        await client.connect()
        expected = [event.token_ids for event in await read(client, wish(0, [5, 6, 7]))]
        hung = client.pid
        os.kill(hung, signal.SIGSTOP)
        assert [event.token_ids for event in await read(client, wish(0, [5, 6, 7]))] == expected
        assert client.num_restarts == 1 and client.pid != hung
    finally:
        await client.shutdown()


async def test_a_step_that_takes_too_long_is_the_engines_death(folder):
    client = ProcessClient(engine_config(folder), step_timeout_s=0.5, max_crashes=1)
    client.spawn()
    try:
        await client.connect()
        await read(client, wish(0, [5, 6, 7]))
        await asyncio.sleep(0.8)
        assert client.state is EngineState.READY  # idle is not slow
        os.kill(client.pid, signal.SIGSTOP)
        with pytest.raises(EngineDead, match=r"took more than 0.5 s \(VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS\)"):
            await read(client, wish(1, [5, 6, 7]))
    finally:
        await client.shutdown()


async def test_garbage_collections_are_logged_where_asked(folder, capfd):
    for changes, expected in (({}, []), ({"logs_collections": True, "num_logged_types": 2}, ["commonest: "])):
        client = ProcessClient(msgspec.structs.replace(engine_config(folder), **changes))
        client.spawn()
        try:
            await client.connect()
        finally:
            await client.shutdown()
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("INFO collected ")]
        assert bool(lines) is bool(expected)
        assert all(word in line for word in expected for line in lines)


async def test_every_call_of_the_engine_process_is_written_down_where_asked(folder, tmp_path):
    calls_folder = tmp_path / "cache" / "calls"
    client = ProcessClient(msgspec.structs.replace(engine_config(folder), calls_folder=str(calls_folder)))
    client.spawn()
    try:
        await client.connect()
        await read(client, wish(0, [5, 6, 7]))
    finally:
        await client.shutdown()
    (path,) = calls_folder.iterdir()
    assert path.name == f"engine-{client.pid}.log"
    words = [line.split() for line in path.read_text().splitlines()]
    steps = [event for _, _, event, name, _ in words if name == "EngineCore.step"]
    assert steps[:2] == ["call", "return"]
    assert all(place.startswith("/") and ".py:" in place for *_, place in words)


async def test_calls_that_cannot_be_written_down_are_one_sentence(folder, tmp_path):
    (tmp_path / "file").write_text("")
    config = msgspec.structs.replace(engine_config(folder), calls_folder=str(tmp_path / "file" / "calls"))
    client = ProcessClient(config)
    client.spawn()
    with pytest.raises(ConfigError, match=r"^VLLM_TRACE_FUNCTION: .* cannot be written \("):
        await client.connect()
    await client.shutdown()
