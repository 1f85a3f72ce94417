"""Machine: what this process may use, probed once at start-up in a few milliseconds."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from quire.base.hardware.cgroup import cpu_quota, memory_limit


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of the machine as this process sees it: affinity, container limits and memory in use are applied.

    `num_cores` counts hardware threads granted, `num_physical_cores` the cores they share. `isa` holds the
    CPU's feature names as /proc/cpuinfo spells them ("avx512_bf16", "amx_tile", …).
    """

    platform: str
    cpu_name: str
    num_cores: int
    num_physical_cores: int
    cores_limited_by: str  # what keeps num_cores below the machine's count, "" when nothing does
    memory_total_bytes: int
    memory_available_bytes: int
    isa: frozenset[str]
    cpu_ids: frozenset[int] = frozenset()  # hardware threads this process may run on, by the kernel's numbers


def probe_machine(root: Path = Path("/")) -> Machine:
    """Read what this machine grants. `root` stands for `/` in tests."""
    cpuinfo = _text(root / "proc/cpuinfo")
    num_cores, limited_by = _cores_granted(root)
    total, available = _memory(root)
    return Machine(
        platform="cpu",
        cpu_name=_field(cpuinfo, "model name") or _field(cpuinfo, "CPU part") or "unknown",
        num_cores=num_cores,
        num_physical_cores=min(num_cores, _physical_cores(cpuinfo, _affinity()) or num_cores),
        cores_limited_by=limited_by,
        memory_total_bytes=total,
        memory_available_bytes=available,
        cpu_ids=frozenset(_affinity()),
        isa=frozenset((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split()),
    )


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _cores_granted(root: Path) -> tuple[int, str]:
    """Hardware threads this process may keep busy: affinity, cut to whole cores of the container's quota."""
    num_allowed = len(_affinity())
    quota = cpu_quota(root)
    if quota is not None and quota < num_allowed:
        return max(1, int(quota)), f"cgroup quota of {quota:g} cores"
    if num_allowed < (os.cpu_count() or 1):
        return num_allowed, "CPU affinity"
    return num_allowed, ""


def _physical_cores(cpuinfo: str, allowed: set[int]) -> int:
    """Distinct (socket, core) pairs among the allowed processors; 0 when the file does not tell."""
    cores = set()
    for block in cpuinfo.split("\n\n"):
        processor, core = _field(block, "processor"), _field(block, "core id")
        if core and processor.isdigit() and int(processor) in allowed:
            cores.add((_field(block, "physical id"), core))
    return len(cores)


def _memory(root: Path) -> tuple[int, int]:
    """(total, available) bytes: the machine's, or the container's where that is less."""
    meminfo = _text(root / "proc/meminfo")
    total, available = _kib(meminfo, "MemTotal"), _kib(meminfo, "MemAvailable")
    if not total:
        total = available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = memory_limit(root)
    if group is not None:
        total = min(total, group.limit_bytes)
        available = min(available, max(0, group.limit_bytes - group.used_bytes))
    return total, available


def _kib(meminfo: str, name: str) -> int:
    words = _field(meminfo, name).split()
    return int(words[0]) * 1024 if words else 0


def _field(text: str, name: str) -> str:
    """The value of the first `name : value` line, "" when there is none."""
    found = re.search(rf"^{re.escape(name)}[ \t]*:(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
