"""Container limits, read from trees laid out as the kernel lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.base.hardware.cgroup import MemoryLimit, cpu_quota, memory_limit


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_nothing_limits_when_no_file_exists(tmp_path):
    assert cpu_quota(tmp_path) is None
    assert memory_limit(tmp_path) is None


def test_v2_quota_and_memory_of_a_container(tmp_path):
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/memory.max": "4000000000\n",
            "sys/fs/cgroup/memory.current": "1500000000\n",
            "sys/fs/cgroup/memory.stat": "anon 900000000\ninactive_file 500000000\nactive_file 7\n",
        },
    )
    assert cpu_quota(root) == 1.5
    # page cache nobody uses can be dropped: it does not count as used
    assert memory_limit(root) == MemoryLimit(4_000_000_000, 1_000_000_000)


def test_v2_tightest_ancestor_wins(tmp_path):
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pods/pod1/main\n",
            "sys/fs/cgroup/pods/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/pods/pod1/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/pods/pod1/main/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pods/memory.max": "8000\n",
            "sys/fs/cgroup/pods/memory.current": "7500\n",
            "sys/fs/cgroup/pods/pod1/main/memory.max": "6000\n",
            "sys/fs/cgroup/pods/pod1/main/memory.current": "100\n",
        },
    )
    assert cpu_quota(root) == 2.0
    # 500 bytes are left in /pods, 5900 in main: /pods is the one that will hurt
    assert memory_limit(root) == MemoryLimit(8000, 7500)


def test_v2_group_path_that_is_not_mounted_falls_back_to_the_mount(tmp_path):
    root = lay_out(
        tmp_path,
        {"proc/self/cgroup": "0::/host/only/path\n", "sys/fs/cgroup/cpu.max": "100000 50000\n"},
    )
    assert cpu_quota(root) == 2.0


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("-1", None), ("50000", 0.5), ("300000", 3.0)],
)
def test_v1_quota(tmp_path, quota, expected):
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
            "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": quota,
            "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000",
        },
    )
    assert cpu_quota(root) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("9223372036854771712", None),  # v1's way to say "no limit"
        ("1000000", MemoryLimit(1_000_000, 300_000)),
    ],
)
def test_v1_memory(tmp_path, limit, expected):
    root = lay_out(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "400000",
            "sys/fs/cgroup/memory/memory.stat": "cache 1\ninactive_file 5\ntotal_inactive_file 100000\n",
        },
    )
    assert memory_limit(root) == expected
