"""`quire bench step`: decode steps of one batch, and the part of each that is spent outside native kernels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from quire.api.bench.engine import Engine, add_shape_option, prompts, settings_of
from quire.api.bench.options import Options, whole, write_file, write_result
from quire.api.bench.pictures import percentile_picture

WARM_STEPS = 8


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
        steps_s, native_s = decode_steps(engine, asked.batch_size, asked.context, asked.num_steps)
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
    result = {
        "model_id": engine.config.card.name,
        "batch_size": asked.batch_size,
        "context": asked.context,
        "host_share": share,
        "steps_s": steps_s,
        "native_s": native_s,
    }
    write_result(asked.output_json, result)
    if asked.plot:
        write_file(asked.plot, percentile_picture("Decode steps", [1000 * value for value in steps_s]))
    return 0


def decode_steps(
    engine: Engine, batch_size: int, context: int, num_steps: int
) -> tuple[list[float], list[float]]:
    """Seconds of each decode step, whole and inside native kernels, once every prompt is computed."""
    from quire.model.kernels import native_seconds

    engine.forget_prefixes()
    # every sequence samples in a step only once all prompts are done; until then some tokens come early
    room = num_steps + WARM_STEPS + batch_size * context
    room = min(room, engine.config.max_model_len - context)
    for prompt in prompts(batch_size, context, engine.config.card.vocab_size, 0):
        engine.submit(prompt, room)
    while engine.step() < batch_size:
        pass
    for _ in range(WARM_STEPS):
        engine.step()
    steps_s, native_s = [], []
    for _ in range(num_steps):
        before_s, started_s = native_seconds(), time.perf_counter()
        tokens = engine.step()
        steps_s.append(time.perf_counter() - started_s)
        native_s.append(native_seconds() - before_s)
        assert tokens == batch_size, f"a step gave {tokens} tokens for {batch_size} sequences"
    engine.abandon()
    return steps_s, native_s
