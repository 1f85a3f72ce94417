"""Memory on large pages: who gets them, and when a region goes."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch

from quire.model import ops
from quire.model.kernels.cpu.large_pages import REGION_BYTES, Regions, map_large
from quire.model.kernels.cpu.probe import ReadMemory

pytestmark = pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="this system has no large pages"
)


def flags_at(address: int) -> set[str]:
    """Of this process's mapping that holds the address: "hg" wants large pages, "sh" may be shared."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        place, _, rest = line.partition(" ")
        begin, dash, end = place.partition("-")
        if dash:
            found = int(begin, 16) <= address < int(end, 16)
        elif found and place == "VmFlags:":
            return set(rest.split())
    raise AssertionError(f"nothing is mapped at {address:#x}")


def test_memory_is_private_and_asks_for_large_pages() -> None:
    area = map_large(1)
    assert len(area) == 2 << 20
    flags = flags_at(ctypes.addressof(ctypes.c_char.from_buffer(area)))
    assert "hg" in flags and "sh" not in flags


def test_small_packed_weights_and_what_they_are_measured_against_lie_in_it() -> None:
    small = ops.linear.prepare(torch.ones(40, 24, dtype=torch.bfloat16))
    if isinstance(small, torch.Tensor):
        pytest.skip("no native library")
    reading = ReadMemory(1 << 20)
    for address in (small.tensors()["packed"].data_ptr(), reading.address):
        flags = flags_at(address)
        assert "hg" in flags and "sh" not in flags


def test_pieces_follow_each_other_on_cache_lines() -> None:
    regions = Regions()
    first, second = regions.empty(100), regions.empty(3)
    assert first.data_ptr() % 4096 == 0
    assert second.data_ptr() == first.data_ptr() + 128
    first.fill_(7)
    assert second.tolist() == [0, 0, 0]


def test_a_piece_without_room_opens_a_region() -> None:
    regions = Regions()
    first = regions.empty(REGION_BYTES - 64)
    last = regions.empty(64)
    beyond, large = regions.empty(1), regions.empty(REGION_BYTES + 1)
    assert last.data_ptr() == first.data_ptr() + first.nbytes
    assert len({piece.data_ptr() for piece in (first, beyond, large)}) == 3
    large[-1] = 1


def test_a_region_goes_with_its_last_piece() -> None:
    regions = Regions()
    first, second = regions.empty(10), regions.empty(10)
    region = regions._region
    assert region is not None
    del first
    assert region() is not None
    del second
    assert region() is None
    assert regions.empty(10).tolist() == [0] * 10
