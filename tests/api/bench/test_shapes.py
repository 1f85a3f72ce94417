"""Shapes: what a decode step reads of their weights."""

from __future__ import annotations

import pytest

from quire.api.bench.shapes import step_bytes


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
    assert step_bytes("qwen3-0.6b", dtype_bytes, quantization) == num_bytes
