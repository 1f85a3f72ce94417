"""`quire bench startup`: time to the first line of output and to readiness of `quire serve`, with its split."""

from __future__ import annotations

import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from quire.api.bench.engine import say
from quire.api.bench.options import Options, positive, whole, write_file, write_result
from quire.api.bench.pictures import figure_picture
from quire.api.bench.server_side import free_port
from quire.api.bench.shapes import SHAPES, write_shape
from quire.base.errors import QuireError
from quire.model.checkpoint import BUILTIN_MODEL

READY = re.compile(r"^Ready after ([\d.]+) s \((.*?)(?:; beside it the engine: (.*))?\)$")


def startup(words: Sequence[str]) -> int:
    """Starts and stops the server a few times. Options that are not ours are the server's."""
    options = Options(
        "startup", "Measure the start of `quire serve`: first line, ready, and where the time goes."
    )
    options.add_argument("--runs", type=whole(1), default=3)
    options.add_argument(
        "--model", nargs="+", default=[BUILTIN_MODEL], help=f"models, folders, or shapes: {', '.join(SHAPES)}"
    )
    options.add_argument("--limit-s", type=positive, default=300.0, help="give a start up after this long")
    asked, server_words = options.parse_known_args(words)
    results = []
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as temporary:
        for name in asked.model:
            model = name
            if name in SHAPES:
                say(f"writing a checkpoint of {name}'s shape")
                model = str(write_shape(name, Path(temporary) / name, with_weights=True))
            results.append(_measure(name, [model, *server_words], asked.runs, asked.limit_s))
    for result in results:
        print(
            f"{result['model_id']}: first line after {result['median_first_line_s']:.3f} s, "
            f"ready after {result['median_ready_s']:.3f} s (medians of {asked.runs})"
        )
        for side in ("server_split_s", "engine_split_s"):
            parts = ", ".join(f"{stage} {value:.2f}" for stage, value in result["runs"][-1][side].items())
            print(f"  {side.removesuffix('_split_s')}: {parts}")
    write_result(asked.output_json, {"results": results})
    if asked.plot:
        last = [(result["model_id"], result["runs"][-1]["server_split_s"]) for result in results]
        rows = [(f"{name}: {stage}", value, name) for name, split in last for stage, value in split.items()]
        write_file(asked.plot, figure_picture("Where a start spends its time", "s", rows))
    return 0


def _measure(name: str, words: list[str], num_runs: int, limit_s: float) -> dict[str, Any]:
    """One run that is not counted (it fills the page cache), then `num_runs` that are."""
    runs = []
    for index in range(num_runs + 1):
        say(f"{name}: start {index} of {num_runs}")
        runs.append(start(words, limit_s))
    runs = runs[1:]
    return {
        "model_id": name,
        "median_first_line_s": median(run["first_line_s"] for run in runs),
        "median_ready_s": median(run["ready_s"] for run in runs),
        "runs": runs,
    }


def start(words: Sequence[str], limit_s: float) -> dict[str, Any]:
    """Start a server with these words, time its lines, stop it. Raises QuireError when it does not get ready."""
    place = ["--host", "127.0.0.1", "--port", str(free_port())]
    command = [sys.executable, "-m", "quire", "serve", *words, *place]
    began_s = time.monotonic()
    with tempfile.TemporaryFile("w+") as complaints:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints)
        try:
            first_line_s = 0.0
            for line in _lines(server, began_s + limit_s):
                now_s = time.monotonic() - began_s
                first_line_s = first_line_s or now_s
                found = READY.match(line)
                if found:
                    return {
                        "first_line_s": round(first_line_s, 3),
                        "ready_s": round(now_s, 3),
                        "server_split_s": split(found.group(2)),
                        "engine_split_s": split(found.group(3) or ""),
                    }
            complaints.seek(0)
            words_of_it = complaints.read().strip()[-500:] or f"it said nothing within {limit_s:g} s"
            raise QuireError(f"`quire serve {' '.join(words)}` did not get ready: {words_of_it}")
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.communicate()


def _lines(server: subprocess.Popen[bytes], end_s: float) -> Iterator[str]:
    """Lines as they come, until the server ends or time is up."""
    assert server.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(server.stdout, selectors.EVENT_READ)
        rest = b""
        while selector.select(max(0.0, end_s - time.monotonic())):
            data = server.stdout.read1(65536)  # type: ignore[attr-defined]
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)


def split(text: str) -> dict[str, float]:
    """'python 0.03, settings 0.01' → numbers by name."""
    parts = (part.rpartition(" ") for part in text.split(", ") if part)
    return {name: float(seconds) for name, _, seconds in parts}
