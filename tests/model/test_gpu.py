"""The torch reference of each op on a GPU: it runs where its inputs lie and agrees with the CPU's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from quire.model.ops import OPS

if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)


def on_gpu(value: Any) -> Any:
    if isinstance(value, tuple):  # named: a layer's cache, norms, what is asked of a draw
        return type(value)(*map(on_gpu, value))
    return value.cuda() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", OPS)
def test_reference_agrees_with_the_cpu(name: str, dtype: torch.dtype) -> None:
    op = OPS[name]
    for there, here in zip(op.cases(1, dtype), op.cases(1, dtype), strict=True):
        there = {key: on_gpu(value) for key, value in there.items()}
        got, want = op.reference(**there), op.reference(**here)
        pairs = list(zip(got, want, strict=True)) if isinstance(want, tuple) else [(got, want)]
        if "kv_write" in name:
            pairs = [] if want is None else pairs
            pairs += zip(there["cache"][:2], here["cache"][:2], strict=True)
        for ours, theirs in pairs:
            assert ours.is_cuda
            tolerance = op.tolerances[dtype]
            torch.testing.assert_close(
                ours.cpu().float(), theirs.float(), rtol=tolerance.relative, atol=tolerance.absolute
            )
