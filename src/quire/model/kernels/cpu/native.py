"""The native library: found beside this file, loaded on first use, told its instruction set and threads.

Functions take addresses and counts without looking; providers check types and shapes before they call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from quire.base.errors import ConfigError

PATH = Path(__file__).with_name("libquire_native.so")
VERSION = 14  # of the library's interface and layouts, quire_version() in native/api.cpp
DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
CACHE_DTYPES = {**DTYPES, torch.int8: 3, torch.float8_e4m3fn: 4, torch.float8_e5m2: 5}

_SIGNATURES: dict[str, list[Any]] = {
    "quire_set_threads": [c_int32],
    "quire_choose": [c_char_p],
    "quire_replay": [c_void_p, c_int64],
    "quire_is_below": [c_void_p, c_int64, c_int64],
    "quire_inside_ns": [],
    "quire_probe": [c_void_p],
    "quire_linear_pack": [c_void_p, c_void_p, c_int64],
    "quire_linear_int8_pack": [c_void_p, c_int32, c_void_p, c_int64],
    "quire_linear_int4_pack": [c_void_p, c_int32, c_void_p, c_int64],
    **{
        f"quire_{op}": [c_void_p]
        for op in (
            *("linear", "linear_rows", "linear_int8", "linear_int8_rows", "linear_top", "linear_int8_top"),
            *("linear_int4", "linear_int4_rows", "grouped_linear", "choose_experts", "combine_experts"),
            *("rms_norm", "rope", "activation", "attention", "kv_write", "rope_kv_write"),
            *("pointwise", "layer_norm", "angles", "embedding", "compact", "first_largest", "keep_allowed"),
            *("draw_tokens", "penalise"),
        )
    },
}


_keeper: Keeper | None = None
_asked = "auto"  # the instruction set `configure` was last given


class NativeLibraryMissing(Exception):
    """Why there is no native library to call."""


class Call(ctypes.Structure):
    """The arguments of one call of an op, as native/api.h has them: how many rows, then what the op wants."""

    _fields_ = [("rows", c_int64)]

    op: ClassVar[str]  # without the library's prefix


class Keeper(Protocol):
    """Takes calls instead of the library, to make them later and perhaps often."""

    def keep(self, arguments: Call) -> None: ...

    def expect_below(self, index_T: Tensor, num_rows: int) -> None: ...


@contextmanager
def kept_by(keeper: Keeper) -> Iterator[None]:
    """Within the block calls are not made but given to `keeper`."""
    global _keeper
    _keeper = keeper
    try:
        yield
    finally:
        _keeper = None


def call(arguments: Call) -> None:
    """Runs an op of the library. What the addresses point to must live until then."""
    if _keeper is not None:
        _keeper.keep(arguments)
        return
    getattr(library(), f"quire_{arguments.op}")(ctypes.addressof(arguments))


def address_of(op: str) -> int:
    """Of the function that runs an op of the library."""
    address = ctypes.cast(getattr(library(), f"quire_{op}"), c_void_p).value
    assert address is not None
    return address


def check_index(index_T: Tensor, num_rows: int, *, is_given: bool = True) -> Tensor:
    """The index, contiguous. Raises TypeError or IndexError for one that does not pick rows of a table. An index
    that is not given to a recorded pass but made in it is as the op that makes it says."""
    if index_T.dtype is not torch.int64 or index_T.dim() != 1:
        raise TypeError(f"rows are picked by a vector of int64, not {index_T.dtype} {tuple(index_T.shape)}")
    index_T = index_T.contiguous()
    if _keeper is None:
        check_bounds(index_T.data_ptr(), len(index_T), num_rows)
    elif is_given:
        _keeper.expect_below(index_T, num_rows)
    return index_T


def check_bounds(index: int, count: int, num_rows: int) -> None:
    """Of so many int64 at the address `index`. Raises IndexError."""
    if not library().quire_is_below(index, count, num_rows):
        raise IndexError(f"row index out of the table's {num_rows} rows")


def address(tensor: torch.Tensor | None) -> int | None:
    """Of the first element; None where there is no tensor."""
    return None if tensor is None else tensor.data_ptr()


@cache
def library() -> ctypes.CDLL:
    """The library with the best instruction set of this machine, sharing work as torch does. Raises
    NativeLibraryMissing."""
    if not PATH.exists():
        raise NativeLibraryMissing(_why_missing())
    try:
        loaded = ctypes.CDLL(str(PATH))
    except OSError as error:
        raise NativeLibraryMissing(f"cannot be loaded: {error}") from None
    if loaded.quire_version() != VERSION:
        raise NativeLibraryMissing("was built from other sources: install Quire again or run `make native`")
    for name, arguments in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    loaded.quire_choose.restype = loaded.quire_is_below.restype = c_int32
    loaded.quire_inside_ns.restype = loaded.quire_probe.restype = c_int64
    loaded.quire_instruction_set.restype = loaded.quire_chosen.restype = c_char_p
    loaded.quire_choose(_instruction_sets(loaded)[-1].encode())
    loaded.quire_set_threads(torch.get_num_threads())
    return loaded


def native_seconds() -> float:
    """What this process's calls have spent inside native ops so far; 0 where there is no library."""
    try:
        inside_ns: int = library().quire_inside_ns()
    except NativeLibraryMissing:
        return 0.0
    return inside_ns * 1e-9


