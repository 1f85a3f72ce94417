"""draw_tokens on the CPU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from quire.model.kernels.cpu import native
from quire.model.ops import Truncation

supported = native.refusal
variant = native.chosen


class _DrawCall(native.Call):
    op = "draw_tokens"
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "index", "maxima", "scales", "floors")),
        *((name, ctypes.c_void_p) for name in ("top_k", "top_p", "draws", "tokens", "totals")),
        *((name, ctypes.c_int64) for name in ("width", "row_stride", "draws_per_row")),
    ]


def run(
    logits_RV: Tensor,
    index_r: Tensor | None,
    maxima_r: Tensor,
    scales_r: Tensor,
    asked: Truncation,
    draws_rN: Tensor,
) -> tuple[Tensor, Tensor]:
    num_rows, num_draws = draws_rN.shape
    if logits_RV.stride(1) != 1:
        logits_RV = logits_RV.contiguous()
    if index_r is not None:
        index_r = native.check_index(index_r, logits_RV.shape[0])
    floats = [part.contiguous() for part in (maxima_r, scales_r, asked.floor_r)]
    wholes = [part.contiguous() for part in (asked.top_k_r, asked.top_p_r, draws_rN)]
    _check(logits_RV, index_r, floats, wholes)
    tokens_rN, totals_r = torch.empty_like(wholes[-1]), torch.empty(num_rows, dtype=torch.int64)
    addresses = [native.address(part) for part in (logits_RV, index_r, *floats, *wholes, tokens_rN, totals_r)]
    native.call(_DrawCall(num_rows, *addresses, logits_RV.shape[1], logits_RV.stride(0), num_draws))
    return tokens_rN, totals_r


def _check(logits_RV: Tensor, index_r: Tensor | None, floats: list[Tensor], wholes: list[Tensor]) -> None:
    num_rows = (logits_RV if index_r is None else index_r).shape[0]
    if not logits_RV.shape[1]:
        raise TypeError("draw_tokens: there is nothing to draw from in rows of no tokens")
    if any(part.dtype is not torch.float32 for part in (logits_RV, *floats)):
        raise TypeError("draw_tokens: logits, maxima, scales and floors are float32")
    if any(part.dtype is not torch.int64 for part in wholes):
        raise TypeError("draw_tokens: top_k, top_p and draws are int64")
    if any(part.shape[0] != num_rows for part in (*floats, *wholes)):
        raise TypeError(f"draw_tokens: {num_rows} rows are meant, the arguments speak of other numbers")
