"""`quire bench compare`: Quire and its peers in turn (A B A B …), as ratios with their spread."""

from __future__ import annotations

import argparse
import importlib.util
import json
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire.api.bench.engine import prompts, say
from quire.api.bench.formats import choose
from quire.api.bench.gguf_file import write_gguf
from quire.api.bench.options import Options, positive, whole, write_file, write_result
from quire.api.bench.pictures import figure_picture
from quire.api.bench.serve import first_model
from quire.api.bench.shapes import SHAPES, write_shape
from quire.api.bench.statistics import spread
from quire.base.errors import ConfigError, QuireError
from quire.base.hardware import probe_machine

# peer → the packages it needs
PEERS = {"transformers": ("transformers",), "llama.cpp": ("llama_cpp", "gguf")}
VOCABULARY = 1300  # what random prompts are drawn from; every model has more
SETTLE_S = 0.3  # the last side's threads go to sleep


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that is measured: tokens per second over `counts` tokens, of the whole or only after the first."""

    name: str
    batch: int
    input_tokens: int
    output_tokens: int
    is_decode: bool = False

    def rate(self, first_s: float, total_s: float) -> float:
        if self.is_decode:
            return self.batch * (self.output_tokens - 1) / (total_s - first_s)
        counted = self.input_tokens + (self.output_tokens if self.output_tokens > 1 else 0)
        return self.batch * counted / total_s


FIGURES = (
    Figure("prefill 512, tok/s", 1, 512, 1),
    Figure("decode batch 1, tok/s", 1, 16, 33, is_decode=True),
    Figure("32 × 128+64, total tok/s", 32, 128, 64),
)
READY = "time to ready, s"


class Side:
    """A contender's process. Raises QuireError with its last words when it ends or says nothing within `limit_s`."""

    def __init__(self, name: str, described: dict[str, Any], limit_s: float) -> None:
        self.name = name
        self._limit_s = limit_s
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        started_s = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quire.api.bench.contender", json.dumps(described)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        try:
            self._answer()
        except BaseException:
            self.close()
            raise
        self.ready_s = time.perf_counter() - started_s

    def measure(self, figure: Figure, seed: int) -> float:
        asked = {
            "prompts": prompts(figure.batch, figure.input_tokens, VOCABULARY, seed),
            "output_tokens": figure.output_tokens,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._answer()
        return figure.rate(answer["first_s"], answer["total_s"])

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(self._limit_s) else b""
        if not line:
            self._complaints.seek(0)
            words = self._complaints.read().strip()[-400:] or f"nothing within {self._limit_s:g} s"
            raise QuireError(f"{self.name} gave no answer: {words}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def compare(words: Sequence[str]) -> int:
    """Measure all sides in turn and print ratios of the first to each other one. Ctrl-C prints what there is."""
    asked, given = _options().parse_with_engine(words)
    results: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        try:
            described = _described(asked, given, stack)
            for name, figure, value in _measurements(described, asked, stack):
                results.setdefault(figure, {}).setdefault(name, []).append(value)
                say(f"{name}: {figure} {value:.2f}")
        except KeyboardInterrupt:
            print("interrupted; this is what there is")
    if not results:
        return 130
    rows = list(compared(results))
    print("\n".join(_line(row) for row in rows))
    write_result(asked.output_json, {"measurements": results, "ratios": rows})
    if asked.plot:
        bars = [
            (f"{figure}: {name}", spread(values)["median"], name)
            for figure, by_name in results.items()
            for name, values in by_name.items()
        ]
        write_file(asked.plot, figure_picture("Medians", "", bars))
    return 0


def _options() -> Options:
    options = Options("compare", "Quire and its peers in turn, as ratios.")
    options.add_argument(
        "--shape", choices=list(SHAPES), default="qwen3-0.6b", help="a checkpoint of random weights"
    )
    options.add_argument("--formats", default="bfloat16", metavar="A,B", help="of Quire; the first one leads")
    options.add_argument(
        "--peers", default="", metavar="A,B", help=f"of {', '.join(PEERS)}; default: installed ones"
    )
    options.add_argument(
        "--base-url", nargs="+", default=[], help="running servers, without /v1, as further sides"
    )
    options.add_argument("--api-key", default="")
    options.add_argument("--num-rounds", type=whole(1), default=3)
    options.add_argument(
        "--limit-s", type=positive, default=300.0, help="give a side up that says nothing so long"
    )
    options.epilog = (
        "Engine options of `quire serve` are understood too, for Quire's sides; --model replaces --shape."
    )
    return options


def _described(
    asked: argparse.Namespace, given: dict[str, Any], stack: ExitStack
) -> dict[str, dict[str, Any]]:
    """Sides by name, Quire's first. The checkpoint is written if need be."""
    formats = choose(asked.formats.split(","), probe_machine().platform)
    peers = _peers(asked.peers)
    settings = dict(given)
    if "model" not in given:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-bench-"))) / asked.shape
        say(f"writing a checkpoint of {asked.shape}'s shape")
        write_shape(asked.shape, folder, with_weights=True)
        settings = {"max_model_len": 1024, "kv_cache_memory_bytes": 1 << 30, **given, "model": str(folder)}
    sides = {
        f"quire {name}": {"side": "quire", "settings": {**settings, **keywords}}
        for name, keywords in formats.items()
    }
    if "transformers" in peers:
        sides["transformers bfloat16"] = {"side": "transformers", "folder": settings["model"]}
    if "llama.cpp" in peers:
        if "model" in given:
            raise ConfigError("--peers llama.cpp: its file can be written of a --shape only, not of --model")
        sides["llama.cpp bfloat16"] = _llama_side(Path(settings["model"]))
    for url in asked.base_url:
        model = first_model(url, asked.api_key)
        sides[url] = {"side": "url", "base_url": url, "model": model, "api_key": asked.api_key}
    return sides


def _peers(asked: str) -> list[str]:
    """The peers asked for, or those installed. Raises ConfigError for one that is unknown or not installed."""
    names = [name for name in asked.split(",") if name]
    for name in names:
        if name not in PEERS:
            raise ConfigError(
                f"--peers: {name!r} is not known; give some of {', '.join(PEERS)}, or --base-url"
            )
    found = []
    for name in names or PEERS:
        missing = [package for package in PEERS[name] if not importlib.util.find_spec(package)]
        if missing and names:
            raise ConfigError(f"--peers {name}: {', '.join(missing)} is not installed here")
        if missing:
            say(f"{name} is left out: {', '.join(missing)} is not installed here")
        else:
            found.append(name)
    return found


def _llama_side(folder: Path) -> dict[str, Any]:
    file = folder / "model.gguf"
    say(f"writing {file.name}")
    write_gguf(folder, file)
    return {"side": "llama.cpp", "file": str(file), "num_threads": probe_machine().num_cores}


def _measurements(
    described: dict[str, dict[str, Any]], asked: argparse.Namespace, stack: ExitStack
) -> Iterator[tuple[str, str, float]]:
    """(side, figure, value): two starts of each side, then every figure in every round, side after side."""
    for name, description in described.items():  # fills the page cache, and is not counted
        Side(name, description, asked.limit_s).close()
    sides = []
    for name, description in described.items():
        side = Side(name, description, asked.limit_s)
        stack.callback(side.close)
        sides.append(side)
        if description["side"] != "url":  # that one runs already
            yield name, READY, side.ready_s
    for figure in FIGURES:
        for side in sides:
            side.measure(figure, -1)  # warm
        for seed in range(asked.num_rounds):
            for side in sides:
                time.sleep(SETTLE_S)
                yield side.name, figure.name, side.measure(figure, seed)


def compared(results: dict[str, dict[str, list[float]]]) -> Iterator[dict[str, Any]]:
    """Ratios of the first side to each other one, round by round; above 1 the first is better."""
    for figure, by_name in results.items():
        first, *others = by_name
        for other in others:
            pairs = zip(by_name[first], by_name[other], strict=False)
            ratios = [theirs / ours if figure == READY else ours / theirs for ours, theirs in pairs]
            if ratios:
                yield {
                    "figure": figure,
                    "first": first,
                    "other": other,
                    "first_median": spread(by_name[first])["median"],
                    "other_median": spread(by_name[other])["median"],
                    "ratio": spread(ratios),
                }


def _line(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    return (
        f"{row['figure']:<26} {row['first']} {row['first_median']:.2f}, {row['other']} {row['other_median']:.2f}: "
        f"ratio {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
    )
