"""kv_write into caches of every type: each provider writes the reference's bits."""

from __future__ import annotations

import pytest
import torch

from quire.model.ops import HeadNorms, LayerKV, kv_write, rms_norm, rope, rope_kv_write
from quire.model.ops.kv_write import LARGEST

FORMATS = [
    *((dtype, False) for dtype in (torch.float32, torch.bfloat16, torch.float16)),
    *((dtype, False) for dtype in (torch.float8_e4m3fn, torch.float8_e5m2)),
    *((dtype, True) for dtype in (torch.float8_e4m3fn, torch.int8)),
]
HARD = [
    0.0,
    -0.0,
    1e-30,
    2**-10,
    3 * 2**-10,
    2**-9,
    -(2**-7),
    0.9375,
    17.0,
    19.0,
    447.0,
    464.0,
    57344.0,
    -1e30,
]


def write(x: torch.Tensor, dtype: torch.dtype, has_scales: bool, op=kv_write) -> list[torch.Tensor]:
    tokens, heads, head_dim = x.shape
    caches = [torch.zeros(tokens + 2, 4, heads, head_dim).to(dtype) for _ in "kv"]
    scales = [torch.zeros(tokens + 2, 4, heads) for _ in "kv"] if has_scales else []
    slots = torch.randperm(4 * (tokens + 2), generator=torch.Generator().manual_seed(0))[:tokens]
    op(x, -x, slots, LayerKV(*caches, *scales))
    parts = caches + scales
    return [part.view(torch.uint8) if part.element_size() == 1 else part for part in parts]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("cache", "has_scales"), FORMATS, ids=str)
def test_the_references_bits(dtype: torch.dtype, cache: torch.dtype, has_scales: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 2, 33, generator=generator) * 10 ** torch.linspace(-6, 4, 33)
    x[0, 0, : len(HARD)] = torch.tensor(HARD)
    x[1, 1] = 0.0
    x = x.to(dtype).nan_to_num(posinf=60000.0, neginf=-60000.0)
    for ours, theirs in zip(
        write(x, cache, has_scales), write(x, cache, has_scales, kv_write.reference), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("cache", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_every_number_between_and_on_the_steps_of_eight_bits(cache: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(cache).float()
    every = every[every.isfinite()].sort().values
    between = (every[1:] + every[:-1]) / 2
    x = torch.cat((every, between, between * (1 + 2**-20), between * (1 - 2**-20))).view(-1, 1, 1)
    got = write(x, cache, has_scales=False)
    assert all(map(torch.equal, got, write(x, cache, False, kv_write.reference)))
    assert got[0].view(cache).float().abs().max() == LARGEST[cache]


@pytest.mark.parametrize("cache", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_a_head_that_is_not_finite_spoils_itself_alone(cache: torch.dtype) -> None:
    x = torch.randn(3, 2, 8)
    x[1, 0, 3] = torch.nan
    x[2, 1, 0] = torch.inf
    scales = write(x, cache, has_scales=True)[2]
    assert scales.isnan().sum() == 2


def test_scales_that_do_not_belong_to_the_type_are_refused() -> None:
    x, slots = torch.zeros(1, 1, 4), torch.zeros(1, dtype=torch.int64)
    caches, scales = torch.zeros(2, 1, 4, 1, 4), torch.zeros(2, 1, 4, 1)
    for dtype, given in ((torch.int8, []), (torch.bfloat16, [*scales]), (torch.int8, [scales[0]])):
        with pytest.raises(TypeError, match="do not go together"):
            kv_write(x, x, slots, LayerKV(*caches.to(dtype), *given))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("cache", "has_scales"), FORMATS, ids=str)
@pytest.mark.parametrize("offset", [None, 0.0, 1.0])
def test_one_pass_has_the_bits_of_its_parts(
    dtype: torch.dtype, cache: torch.dtype, has_scales: bool, offset: float | None
) -> None:
    generator = torch.Generator().manual_seed(2)
    heads = torch.randn(40, 7, 40, generator=generator).to(
        dtype
    )  # of one projection: 4 query, 2 key, 1 value
    query, key, value = heads[:, :4], heads[:, 4:6], heads[:, 5:7]
    cos, sin = (torch.randn(40, 12, generator=generator).to(dtype) for _ in range(2))
    weights = torch.randn(2, 40, generator=generator).to(dtype)
    norms = None if offset is None else HeadNorms(*weights, 1e-6, offset)

    def in_one(x: torch.Tensor, _: torch.Tensor, slots: torch.Tensor, into: LayerKV) -> None:
        queries.append(rope_kv_write(query, x, value, cos, sin, slots, into, norms=norms))

    def in_parts(x: torch.Tensor, _: torch.Tensor, slots: torch.Tensor, into: LayerKV) -> None:
        turned = [
            rope(part if norms is None else rms_norm(part, weight, 1e-6, offset), cos, sin)
            for part, weight in zip((query, x), weights, strict=True)
        ]
        queries.append(turned[0])
        kv_write(turned[1], value, slots, into)

    queries: list[torch.Tensor] = []
    for ours, theirs in zip(*(write(key, cache, has_scales, op) for op in (in_one, in_parts)), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(*queries)
