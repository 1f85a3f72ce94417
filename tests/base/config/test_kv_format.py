"""What a token takes in each format of the KV cache, and which formats and layers are refused."""

from __future__ import annotations

import pytest
from tests.base.config.conftest import make_card, make_machine

from quire.base.config import Asked, resolve
from quire.base.errors import ConfigError

HEADS = 16 * 8  # of make_card: layers and key heads, each 128 wide
BYTES_PER_HEAD = {
    "auto": 256,
    "bfloat16": 256,
    "float16": 256,
    "float32": 512,
    "fp8": 128,
    "fp8_e4m3": 128,
    "fp8_e5m2": 128,
    "fp8_per_token_head": 128 + 4,
    "int8_per_token_head": 128 + 4,
}


def run(*words: str):
    return resolve(Asked.from_arguments(words, {}), make_card(), make_machine())


@pytest.mark.parametrize("name", BYTES_PER_HEAD)
def test_blocks_are_counted_in_the_bytes_of_their_format(name):
    resolution = run("--kv-cache-dtype", name, "--num-gpu-blocks-override", "300")
    assert resolution.memory.kv_bytes == 300 * 16 * 2 * HEADS * BYTES_PER_HEAD[name]
    assert resolution.engine.cache.has_scales == name.endswith("per_token_head")


def test_layers_left_out_are_counted_as_the_network_computes():
    given = run(
        "--kv-cache-dtype", "fp8", "--kv-cache-dtype-skip-layers", "3", "--num-gpu-blocks-override", "300"
    )
    assert given.memory.kv_bytes == 300 * 16 * 2 * 8 * (15 * 128 + 256)
    assert given.engine.dtype == "bfloat16"


@pytest.mark.parametrize("layer", ["16", "-1", "sliding_attention"])
def test_layers_the_model_lacks_are_refused(layer):
    with pytest.raises(ConfigError, match="give numbers of layers, 0 to 15"):
        run(f"--kv-cache-dtype-skip-layers={layer}")


@pytest.mark.parametrize("name", ["fp8_ds_mla", "fp8_inc"])
def test_formats_of_other_machines_are_refused(name):
    with pytest.raises(ConfigError, match="give fp8"):
        run("--kv-cache-dtype", name)
