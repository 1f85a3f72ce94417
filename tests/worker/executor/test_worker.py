"""The worker's memory: what sleep gives back is gone from the process, and comes back on waking."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from quire.base.commands import FreeKV
from quire.base.config import CacheConfig
from quire.base.errors import CommandFailed, ConfigError
from quire.engine.client import Administrator, InProcessClient, ProcessClient
from quire.worker.executor import Worker
from quire.worker.executor.worker import worker_class
from tests.engine.client.test_process_client import read, wish
from tests.model.tiny import engine_config, tiny_checkpoint

LARGE = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 4}  # 60 MiB in float32
PROMPT = list(range(5, 155)) * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("large"), **LARGE)


def resident_bytes(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


@pytest.mark.parametrize("level", [1, 2])
async def test_a_sleeping_engine_holds_neither_weights_nor_kv(folder, level):
    config = msgspec.structs.replace(
        engine_config(folder),
        enable_sleep_mode=True,
        cache=CacheConfig(block_size=16, num_blocks=1024, dtype="float32"),  # 4 MiB in 1024 tokens
    )
    client = ProcessClient(config)
    await client.connect()
    try:
        administrator = Administrator(client, may_sleep=True)
        request = wish(0, PROMPT, temperature=0.0, max_tokens=20)
        before = await read(client, request)
        awake_bytes = resident_bytes(client.pid)
        await administrator.sleep(level)
        asleep_bytes = resident_bytes(client.pid)
        assert awake_bytes - asleep_bytes > weight_bytes(folder), (awake_bytes, asleep_bytes)
        await administrator.wake_up()
        after = await read(client, request)
        assert [event.token_ids for event in after] == [event.token_ids for event in before]
        assert abs(resident_bytes(client.pid) - awake_bytes) < 0.2 * awake_bytes
    finally:
        await client.shutdown()


async def test_kv_memory_alone_is_given_back(folder):
    config = msgspec.structs.replace(
        engine_config(folder), cache=CacheConfig(block_size=16, num_blocks=1024, dtype="float32")
    )
    client = ProcessClient(config)
    await client.connect()
    try:
        for number in range(8):
            await read(client, wish(number, [5 + number, *PROMPT], max_tokens=1))
        awake_bytes = resident_bytes(client.pid)
        kv_bytes = 8 * len(PROMPT) * 4 * 2 * 2 * 32 * 4  # layers, key and value, heads, head_dim, float32
        await client.ask(FreeKV())
        assert awake_bytes - resident_bytes(client.pid) > 0.8 * kv_bytes
    finally:
        await client.shutdown()


async def test_weights_that_went_away_leave_a_sleeper_and_a_reason(tmp_path):
    folder = tiny_checkpoint("qwen3", tmp_path / "model")
    client = ProcessClient(msgspec.structs.replace(engine_config(folder), enable_sleep_mode=True))
    await client.connect()
    try:
        administrator = Administrator(client, may_sleep=True)
        before = await read(client, wish(0, [5, 6, 7]))
        await administrator.sleep(1)
        hidden = folder / "model.safetensors"
        hidden.rename(tmp_path / "elsewhere")
        with pytest.raises(CommandFailed, match="safetensors"):
            await administrator.wake_up()
        assert administrator.is_sleeping
        (tmp_path / "elsewhere").rename(hidden)
        await administrator.wake_up()
        after = await read(client, wish(0, [5, 6, 7]))
        assert [e.token_ids for e in after] == [e.token_ids for e in before]
    finally:
        await client.shutdown()


class Loud(Worker):
    """A worker of one's own."""

    def shout(self) -> str:
        return "loud"


class Extension:
    def whisper(self) -> str:
        return f"extends {type(self).__name__}"


class Rude:
    def execute(self) -> None: ...


NOT_A_CLASS = 3


def test_classes_of_ones_own_take_the_workers_place(folder):
    config = engine_config(folder)
    assert worker_class(config) is Worker
    own = msgspec.structs.replace(
        config, worker_class=f"{__name__}.Loud", worker_extension_class=f"{__name__}.Extension"
    )
    chosen = worker_class(own)
    assert issubclass(chosen, Loud) and issubclass(chosen, Extension)
    assert InProcessClient(own)._core._executor.worker.whisper() == "extends LoudWithExtension"


@pytest.mark.parametrize(
    ("setting", "path", "message"),
    [
        ("worker_class", "Nothing", "--worker-cls: 'Nothing' is not allowed; give a path such as"),
        ("worker_class", "no.such.Thing", "--worker-cls: no.such cannot be imported"),
        ("worker_class", f"{__name__}.Nothing", f"--worker-cls: {__name__} has no Nothing"),
        ("worker_class", f"{__name__}.Extension", "is no subclass of quire.worker.executor.Worker"),
        ("worker_extension_class", f"{__name__}.NOT_A_CLASS", "is no class"),
        ("worker_extension_class", f"{__name__}.Rude", "has a execute, and so has the worker"),
    ],
)
def test_classes_that_will_not_do_are_refused_by_name(setting, path, message, folder):
    with pytest.raises(ConfigError, match=message):
        worker_class(msgspec.structs.replace(engine_config(folder), **{setting: path}))


async def test_an_engine_process_refuses_them_before_it_loads(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    config = msgspec.structs.replace(engine_config(folder), worker_class="no.such.Thing")
    client = ProcessClient(config)
    with pytest.raises(ConfigError, match=r"--worker-cls: no\.such cannot be imported"):
        await client.connect()
    await client.shutdown()
