"""Compiles the native kernels into one library: `python native/build.py [--sanitize] [--emulate-tiles] [OUTPUT]`.

Needs a C++20 compiler and nothing else; the package's build hook calls `build`, `make native` runs the file. Each
instruction set is the same source compiled with its own flags into its own namespace; the choice is made at run time.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).parent
OUTPUT = SOURCE.parent / "src/quire/model/kernels/cpu/libquire_native.so"

AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mprefer-vector-width=512"]
AVX512_BF16 = [*AVX512, "-mavx512bf16", "-mavx512vnni"]
INSTRUCTION_SETS: dict[str, list[str]] = {
    "scalar": [],
    "avx2": AVX2,
    "avx512": AVX512,
    "avx512_bf16": AVX512_BF16,
    "amx": [*AVX512_BF16, "-mamx-tile", "-mamx-bf16", "-mamx-int8"],
}
# no contraction: a compiler that fuses a·b + c in one copy of a loop and not in another would change bits
FLAGS = [
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-ffp-contract=off",
]
# gcc 12 finds its own intrinsics uninitialised
_NOT_OURS = ("psabi", "ignored-attributes", "maybe-uninitialized", "uninitialized")
WARNINGS = ["-Wall", "-Wextra", *(f"-Wno-{name}" for name in _NOT_OURS)]


# for the library's own tests (`make sanitize`): what reads or writes past its memory or leaves C++ ends the process
SANITIZE = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g",
    "-O1",
]
# for the library's own tests (`make tiles`): AMX where the processor has none; slow
EMULATE_TILES = ["-DQUIRE_EMULATE_TILES"]


class BuildError(Exception):
    """Why there is no library: no compiler, an unsuitable system, or the compiler's first complaint."""


def build(output: Path = OUTPUT, more: Sequence[str] = ()) -> None:
    """Writes the library to `output`, replacing it whole, if a source is newer (with `more` flags always).
    Raises BuildError."""
    newest = max(path.stat().st_mtime for path in SOURCE.iterdir())
    if not more and output.exists() and output.stat().st_mtime > newest:
        return
    if platform.system() != "Linux":
        raise BuildError(f"native kernels are built on Linux, this is {platform.system()}")
    compiler = _compiler()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(name, [*_flags_of(name), *more], Path(folder) / f"{name}.o") for name in _units()]
        for done in [pool.submit(_compile, compiler, *job) for job in jobs]:
            done.result()
        library = Path(folder) / output.name
        objects = [str(target) for _, _, target in jobs]
        _run(
            [
                *compiler,
                "-shared",
                "-pthread",
                *more,
                *([] if SANITIZE[0] in more else ["-static-libgcc", "-static-libstdc++"]),
                *objects,
                "-o",
                str(library),
            ]
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        # a running server keeps the old file
        staged = output.with_suffix(".new")
        shutil.copyfile(library, staged)
        os.replace(staged, output)


def _compiler() -> list[str]:
    asked = os.environ.get("CXX")
    if asked:
        return asked.split()
    found = next((name for name in ("g++", "clang++", "c++") if shutil.which(name)), None)
    if found is None:
        raise BuildError("no C++ compiler found (g++, clang++ or $CXX)")
    return [found]


def _units() -> list[str]:
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return [*(INSTRUCTION_SETS if is_x86 else ["scalar"]), "api", "pool"]


def _flags_of(unit: str) -> list[str]:
    if unit not in INSTRUCTION_SETS:
        return [str(SOURCE / f"{unit}.cpp")]
    level = list(INSTRUCTION_SETS).index(unit)
    names = [f"-DQUIRE_LEVEL={level}", f"-DQUIRE_NAMESPACE={unit}"]
    return [*INSTRUCTION_SETS[unit], *names, str(SOURCE / "kernels.cpp")]


def _compile(compiler: list[str], name: str, flags: list[str], target: Path) -> None:
    _run([*compiler, *FLAGS, *WARNINGS, *flags, "-c", "-o", str(target)])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        first = next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
        raise BuildError(f"{command[0]} failed: {first}")
    sys.stderr.write(done.stderr)


if __name__ == "__main__":
    try:
        kinds = {"--sanitize": SANITIZE, "--emulate-tiles": EMULATE_TILES}
        words = sys.argv[1:]
        files = [word for word in words if word not in kinds]
        build(Path(files[0]) if files else OUTPUT, [flag for word in words for flag in kinds.get(word, [])])
    except BuildError as error:
        sys.exit(f"native kernels not built: {error}")
