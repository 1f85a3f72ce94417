"""`quire bench step`: decode steps of one batch, the part of each that is spent outside native kernels, and how fast
weights are read, against reading alone in between."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from quire.api.bench.engine import Engine, add_shape_option, prompts, settings_of
from quire.api.bench.options import Options, whole, write_file, write_result
from quire.api.bench.pictures import percentile_picture
from quire.api.bench.shapes import SHAPES, step_bytes

if TYPE_CHECKING:
    from quire.base.config import EngineConfig
    from quire.base.constraints import Constraint

WARM_STEPS = 8
STEPS_BETWEEN = 5  # two probes of reading
READ_BYTES = 256 << 20


def step(words: Sequence[str]) -> int:
    """Times whole steps (plan, execute, apply, events) against the native library's own clock."""
    options = Options("step", "Time decode steps, and what the host adds to the native kernels.")
    options.add_argument("--batch-size", type=whole(1), default=1)
    options.add_argument("--context", type=whole(1), default=128, help="tokens each sequence begins with")
    options.add_argument("--num-steps", type=whole(1), default=100)
    add_shape_option(options)
    asked, given = options.parse_with_engine(words)
    with settings_of(asked, given) as settings:
        engine = Engine(settings)
        reading = Reading()
        batch = Batch(asked.batch_size, asked.context)
        steps_s, native_s = decode_steps(engine, batch, asked.num_steps, reading.probe)
    if not any(native_s):
        print("No native kernel ran: there is no library, or --native-isa off; the whole step is host work.")
    host_s = [whole_s - inside_s for whole_s, inside_s in zip(steps_s, native_s, strict=True)]
    share = sum(host_s) / sum(steps_s)
    print(
        f"{len(steps_s)} steps of {asked.batch_size} at context {asked.context}, medians: "
        f"step {1000 * median(steps_s):.3f} ms, "
        f"native {1000 * median(native_s):.3f} ms, host {1000 * median(host_s):.3f} ms\n"
        f"Host share: {100 * share:.1f} % ({asked.batch_size * len(steps_s) / sum(steps_s):.1f} tokens/s)"
    )
    if asked.shape and asked.batch_size > 1 and "num_experts" in SHAPES[asked.shape]:
        print(
            "Weights: which experts a batch reads depends on its tokens; compared with --batch-size 1 only."
        )
    elif asked.shape and any(native_s):
        print(reading.compare(_weight_bytes(engine.config), median(steps_s)))
    result = {
        "model_id": engine.config.card.name,
        "batch_size": asked.batch_size,
        "context": asked.context,
        "host_share": share,
        "steps_s": steps_s,
        "native_s": native_s,
        "read_rates": reading.rates,
    }
    write_result(asked.output_json, result)
    if asked.plot:
        write_file(asked.plot, percentile_picture("Decode steps", [1000 * value for value in steps_s]))
    return 0


class Reading:
    """How fast this machine reads memory meanwhile: `rates` in bytes per second, one for each probe."""

    def __init__(self) -> None:
        from quire.model.kernels import ReadMemory

        self.rates: list[float] = []
        self._memory = ReadMemory(READ_BYTES)

    def probe(self) -> None:
        from quire.model.kernels import NativeLibraryMissing, probe_rate

        with contextlib.suppress(NativeLibraryMissing):
            self.rates.append(max(probe_rate(name, self._memory) for name in ("read", "read, 4 streams")))

    def compare(self, num_bytes: int, seconds: float) -> str:
        """What reading `num_bytes` in a step of `seconds` is of this."""
        rate, usual = num_bytes / seconds, median(self.rates)
        return (
            f"Weights: {num_bytes / 1e9:.3f} GB in a step, {rate / 1e9:.1f} GB/s, {100 * rate / usual:.0f} % of "
            f"reading alone in between ({usual / 1e9:.1f} GB/s, at best {max(self.rates) / 1e9:.1f})"
        )


def _weight_bytes(config: EngineConfig) -> int:
    return step_bytes(config.card.hf_config, {"float32": 4}.get(config.dtype, 2), config.quantization)


class Batch(NamedTuple):
    """Replies that a decode step goes on with: how many, after how many tokens each, and what they are held to."""

    size: int
    context: int
    temperature: float = 0.0
    constraint: Constraint | None = None


def decode_steps(
    engine: Engine, batch: Batch, num_steps: int, between: Callable[[], None] = lambda: None
) -> tuple[list[float], list[float]]:
    """Seconds of each decode step, whole and inside native kernels, once every prompt is computed. Every few of
    them `between` is called."""
    from quire.model.kernels import native_seconds

    engine.forget_prefixes()
    # every sequence samples in a step only once all prompts are done; until then some tokens come early
    room = 2 * num_steps + WARM_STEPS + batch.size * batch.context
    room = min(room, engine.config.max_model_len - batch.context)
    for prompt in prompts(batch.size, batch.context, engine.config.card.vocab_size, 0):
        engine.submit(prompt, room, batch.temperature, batch.constraint)
    while engine.step() < batch.size:
        pass
    for _ in range(WARM_STEPS):
        engine.step()
    steps_s, native_s = [], []
    for number in range(num_steps):
        if number % STEPS_BETWEEN == 0:
            between()
            engine.step()  # what was read in between has driven out what a step finds in caches
        before_s, started_s = native_seconds(), time.perf_counter()
        tokens = engine.step()
        steps_s.append(time.perf_counter() - started_s)
        native_s.append(native_seconds() - before_s)
        # a grammar may force several at once
        is_whole = tokens >= batch.size if batch.constraint else tokens == batch.size
        assert is_whole, f"a step gave {tokens} tokens for {batch.size} sequences"
    engine.abandon()
    return steps_s, native_s
