"""The profiler: `--profiler-config` and VLLM_TORCH_PROFILER_DIR as one struct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quire.base.commands import ProfilerConfig
from quire.base.config.asked import Asked
from quire.base.errors import ConfigError

SETTING = "profiler_config"
_OTHER_WORLDS = {
    "torch_profiler_activities": (None, ["CPU"]),
    "capture_torch_profiler": (False,),
    "detailed_trace_annotation": (False,),
}
_SWITCHES = {
    "torch_profiler_with_stack": "with_stack",
    "torch_profiler_with_flops": "with_flops",
    "torch_profiler_with_memory": "with_memory",
    "torch_profiler_record_shapes": "record_shapes",
    "torch_profiler_use_gzip": "use_gzip",
}
_COUNTS = ("delay_iterations", "max_iterations", "wait_iterations", "warmup_iterations", "active_iterations")


def choose_profiler(asked: Asked) -> ProfilerConfig | None:
    """None where no profiler is asked for. Raises ConfigError for one that cannot run here."""
    given: dict[str, Any] = asked[SETTING] or {}
    folder = given.get("torch_profiler_dir") or asked["torch_profiler_dir"] or ""
    kind = given.get("profiler") or ("torch" if asked["torch_profiler_dir"] else None)
    _refuse_other_worlds(given)
    if kind is None:
        if folder:
            raise _refusal(
                "torch_profiler_dir", folder, "is of no use without --profiler-config.profiler torch"
            )
        return None
    if kind != "torch":
        raise _refusal("profiler", kind, "cannot run here: it profiles GPUs; give torch")
    if not folder:
        raise _refusal("profiler", kind, "needs --profiler-config.torch_profiler_dir, the folder for traces")
    if "://" in folder:
        raise _refusal("torch_profiler_dir", folder, "is no folder of this machine")
    fields: dict[str, Any] = {ours: _switch(given, name) for name, ours in _SWITCHES.items() if name in given}
    fields.update({name: _count(given, name) for name in _COUNTS if name in given})
    return ProfilerConfig(folder=str(Path(folder).expanduser().absolute()), **fields)


def _refuse_other_worlds(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name in _OTHER_WORLDS and value not in _OTHER_WORLDS[name]:
            raise _refusal(name, value, "concerns GPUs, and none is used here")


def _switch(given: dict[str, Any], name: str) -> bool:
    value = given[name]
    if value in ("true", "false"):  # as `--profiler-config.x true` has it
        return bool(value == "true")
    if not isinstance(value, bool):
        raise _refusal(name, value, "is not allowed; give true or false")
    return value


def _count(given: dict[str, Any], name: str) -> int:
    value = given[name]
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    least = 1 if name == "active_iterations" else 0
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _refusal(name, value, f"is not allowed; give a number of steps from {least} on")
    return value


def _refusal(name: str, value: object, why: str) -> ConfigError:
    return ConfigError(f"--profiler-config.{name} {str(value)[:60]!r} {why}", setting=SETTING)
