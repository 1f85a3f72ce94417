"""Packed weights from the cache are those that were packed; whatever is wrong with it, a model loads."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from quire.base.config import EngineConfig
from quire.model.kernels import Prepared
from quire.model.kernels.cpu import native
from quire.model.layers import CausalLM
from quire.model.loading import build_network, load_model, packed_cache
from quire.model.loading.packed_file import END_BYTES
from quire.model.loading.place import take
from tests.model.kernels.test_large_pages import flags_at
from tests.model.tiny import Driver, engine_config, random_prompts, tiny_checkpoint

PROMPTS = random_prompts((5, 33))

pytestmark = pytest.mark.skipif(bool(native.refusal()), reason="only a provider of our own packs weights")


@pytest.fixture(autouse=True)
def _small_networks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_cache, "SMALLEST_BYTES", 0)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("qwen3", tmp_path_factory.mktemp("models") / "qwen3", tie_word_embeddings=True)


def _config(folder: Path, cache: Path, max_bytes: int = 1 << 30, **changes: object) -> EngineConfig:
    return msgspec.structs.replace(
        engine_config(folder), weight_cache_folder=str(cache), weight_cache_bytes=max_bytes, **changes
    )


def _bytes(network: CausalLM, config: EngineConfig) -> dict[str, list[bytes]]:
    """Every weight's tensors. The network is empty afterwards."""

    def raw(tensor: Tensor) -> bytes:
        return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()

    weights = {name: take(network, name) for name, _ in build_network(config).named_parameters()}
    return {
        name: [raw(tensor) for tensor in weight.tensors().values()]
        if isinstance(weight, Prepared)
        else [raw(weight)]
        for name, weight in weights.items()
    }


def _plain(config: EngineConfig) -> CausalLM:
    return load_model(msgspec.structs.replace(config, weight_cache_bytes=0))


def _files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


