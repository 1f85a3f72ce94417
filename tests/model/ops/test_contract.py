"""Every op runs on its own example inputs, and a backend's provider is found, preferred or refused by reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import quire.model.kernels
from quire.model.ops import OPS, HeadNorms, LayerKV
from quire.model.ops.contract import choose
from quire.model.ops.soft_cap import soft_cap


def widen(value: Any) -> Any:
    if isinstance(value, LayerKV | HeadNorms):
        return type(value)(*map(widen, value))
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", OPS)
def test_provider_agrees_with_the_reference_in_float32(name: str, dtype: torch.dtype) -> None:
    op = OPS[name]
    for narrow, wide in zip(op.cases(1, dtype), op.cases(1, dtype), strict=True):
        got = op(**narrow)
        exact = {key: widen(value) for key, value in wide.items()}
        want = op.reference(**exact)
        tolerance = op.tolerances[dtype]
        dtype_of_result = narrow.get("out_dtype") or dtype
        if name == "choose_experts":  # weights in float32, beside the experts
            dtype_of_result = torch.float32
        if name.startswith("top_logits"):  # values in float32, and where they stand
            got, want, dtype_of_result = got[0], want[0], torch.float32
        pairs = list(zip(got, want, strict=True)) if isinstance(want, tuple) else [(got, want)]
        if "kv_write" in name:  # it writes to its arguments
            pairs = [] if want is None else pairs
            pairs += zip(narrow["cache"][:2], exact["cache"][:2], strict=True)
        for ours, theirs in pairs:
            if not theirs.is_floating_point():
                assert torch.equal(ours, theirs)
                continue
            assert ours.dtype == dtype_of_result
            torch.testing.assert_close(
                ours.float(),
                theirs.float(),
                rtol=tolerance.relative,
                atol=tolerance.absolute * theirs.float().abs().max().item(),
            )


def test_reference_runs_where_no_backend_provides() -> None:
    for name, op in OPS.items():
        with op.provided_by(()) as choice:
            assert (choice.op, choice.provider) == (name, "reference")
            assert op.explain() == choice


def test_first_backend_that_can_run_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend, reason in (("early", "needs a wider machine"), ("late", "")):
        (tmp_path / backend).mkdir()
        (tmp_path / backend / "__init__.py").write_text("")
        (tmp_path / backend / "soft_cap.py").write_text(
            f"def supported():\n    return {reason!r}\n\n\ndef run(x, cap):\n    return {backend!r}\n"
        )
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "__init__.py").write_text("")
    monkeypatch.setattr(quire.model.kernels, "__path__", [str(tmp_path)])
    run, choice = choose(soft_cap, ("empty", "early", "late"))
    assert run(torch.zeros(1), 1.0) == "late"
    assert choice.provider == "late"
    assert choice.refusals == ("empty: has no soft_cap", "early: needs a wider machine")
