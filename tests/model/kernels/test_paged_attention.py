"""Native attention where the op's own tests do not reach: segments of long contexts, wide groups, odd heads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from quire.model.ops import OPS, AttentionBatch, LayerKV, paged_attention
from tests.model.ops.test_paged_attention import Sequences, Setup

LONG = (2100, 1024, 1025, 3)  # tokens; segments are 1024
SETUPS = [
    (Setup(2, 1, 16), LONG),
    (Setup(2, 1, 40, window=1100), LONG),
    (Setup(1, 1, 8, soft_cap=5.0, dtype=torch.bfloat16), LONG),
    (Setup(40, 1, 8), (150, 3)),  # more query heads to a key head than an item takes
    (Setup(2, 2, 256, block_size=100, dtype=torch.float16), (250, 1)),
    (Setup(2, 2, 256, block_size=100, dtype=torch.bfloat16), (250, 1)),
    (Setup(2, 1, 512), (140, 2)),
    (Setup(4, 2, 64, dtype=torch.bfloat16, is_biased=True), LONG),
    (Setup(2, 1, 64, dtype=torch.bfloat16, cache=torch.int8, has_scales=True), LONG),
    (Setup(300, 1, 32, dtype=torch.bfloat16), (40, 3)),
]


@pytest.fixture(autouse=True)
def native_attention(instruction_set: str) -> Iterator[None]:
    with OPS["paged_attention"].provided_by(("cpu",)), OPS["kv_write"].provided_by(("cpu",)):
        yield


@pytest.mark.parametrize(("setup", "lengths"), SETUPS, ids=str)
def test_exact_and_the_same_bits_alone(setup: Setup, lengths: tuple[int, ...], two_threads: None) -> None:
    sequences, everyone = Sequences(setup, lengths), list(range(len(lengths)))
    together = sequences.run(everyone, 2000)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}[setup.dtype]
    for index, output in together.items():
        torch.testing.assert_close(output.double(), sequences.exact(index), rtol=tolerance, atol=tolerance)
    for index in everyone:
        assert torch.equal(sequences.run([index], 900)[index], together[index])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_decoding_has_the_bits_of_prefill_across_segments(dtype: torch.dtype) -> None:
    setup = Setup(4, 2, 16, window=1500, dtype=dtype)
    sequences = Sequences(setup, (2100,))
    cache = setup.new_cache(sequences.num_blocks)
    whole = sequences._step([(0, 0, 2100)], cache)[0]
    for place in (0, 1, 127, 128, 1023, 1024, 1025, 1500, 2047, 2048, 2099):
        assert torch.equal(sequences._step([(0, place, place + 1)], cache)[0][0], whole[place])


@pytest.mark.parametrize("cache_dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_cache_narrower_than_the_queries(cache_dtype: torch.dtype) -> None:
    query, cache = torch.randn(3, 4, 32), torch.randn(2, 20, 16, 2, 32).to(cache_dtype)
    batch = AttentionBatch([0, 3], [300], [list(range(19))], 16)
    got = paged_attention(query, LayerKV(*cache), batch, scale=0.2)
    want = paged_attention.reference(query, LayerKV(*cache.float()), batch, scale=0.2)
    assert got.dtype is torch.float32
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    query, cache = torch.zeros(1, 4, 8), torch.zeros(2, 3, 16, 2, 8)
    for batch, words in (
        (AttentionBatch([0, 1], [17], [[0]], 16), "shorter than"),
        (AttentionBatch([0, 1], [16], [[3]], 16), "does not fit"),
        (AttentionBatch([0, 2], [16], [[0]], 16), "does not fit"),
        (AttentionBatch([0, 1], [8], [[0]], 8), "does not fit"),
    ):
        with pytest.raises(ValueError, match=words):
            paged_attention(query, LayerKV(*cache), batch, scale=1.0)
    with pytest.raises(TypeError, match="cache"):
        paged_attention(
            torch.zeros(1, 3, 8), LayerKV(*cache), AttentionBatch([0, 1], [1], [[0]], 16), scale=1.0
        )
