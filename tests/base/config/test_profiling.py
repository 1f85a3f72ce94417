"""`--profiler-config`: what each field comes to, and what is refused by name."""

from __future__ import annotations

import pytest
from tests.base.config.test_effects import resolve_with

from quire.base.commands import ProfilerConfig
from quire.base.errors import ConfigError

TORCH = ["--profiler-config.profiler", "torch", "--profiler-config.torch_profiler_dir", "/t"]


def test_every_field_of_torchs_profiler_arrives():
    words = [
        *TORCH,
        *("--profiler-config.torch_profiler_with_stack", "false"),
        *("--profiler-config.torch_profiler_with_flops", "true"),
        *("--profiler-config.torch_profiler_with_memory", "true"),
        *("--profiler-config.torch_profiler_record_shapes", "true"),
        *("--profiler-config.torch_profiler_use_gzip", "false"),
        *("--profiler-config.delay_iterations", "1"),
        *("--profiler-config.max_iterations", "2"),
        *("--profiler-config.wait_iterations", "3"),
        *("--profiler-config.warmup_iterations", "4"),
        *("--profiler-config.active_iterations", "6"),
    ]
    assert resolve_with(words).engine.profiler == ProfilerConfig(
        folder="/t",
        with_stack=False,
        with_flops=True,
        with_memory=True,
        record_shapes=True,
        use_gzip=False,
        delay_iterations=1,
        max_iterations=2,
        wait_iterations=3,
        warmup_iterations=4,
        active_iterations=6,
    )
    assert resolve_with(TORCH).engine.profiler == ProfilerConfig(folder="/t")
    assert resolve_with([]).engine.profiler is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profiler-config.profiler", "cuda"], "profiler 'cuda' cannot run here"),
        (["--profiler-config.profiler", "torch"], "needs --profiler-config.torch_profiler_dir"),
        (
            ["--profiler-config.torch_profiler_dir", "/t"],
            "is of no use without --profiler-config.profiler torch",
        ),
        ([*TORCH[:3], "gs://bucket/x"], "is no folder of this machine"),
        ([*TORCH, "--profiler-config.max_iterations", "-1"], "max_iterations '-1' is not allowed"),
        ([*TORCH, "--profiler-config.active_iterations", "0"], "give a number of steps from 1 on"),
        ([*TORCH, "--profiler-config.torch_profiler_use_gzip", "maybe"], "give true or false"),
        ([*TORCH, "--profiler-config.capture_torch_profiler", "true"], "concerns GPUs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(words, message):
    with pytest.raises(ConfigError, match=message):
        resolve_with(words)