def refusal() -> str:
    """Why this backend cannot run here; empty when it can. The scalar set must be asked for by name: torch, with
    vectors of its own, is faster."""
    try:
        loaded = library()
    except NativeLibraryMissing as missing:
        return str(missing)
    if _asked == "off":
        return "switched off by --native-isa off"
    if chosen() == "scalar" and _asked != "scalar":
        return f"no kernels for this CPU's vectors (it runs {', '.join(_instruction_sets(loaded))})"
    return ""


def instruction_sets() -> list[str]:
    """Those this machine can run, the best one last. Raises NativeLibraryMissing."""
    return _instruction_sets(library())


def chosen() -> str:
    """The instruction set in use. Raises NativeLibraryMissing."""
    name: bytes = library().quire_chosen()
    return name.decode()


def configure(num_threads: int = 0, instruction_set: str = "auto") -> None:
    """Sets the process's threads that compute (0 leaves them) and the instruction set: "auto" for the best one, a
    name, or "off" to leave every op that has not run yet to the reference. Results do not depend on the threads.

    Raises ConfigError for a set that this machine cannot run.
    """
    global _asked
    try:
        loaded = library()
    except NativeLibraryMissing as missing:
        if instruction_set in ("auto", "off"):
            return
        raise ConfigError(f"--native-isa {instruction_set}: {missing}", setting="native_isa") from None
    here = _instruction_sets(loaded)
    name = here[-1] if instruction_set in ("auto", "off") else instruction_set
    if name not in here:
        raise ConfigError(
            f"--native-isa {name}: this machine cannot run it, it has {', '.join(here)}; auto takes the best.",
            setting="native_isa",
        )
    loaded.quire_choose(name.encode())
    _asked = instruction_set
    if num_threads:
        set_threads(num_threads)


def set_threads(count: int) -> None:
    """How many threads compute, the caller included, where there is a library. Results do not depend on it."""
    try:
        library().quire_set_threads(count)
    except NativeLibraryMissing:
        return


def _why_missing() -> str:
    """The reason that the build hook left, or how to build in a source tree."""
    try:
        return f"native library not built: {PATH.with_name('not_built.txt').read_text('utf-8').strip()}"
    except OSError:
        return "native library not built: run `make native`, or install Quire again"


def _instruction_sets(loaded: ctypes.CDLL) -> list[str]:
    names: list[str] = []
    while (name := loaded.quire_instruction_set(len(names))) is not None:
        names.append(name.decode())
    return names
