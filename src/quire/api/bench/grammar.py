"""`quire bench grammar`: what holding replies to a JSON schema adds to a decode step, in turns with free replies."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from quire.api.bench.drawing import Bar, bar_chart
from quire.api.bench.engine import Engine, add_shape_option, settings_of
from quire.api.bench.options import Options, whole, write_file, write_result
from quire.api.bench.step import Batch, decode_steps
from quire.base.constraints import Constraint, StructuredOutputsParams
from quire.text.grammar import ask_grammar

SCHEMA = '{"type": "array", "items": {"type": "string"}, "minItems": 1000}'  # no reply comes to its end


def grammar(words: Sequence[str]) -> int:
    """Times steps with and without the schema, one after the other, greedy and at a temperature."""
    options = Options("grammar", "Time decode steps of replies that are held to a schema, and of free ones.")
    options.add_argument("--batch-size", type=whole(1), default=8)
    options.add_argument("--context", type=whole(1), default=128, help="tokens each sequence begins with")
    options.add_argument("--num-steps", type=whole(1), default=100, help="of each kind in a turn")
    options.add_argument("--num-turns", type=whole(1), default=9)
    options.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 1.0], metavar="T")
    options.add_argument(
        "--json-schema", default=SCHEMA, metavar="SCHEMA", help="best one that lets no reply end"
    )
    add_shape_option(options)
    asked, given = options.parse_with_engine(words)
    with settings_of(asked, given) as settings:
        engine = Engine(settings)
        wish = ask_grammar(StructuredOutputsParams(json=asked.json_schema), engine.config.grammar)
        rows = []
        for temperature in asked.temperatures:
            batch = Batch(asked.batch_size, asked.context, temperature)
            held = batch._replace(constraint=Constraint(grammar=wish))
            decode_steps(engine, held, 1)  # loads the vocabulary
            turns = [
                [_step_s(engine, one, asked.num_steps) for one in (batch, held)]
                for _ in range(asked.num_turns)
            ]
            rows.append(_row(temperature, turns))
    write_result(
        asked.output_json, {"model_id": engine.config.card.name, "batch_size": asked.batch_size, "rows": rows}
    )
    if asked.plot:
        bars = [
            Bar(f"{kind}, temperature {row['temperature']:g}", value, f"{value:.3f} ms")
            for row in rows
            for kind, value in (("free", row["free_ms"]), ("held", row["held_ms"]))
        ]
        write_file(asked.plot, bar_chart("Decode steps", "ms", bars))
    return 0


def _step_s(engine: Engine, batch: Batch, num_steps: int) -> float:
    return median(decode_steps(engine, batch, num_steps)[0])


def _row(temperature: float, turns: list[list[float]]) -> dict[str, float]:
    """Of each kind the fastest turn: what disturbs the machine can only add to it."""
    free_s, held_s = (min(times_s) for times_s in zip(*turns, strict=True))
    added = held_s / free_s - 1
    print(
        f"temperature {temperature:g}: {1000 * free_s:.3f} ms a step, {1000 * held_s:.3f} ms held to the schema: "
        f"{100 * added:+.1f} %",
        flush=True,
    )
    return {"temperature": temperature, "free_ms": 1000 * free_s, "held_ms": 1000 * held_s, "added": added}
