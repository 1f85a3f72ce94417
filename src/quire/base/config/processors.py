"""Which processors the engine computes on: VLLM_CPU_OMP_THREADS_BIND and VLLM_CPU_NUM_OF_RESERVED_CPU."""

from __future__ import annotations

import re

from quire.base.config.asked import Asked
from quire.base.config.resolved import Decision
from quire.base.errors import ConfigError
from quire.base.hardware import Machine

_ITEM = re.compile(r"(\d+)(?:-(\d+))?")
_WORDS = ("all", "auto", "nobind")


def choose_processors(asked: Asked, machine: Machine) -> tuple[list[int], list[Decision]]:
    """The engine's processors by the kernel's numbers; empty where its threads are not bound. Raises ConfigError."""
    bind: str = asked["cpu_omp_threads_bind"].strip()
    reserved: int = asked["cpu_num_of_reserved_cpu"] or 0
    if bind in _WORDS:
        chosen = _without_reserved(asked, sorted(machine.cpu_ids), reserved) if reserved else []
        if bind == "nobind" and reserved:
            raise ConfigError(
                "VLLM_CPU_NUM_OF_RESERVED_CPU keeps processors free and VLLM_CPU_OMP_THREADS_BIND=nobind binds "
                "nothing: give one of them",
                setting="cpu_num_of_reserved_cpu",
            )
    else:
        if reserved:
            raise ConfigError(
                "VLLM_CPU_NUM_OF_RESERVED_CPU is for automatic binding, and VLLM_CPU_OMP_THREADS_BIND names the "
                "processors: give one of them",
                setting="cpu_num_of_reserved_cpu",
            )
        chosen = _listed(asked, bind, machine)
    if not chosen:
        return [], []
    shown = ",".join(map(str, chosen))
    source = asked.origin("cpu_num_of_reserved_cpu" if reserved else "cpu_omp_threads_bind")[1]
    return chosen, [Decision("cpu-omp-threads-bind", shown, f"{source} says so", source)]


def _without_reserved(asked: Asked, granted: list[int], reserved: int) -> list[int]:
    if reserved >= len(granted):
        raise ConfigError(
            f"{asked.origin('cpu_num_of_reserved_cpu')[1]}={reserved} leaves the engine none of the {len(granted)} "
            "processors granted; give less",
            setting="cpu_num_of_reserved_cpu",
        )
    return granted[:-reserved]


def _listed(asked: Asked, bind: str, machine: Machine) -> list[int]:
    """Processors of a list such as 0-3,8."""
    source = asked.origin("cpu_omp_threads_bind")[1]
    if "|" in bind:
        raise ConfigError(
            f"{source}={bind} names processors for several workers, and Quire has one: give one list",
            setting="cpu_omp_threads_bind",
        )
    chosen: set[int] = set()
    for item in bind.split(","):
        found = _ITEM.fullmatch(item.strip())
        if found is None:
            raise ConfigError(
                f"{source}: {bind!r} is not allowed; give processors such as 0-31 or 0,2,4, or all, auto, nobind",
                setting="cpu_omp_threads_bind",
            )
        first, last = int(found[1]), int(found[2] or found[1])
        chosen |= set(range(first, min(last, 2**16) + 1))
    missing = sorted(chosen - machine.cpu_ids)
    if missing or not chosen:
        granted = ",".join(map(str, sorted(machine.cpu_ids)))
        raise ConfigError(
            f"{source}={bind} names processors this process may not use; it has {granted}",
            setting="cpu_omp_threads_bind",
        )
    return sorted(chosen)
