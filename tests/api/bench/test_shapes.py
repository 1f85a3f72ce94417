"""Shapes: what a decode step reads of their weights."""

from __future__ import annotations

import pytest

from quire.api.bench.shapes import SHAPES, step_bytes, write_shape
from quire.base.config import CacheConfig, EngineConfig, SchedulerConfig
from quire.model.checkpoint import read_card
from quire.model.loading import load_model


@pytest.mark.parametrize(
    "dtype_bytes, quantization, num_bytes",
    [
        (2, "", 1_191_968_768),
        (4, "", 2_383_937_536),
        (2, "int8", 595_984_384),
        (2, "int4-64", 316_616_704),  # a scale of two bytes for 64 numbers
        (2, "int4-32-exact", 335_241_216),
    ],
)
def test_a_step_reads_every_matrix_once_and_a_tied_table_as_the_head(dtype_bytes, quantization, num_bytes):
    assert step_bytes(SHAPES["qwen3-0.6b"], dtype_bytes, quantization) == num_bytes


def test_of_experts_a_step_reads_those_a_token_goes_through_and_the_router():
    """Per layer q 64x64, k and v 32x64, o 64x64, 2 experts of 3 matrices 32x64, a router 8x64; the head 4096x64."""
    projections = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 2 * 3 * 32 * 64) + 4096 * 64
    assert step_bytes(SHAPES["tiny-moe"], 2, "") == 2 * (projections + 2 * 8 * 64)
    assert step_bytes(SHAPES["tiny-moe"], 2, "int8") == projections + 2 * 2 * 8 * 64
    shallow = SHAPES["tiny-moe"] | {"num_hidden_layers": 0}  # as --hf-overrides leaves it
    assert step_bytes(shallow, 2, "") == 2 * 4096 * 64


@pytest.mark.parametrize("name", ["tiny", "tiny-moe"])
def test_a_shapes_tensors_are_those_of_its_network(name, tmp_path):
    card = read_card(write_shape(name, tmp_path, with_weights=True), name=name)
    scheduler = SchedulerConfig(max_num_batched_tokens=64, max_num_seqs=1)
    cache = CacheConfig(block_size=16, num_blocks=4, dtype="bfloat16")
    config = EngineConfig(card=card, dtype="bfloat16", max_model_len=64, cache=cache, scheduler=scheduler)
    load_model(config)  # refuses a tensor that is missing, left over or of another shape