@pytest.mark.parametrize("scheme", ["", "int8"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["qwen3", "gpt2", "qwen3_moe"])
@pytest.mark.parametrize("strategy", ["lazy", "eager"])
def test_cached_weights_are_the_packed_ones(
    strategy: str, family: str, dtype: str, scheme: str, tmp_path: Path
) -> None:
    folder = tiny_checkpoint(family, tmp_path / family)
    config = _config(folder, tmp_path / "cache", dtype=dtype, quantization=scheme, read_strategy=strategy)
    want = _bytes(_plain(config), config)
    assert _bytes(load_model(config), config) == want  # written, then read
    for path in folder.glob("*.safetensors"):
        _keep_only_key_material(path)
    assert _bytes(load_model(config), config) == want  # read alone
    assert len(_files(tmp_path / "cache")) == 1


def _keep_only_key_material(path: Path) -> None:
    """Makes the data useless and leaves what the key rests on, so that a load that opens it would show."""
    facts = path.stat()
    data = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    stride = max(packed_cache.SAMPLE_BYTES, (len(data) - begin) // packed_cache.SAMPLES)
    for place in range(begin, len(data), stride):
        end = min(place + stride, len(data))
        data[place + packed_cache.SAMPLE_BYTES : end] = bytes(max(0, end - place - packed_cache.SAMPLE_BYTES))
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_logits_are_the_same(qwen: Path, tmp_path: Path) -> None:
    config = _config(qwen, tmp_path)
    load_model(config)
    cached = Driver(load_model(config), torch.float32).run(PROMPTS, 16)
    packed = Driver(_plain(config), torch.float32).run(PROMPTS, 16)
    assert all(torch.equal(one, other) for one, other in zip(cached, packed, strict=True))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
@pytest.mark.parametrize("strategy", ["lazy", "eager"])
def test_weights_are_in_memory_once(strategy: str, qwen: Path, tmp_path: Path) -> None:
    """Mapped where that is asked for; else in memory of the process's own, on large pages."""
    config = _config(qwen, tmp_path, read_strategy=strategy)
    for _ in range(2):
        network = load_model(config)
        maps = Path("/proc/self/maps").read_text()
        assert (str(tmp_path) in maps) == (strategy == "lazy") and str(qwen) not in maps
        if strategy != "lazy" and Path("/sys/kernel/mm/transparent_hugepage").exists():
            weight = network.get_submodule("blocks.0.attention.qkv").weight
            assert "hg" in flags_at(weight.tensors()["packed"].data_ptr())
            del weight
        del network
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-END_BYTES - 20] ^= 1
    path.write_bytes(data)


def _foreign(path: Path) -> None:
    path.write_bytes(os.urandom(10_000))


def _insert(path: Path) -> None:
    path.write_bytes(bytes(4096) + path.read_bytes())


@pytest.mark.parametrize("damage", [_cut, _empty, _flip, _foreign, _insert])
def test_a_damaged_file_is_said_and_written_again(
    damage, qwen: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(qwen, tmp_path)
    want = _bytes(load_model(config), config)
    [name] = _files(tmp_path)
    whole = (tmp_path / name).read_bytes()
    damage(tmp_path / name)
    assert _bytes(load_model(config), config) == want
    assert "are not used" in caplog.text and name in caplog.text
    assert (tmp_path / name).read_bytes() == whole


def test_a_changed_checkpoint_is_noticed(tmp_path: Path) -> None:
    folder = tiny_checkpoint("qwen3", tmp_path / "qwen3")
    config = _config(folder, tmp_path / "cache")
    load_model(config)
    file = folder / "model.safetensors"
    facts, tensors = file.stat(), load_file(file)
    tensors["model.layers.1.mlp.down_proj.weight"] = -tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a copy that keeps times would
    assert file.stat().st_size == facts.st_size
    assert _bytes(load_model(config), config) == _bytes(_plain(config), config)
    os.utime(file)
    load_model(config)
    assert len(_files(tmp_path / "cache")) == 3


def test_dtype_and_scheme_have_files_of_their_own(qwen: Path, tmp_path: Path) -> None:
    for changes in ({}, {"dtype": "bfloat16"}, {"quantization": "int8"}, {"read_strategy": "eager"}):
        load_model(_config(qwen, tmp_path, **changes))
    assert len(_files(tmp_path)) == 3


def test_starts_at_the_same_time(qwen: Path, tmp_path: Path) -> None:
    config = _config(qwen, tmp_path)
    want, found = _bytes(_plain(config), config), []
    starts = [
        threading.Thread(target=lambda: found.append(_bytes(load_model(config), config))) for _ in range(4)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert found == [want] * 4
    assert len(_files(tmp_path)) == 1


FULL = """
import logging, msgspec, resource, sys
from pathlib import Path
from quire.model.loading import load_model, packed_cache
from tests.model.tiny import engine_config
logging.basicConfig(level="INFO")
packed_cache.SMALLEST_BYTES = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
config = engine_config(Path(sys.argv[1]))
load_model(msgspec.structs.replace(config, weight_cache_folder=sys.argv[2], weight_cache_bytes=1 << 30))
"""


def test_a_full_disk_is_said_and_leaves_nothing(qwen: Path, tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's: both end a write with an OSError."""
    assert hasattr(resource, "RLIMIT_FSIZE")
    done = subprocess.run(
        [sys.executable, "-c", FULL, qwen, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert "weights are packed without a cache" in done.stderr
    assert _files(tmp_path) == []


def test_a_folder_that_cannot_be_made(qwen: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    config = _config(qwen, tmp_path / "file/cache")
    assert _bytes(load_model(config), config) == _bytes(_plain(config), config)
    assert "without a cache" in caplog.text


def test_the_longest_unused_go_first(qwen: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_model(_config(qwen, tmp_path))
    [first] = _files(tmp_path)
    size = (tmp_path / first).stat().st_size
    os.utime(tmp_path / first, (1, 1))
    load_model(_config(qwen, tmp_path, dtype="bfloat16"))
    second = next(name for name in _files(tmp_path) if name != first)
    os.utime(tmp_path / second, (2, 2))
    load_model(_config(qwen, tmp_path))  # used: now the youngest
    load_model(_config(qwen, tmp_path, max_bytes=size * 3 // 2, quantization="int8"))
    assert first in _files(tmp_path) and second not in _files(tmp_path)
    assert second in caplog.text and "--weight-cache-bytes" in caplog.text


def test_what_a_killed_writer_left_is_deleted(qwen: Path, tmp_path: Path) -> None:
    old, young = tmp_path / ("a" + packed_cache.UNFINISHED), tmp_path / ("b" + packed_cache.UNFINISHED)
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    load_model(_config(qwen, tmp_path))
    assert not old.exists() and young.exists()


def test_none_is_kept_when_none_is_wanted(qwen: Path, tmp_path: Path) -> None:
    load_model(_config(qwen, tmp_path, max_bytes=0))
    assert _files(tmp_path) == []


def test_progress_ends_at_the_total(qwen: Path, tmp_path: Path) -> None:
    for _ in range(2):
        seen: list[tuple[int, int]] = []
        load_model(_config(qwen, tmp_path), lambda done, total, seen=seen: seen.append((done, total)))
        assert [done for done, _ in seen] == sorted({done for done, _ in seen})
        assert seen[-1][0] == seen[-1][1]
