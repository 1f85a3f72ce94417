"""What probe_machine reads, from a laid-out /proc and from the machine the tests run on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from quire.base.hardware import probe_machine

CPUINFO = """\
processor\t: {0}
model name\t: Example CPU 9000
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu avx2 avx512f avx512_bf16
power management:

processor\t: {1}
model name\t: Example CPU 9000
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu avx2 avx512f avx512_bf16
"""


def tree(root: Path, **files: str) -> Path:
    first = sorted(os.sched_getaffinity(0))
    two = [first[0], first[-1] if len(first) > 1 else first[0] + 1]
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(CPUINFO.format(*two))
    (root / "proc/meminfo").write_text("MemTotal:  8000 kB\nMemFree: 1 kB\nMemAvailable:  6000 kB\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::/\n")
    for name, text in files.items():
        (root / "sys/fs/cgroup" / name.replace("_", ".")).write_text(text)
    return root


def test_reads_name_features_and_memory(tmp_path):
    machine = probe_machine(tree(tmp_path))
    assert machine.cpu_name == "Example CPU 9000"
    assert machine.isa == {"fpu", "avx2", "avx512f", "avx512_bf16"}
    assert machine.memory_total_bytes == 8000 * 1024
    assert machine.memory_available_bytes == 6000 * 1024
    assert machine.platform == "cpu"


def test_hardware_threads_of_one_core_count_as_one_physical_core(tmp_path):
    assert probe_machine(tree(tmp_path)).num_physical_cores == 1


def test_container_limits_cut_cores_and_memory(tmp_path):
    root = tree(
        tmp_path, cpu_max="100000 100000", memory_max=str(4000 * 1024), memory_current=str(1000 * 1024)
    )
    machine = probe_machine(root)
    assert machine.num_cores == 1
    assert machine.memory_total_bytes == 4000 * 1024
    assert machine.memory_available_bytes == 3000 * 1024
    if len(os.sched_getaffinity(0)) > 1:
        assert machine.cores_limited_by == "cgroup quota of 1 cores"


def test_this_machine_is_probed_plausibly_and_fast():
    began_s = time.perf_counter()
    machine = probe_machine()
    assert time.perf_counter() - began_s < 0.5  # a few ms as a rule; far from anything that scans devices
    assert 1 <= machine.num_physical_cores <= machine.num_cores <= len(os.sched_getaffinity(0))
    assert 0 < machine.memory_available_bytes <= machine.memory_total_bytes
