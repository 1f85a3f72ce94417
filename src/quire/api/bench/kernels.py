"""`quire bench kernels`: each op at a model's shapes, against what this machine can do, measured in the same run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quire.api.bench.engine import add_shape_option, say, settings_of
from quire.api.bench.options import Options, positive, whole, write_file, write_result
from quire.api.bench.pictures import roofline_picture
from quire.api.startup import prepare_startup
from quire.base.config import Asked
from quire.base.errors import ConfigError

if TYPE_CHECKING:
    from quire.api.bench.kernel_cases import Case

READ_BYTES = 512 << 20
PROBE_TRIES = 5
MIN_CALLS = 3  # passes over a case, however slow
# which probes may bound an op's arithmetic; the fastest that the instruction set has counts
ARITHMETIC = {
    "float32": ("float32",),
    "float16": ("float32",),
    "bfloat16": ("float32", "bfloat16", "AMX bfloat16"),
    "int8": ("float32", "int8", "AMX int8"),
}


def kernels(words: Sequence[str]) -> int:
    """Measure and print a roofline. Ctrl-C prints what there is."""
    options = Options("kernels", "Each kernel's share of this machine's read bandwidth or arithmetic.")
    options.add_argument("--rows", type=whole(1), nargs="+", default=[1, 512], help="tokens of a step")
    options.add_argument(
        "--contexts", type=whole(1), nargs="+", default=[512, 8192], help="tokens attention reads"
    )
    options.add_argument("--only", default="", metavar="TEXT", help="only kernels whose name holds this")
    options.add_argument("--seconds-each", type=positive, default=0.5, help="time for one kernel")
    add_shape_option(options)
    asked, given = options.parse_with_engine(words)
    if asked.shape is None and "model" not in given:
        asked.shape = "qwen3-0.6b"
    from quire.api.bench.kernel_cases import Dimensions, all_cases
    from quire.model.kernels import configure, native_seconds

    with settings_of(asked, given) as settings:
        config = prepare_startup(Asked.from_keywords(settings)).resolution.engine
    configure(config.num_threads, config.native_isa)
    limits = Limits()
    print(f"This machine: {limits.describe()}", flush=True)
    measured: list[tuple[Case, float, bool]] = []
    try:
        for case in all_cases(Dimensions.of(config.card), asked.rows, asked.contexts):
            if asked.only not in case.name:
                continue
            before_s = native_seconds()
            seconds = best_time_s(case.make(), asked.seconds_each)
            measured.append((case, seconds, native_seconds() > before_s))
            say(f"{case.name}: {1e6 * seconds:.1f} µs")
            limits.probe_again()
    except KeyboardInterrupt:
        print("interrupted; this is what there is")
    if not measured:
        raise ConfigError(f"--only {asked.only!r} is in no kernel's name, or nothing was measured")
    print(f"This machine at its best meanwhile: {limits.describe()}")
    rows = [judge(case, seconds, limits.rates) | {"is_native": native} for case, seconds, native in measured]
    print("\n".join(_line(row) for row in rows))
    write_result(asked.output_json, {"limits": limits.rates, "kernels": rows})
    if asked.plot:
        write_file(asked.plot, roofline_picture(rows))
    return 0


class Limits:
    """The best rate each probe has shown so far, in bytes or operations per second; 0 for what the instruction set
    in use lacks. Probed before, between and after kernels: a neighbour on the machine disturbs some of the tries."""

    def __init__(self) -> None:
        from quire.model.kernels import PROBES, ReadMemory

        self._memory = ReadMemory(READ_BYTES)
        self.rates = dict.fromkeys(PROBES, 0.0)
        for _ in range(PROBE_TRIES):
            self.probe_again()

    def probe_again(self) -> None:
        from quire.model.kernels import probe_rate

        for name, best in self.rates.items():
            self.rates[name] = max(best, probe_rate(name, self._memory))

    def describe(self) -> str:
        read = max(rate for name, rate in self.rates.items() if name.startswith("read"))
        others = [
            f"{name} {rate / 1e9:.0f} Gop/s"
            for name, rate in self.rates.items()
            if rate and not name.startswith("read")
        ]
        return f"reads {read / 1e9:.1f} GB/s; {', '.join(others)}"


def best_time_s(calls: Sequence[Any], limit_s: float) -> float:
    """Least time of one call: each pass makes every call once, so that what they read is cold."""
    for call in calls[:2]:
        call()
    best_s, end_s, passes = float("inf"), time.perf_counter() + limit_s, 0
    inner = max(1, 8 // len(calls))
    while passes < MIN_CALLS or time.perf_counter() < end_s:
        started_s = time.perf_counter()
        for _ in range(inner):
            for call in calls:
                call()
        best_s = min(best_s, (time.perf_counter() - started_s) / len(calls) / inner)
        passes += 1
    return best_s


def judge(case: Case, seconds: float, limits: dict[str, float]) -> dict[str, Any]:
    """What bounds a case is whichever would take longer at the machine's best: reading or computing."""
    bandwidth = max(limits["read"], limits["read, 4 streams"])
    reading_s = case.bytes_read / bandwidth
    computing_s, limit = 0.0, "reading" if case.is_cold else "reading (in cache)"
    if case.number_type:
        name = max(ARITHMETIC[case.number_type], key=lambda probe: limits[probe])
        computing_s = case.operations / limits[name]
        if computing_s > reading_s:
            limit = name
    return {
        "name": case.name,
        "microseconds": 1e6 * seconds,
        "gigabytes_per_s": case.bytes_read / seconds / 1e9,
        "gigaops_per_s": case.operations / seconds / 1e9,
        "limit": limit,
        "share": max(reading_s, computing_s) / seconds,
    }


def _line(row: dict[str, Any]) -> str:
    where = "" if row["is_native"] else "  (torch)"
    return (
        f"{row['name']:<44} {row['microseconds']:>10.1f} µs {row['gigabytes_per_s']:>8.1f} GB/s "
        f"{row['gigaops_per_s']:>9.1f} Gop/s {100 * row['share']:>6.1f} % of {row['limit']}{where}"
    )
