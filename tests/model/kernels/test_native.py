"""The library itself: instruction sets by name, threads that sleep, calls from several threads and after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from quire.base.errors import ConfigError
from quire.model.kernels import configure
from quire.model.kernels.cpu import native
from quire.model.kernels.cpu.linear import PackedWeight, run
from quire.model.ops import add, explain
from tests.model.kernels.native_library import use

BUILD = Path(__file__).parents[3] / "native/build.py"


def test_an_instruction_set_is_chosen_by_name(instruction_set: str) -> None:
    assert native.chosen() == instruction_set
    assert native.refusal() == ""


def test_a_set_the_machine_lacks_is_refused_by_name() -> None:
    with use("scalar"), pytest.raises(ConfigError, match=r"--native-isa amx_bf16.*scalar"):
        configure(instruction_set="amx_bf16")


def test_switched_off_is_said() -> None:
    with use("scalar"):
        configure(instruction_set="off")
        assert native.refusal() == "switched off by --native-isa off"


def test_without_a_library_everything_runs_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "not_built.txt").write_text("no C++ compiler found\n")
    monkeypatch.setattr(native, "PATH", tmp_path / "libquire_native.so")
    native.library.cache_clear()
    try:
        assert native.refusal() == "native library not built: no C++ compiler found"
        configure(num_threads=1)
        with pytest.raises(ConfigError, match="no C\\+\\+ compiler"):
            configure(instruction_set="avx2")
    finally:
        native.library.cache_clear()


def test_without_a_compiler_the_build_says_so(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, BUILD, tmp_path / "x.so"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "native kernels not built: no C++ compiler found (g++, clang++ or $CXX)"
    done = subprocess.run(
        [sys.executable, BUILD, tmp_path / "x.so"],
        env=environment | {"CXX": str(tmp_path / "missing")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "missing cannot be run: No such file" in done.stderr


def test_explain_names_the_instruction_set() -> None:
    try:
        name = native.chosen()
    except native.NativeLibraryMissing as missing:
        pytest.skip(str(missing))
    choices = {choice.op: choice for choice in explain()}
    if name != "scalar":
        assert {(choice.provider, choice.variant) for choice in choices.values()} == {("cpu", name)}


@pytest.mark.parametrize("num_threads", [2, 3, 5])
def test_every_row_is_some_threads(num_threads: int) -> None:
    """Whether work is cut alike or, where there is enough of it, into ever smaller parts."""
    with use("scalar"):
        configure(num_threads=num_threads)
        for width in (1 << 13, 1 << 17):
            x_TD = torch.arange(50 * width, dtype=torch.float32).view(50, -1)
            for rows in (1, 2, 3, 7, 8, 9, 12, 13, 19, 20, 21, 50):
                assert torch.equal(add(x_TD[:rows], x_TD[:rows]), 2 * x_TD[:rows])
        configure(num_threads=1)


def test_bfloat16_is_rounded_as_torch_does(instruction_set: str) -> None:
    """Every number, and sums that lie between two; what is no normal float may be zero."""
    every = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(torch.bfloat16)
    for other in (0.0, 1.0, -0.00390625, 3.3e38, -1e-30):
        y = torch.full_like(every, other)
        got, want = add(every, y), every + y
        is_tiny = (want != 0) & (want.abs() < torch.finfo(torch.float32).smallest_normal)
        assert torch.equal(got.isnan(), want.isnan())
        exact = ~(is_tiny | want.isnan())
        assert torch.equal(got[exact], want[exact])
        assert ((got == want) | (got == 0))[is_tiny].all()


def test_several_callers_share_the_workers(two_threads: None) -> None:
    with use("scalar"):
        pass  # skips where there is no library
    packed, x = PackedWeight(torch.randn(512, 256)), torch.randn(8, 256)
    want, wrong = run(x, packed), []

    def call() -> None:
        wrong.extend(None for _ in range(200) if not torch.equal(run(x, packed), want))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_workers_sleep_when_there_is_nothing_to_do(two_threads: None) -> None:
    with use("scalar"):
        pass
    packed, x = PackedWeight(torch.randn(512, 256)), torch.randn(8, 256)
    run(x, packed)
    time.sleep(0.01)  # longer than workers spin
    before_s = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before_s < 0.01


def test_a_forked_child_computes_alone() -> None:
    with use("scalar"):
        pass
    code = """
import os, torch
from quire.model.kernels import configure
from quire.model.kernels.cpu.linear import PackedWeight, run
configure(num_threads=2)
packed, x = PackedWeight(torch.randn(512, 256)), torch.randn(8, 256)
want = run(x, packed)
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(run(x, packed), want) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, timeout=60, check=False
    )
    assert done.returncode == 0
