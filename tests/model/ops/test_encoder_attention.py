"""encoder_attention: exact against float64 on every provider, the same bits alone and in company, whole texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quire.model.kernels import configure
from quire.model.ops import AttentionBatch, encoder_attention

LENGTHS = (1, 129, 300, 64, 2)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def batch_of(lengths: tuple[int, ...]) -> AttentionBatch:
    starts = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
    return AttentionBatch(starts, list(lengths), [[] for _ in lengths], 16)


def qkv(
    tokens: int, heads: int, key_heads: int, head_dim: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Views into one tensor, as a stacked projection gives them."""
    generator = torch.Generator().manual_seed(tokens)
    stacked = torch.randn(tokens, heads + 2 * key_heads, head_dim, generator=generator).to(dtype)
    query, key, value = stacked.split([heads, key_heads, key_heads], dim=1)
    return query, key, value


def exact(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int) -> Tensor:
    """One sequence in float64, one big mask."""
    group = query.shape[1] // key.shape[1]
    wide = [
        x.double().transpose(0, 1)
        for x in (query, key.repeat_interleave(group, 1), value.repeat_interleave(group, 1))
    ]
    scores = wide[0] @ wide[1].transpose(1, 2) * scale
    places = torch.arange(len(query))
    if window:
        scores = scores.masked_fill((places[:, None] - places).abs() > window, -torch.inf)
    return (scores.softmax(-1) @ wide[2]).transpose(0, 1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("heads", "key_heads", "head_dim", "window"),
    [(3, 3, 32, 0), (4, 2, 64, 64), (2, 2, 20, 1), (12, 12, 64, 0)],
)
def test_exact_and_the_same_bits_alone(
    heads: int, key_heads: int, head_dim: int, window: int, dtype: torch.dtype
) -> None:
    batch, scale = batch_of(LENGTHS), head_dim**-0.5
    query, key, value = qkv(sum(LENGTHS), heads, key_heads, head_dim, dtype)
    got = encoder_attention(query, key, value, batch, scale=scale, window=window)
    assert got.shape == query.shape
    for first, end in batch.whole_sequences():
        part = [x[first:end] for x in (query, key, value)]
        want = exact(*part, scale, window)
        torch.testing.assert_close(
            got[first:end].double(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
        )
        alone = encoder_attention(*part, batch_of((end - first,)), scale=scale, window=window)
        assert torch.equal(alone, got[first:end])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_long_texts_on_several_threads(dtype: torch.dtype, provider: str) -> None:
    """Past 1024 tokens the native kernels cut a text in segments, which threads share."""
    lengths = (2100, 5)
    query, key, value = qkv(sum(lengths), 2, 2, 32, dtype)
    results = []
    for threads in (1, 2):
        if provider != "reference":
            configure(threads, provider)
        results.append(encoder_attention(query, key, value, batch_of(lengths), scale=0.2))
    assert torch.equal(*results)
    want = exact(query[:2100], key[:2100], value[:2100], 0.2, 0)
    torch.testing.assert_close(results[0][:2100].double(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_a_text_without_its_beginning_or_with_blocks_is_refused(provider: str) -> None:
    query, key, value = qkv(4, 1, 1, 8, torch.float32)
    for contexts, tables in (([5], [[]]), ([4], [[0]])):
        with pytest.raises(ValueError, match="whole sequences"):
            encoder_attention(query, key, value, AttentionBatch([0, 4], contexts, tables, 16), scale=1.0)
    if provider == "reference":
        return
    with pytest.raises(ValueError, match="does not fit 4 tokens"):  # the library reads what it is told to
        encoder_attention(query, key[:3], value[:3], batch_of((4,)), scale=1.0)
