"""Limits a container puts on this process, read from cgroup v2 or v1 files.

Every reader takes `root`, the directory that stands for `/`, so tests can lay out a tree of their own. A file
that is absent or says "max" means no limit; nested groups are all honoured, the tightest wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# v1 writes "no limit" as the largest page-aligned integer; anything in that region is no real limit
NO_LIMIT_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A group's ceiling and what it holds now, page cache that can be dropped not counted."""

    limit_bytes: int
    used_bytes: int


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of CPU time the tightest group grants; None when nothing limits it."""
    quotas = [quota for folder in _folders(root, "cpu") if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def memory_limit(root: Path = Path("/")) -> MemoryLimit | None:
    """The group with the least room left; None when nothing limits memory."""
    limits = [limit for folder in _folders(root, "memory") if (limit := _memory_of(folder)) is not None]
    return min(limits, key=lambda limit: limit.limit_bytes - limit.used_bytes, default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders that may limit `controller`: the process's own group and its ancestors, in both hierarchies.

    Inside a container the path in /proc/self/cgroup often does not exist in the mounted view; the mount's
    root is then the container's own group, and it is always among the ancestors.
    """
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            # "unified" is where v2 stands beside a v1 hierarchy
            tops = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            tops = [mount / controller, mount / controllers]
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for top in tops:
            for depth in range(len(parts), -1, -1):
                yield top.joinpath(*parts[:depth])


def _quota_of(folder: Path) -> float | None:
    v2 = _text(folder / "cpu.max").split()
    if len(v2) == 2 and v2[0] != "max":
        return int(v2[0]) / int(v2[1])
    quota_us = _integer(folder / "cpu.cfs_quota_us")
    period_us = _integer(folder / "cpu.cfs_period_us")
    if quota_us is not None and period_us and quota_us > 0:
        return quota_us / period_us
    return None


def _memory_of(folder: Path) -> MemoryLimit | None:
    for limit_name, used_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = _integer(folder / limit_name)
        if limit is None or limit >= NO_LIMIT_BYTES:
            continue
        used = _integer(folder / used_name) or 0
        droppable = 0
        for line in _text(folder / "memory.stat").splitlines():
            name, _, amount = line.partition(" ")
            if name == cache_name:
                droppable = int(amount)
        return MemoryLimit(limit, max(0, used - droppable))
    return None


def _integer(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
