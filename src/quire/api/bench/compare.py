"""`quire bench compare`: Quire and its peers in turn (A B A B …), as ratios with their spread."""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire.api.bench.engine import prompts, say
from quire.api.bench.formats import choose
from quire.api.bench.options import Options, positive, whole, write_file, write_result
from quire.api.bench.peers import PEERS, peer_sides, quire_server, usable_peers
from quire.api.bench.pictures import comparison_picture
from quire.api.bench.resting import PROCESSES, UNSEEN_S, processor_seconds, wait_for_rest
from quire.api.bench.serve import first_model
from quire.api.bench.shapes import SHAPES, write_shape
from quire.api.bench.statistics import spread
from quire.base.errors import ConfigError, QuireError
from quire.base.hardware import probe_machine

# of a shape's sides, where nothing else is given
DEFAULTS = {"max_model_len": 1024, "kv_cache_memory_bytes": 1 << 30}
VOCABULARY = 1300  # what random prompts are drawn from; every model has more
END_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that is measured: tokens per second, of prompts and replies or of what comes after a first token."""

    name: str
    batch: int
    input_tokens: int
    output_tokens: int
    is_decode: bool = False

    def rate(self, seconds: float) -> float:
        if self.is_decode:
            return self.batch * (self.output_tokens - 1) / seconds
        counted = self.input_tokens + (self.output_tokens if self.output_tokens > 1 else 0)
        return self.batch * counted / seconds


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
            start_new_session=True,  # what it starts ends with it
        )
        try:
            self.version = str(self._answer()["version"])
        except BaseException:
            self.close()
            raise
        self.ready_s = time.perf_counter() - started_s

    def measure(self, figure: Figure, seed: int) -> float:
        """What decoding takes is what a whole reply takes more than its first token: not every server sends an event
        for a token without text."""
        drawn = prompts(figure.batch, figure.input_tokens, VOCABULARY, seed)
        first_s = self._ask(drawn, 1) if figure.is_decode else 0.0
        return figure.rate(self._ask(drawn, figure.output_tokens) - first_s)

    def _ask(self, drawn: list[list[int]], output_tokens: int) -> float:
        """Seconds until all replies had come."""
        asked = {"prompts": drawn, "output_tokens": output_tokens}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    @property
    def session(self) -> int:
        """Of the process and all that it started."""
        return self._process.pid

    def close(self) -> None:
        """Its servers may take a while to end properly; what is left then is killed."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=END_LIMIT_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._complaints.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(self._limit_s) else b""
        if not line:
            self._complaints.seek(0)
            words = self._complaints.read().strip()[-800:] or f"nothing within {self._limit_s:g} s"
            raise QuireError(f"{self.name} gave no answer: {words}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def compare(words: Sequence[str]) -> int:
    """Measure all sides in turn and print ratios. When a side fails, or at Ctrl-C, it prints what there is."""
    asked, given = _options().parse_with_engine(words)
    results: dict[str, dict[str, list[float]]] = {}
    versions: dict[str, str] = {}
    code = 0
    with ExitStack() as stack:
        try:
            described = _described(asked, given, stack)
            for name, figure, value in _measurements(described, asked, stack, versions):
                results.setdefault(figure, {}).setdefault(name, []).append(value)
                say(f"{name}: {figure} {value:.2f}")
        except KeyboardInterrupt:
            print("interrupted; this is what there is")
        except QuireError as problem:
            if not results:
                raise
            code = 1
            print(f"{problem}; this is what there was")
    if not results:
        return 130
    rows = list(
        compared(results, {name: side["format"] for name, side in described.items() if "format" in side})
    )
    print("\n".join(_line(row) for row in rows))
    write_result(asked.output_json, {"versions": versions, "measurements": results, "ratios": rows})
    if asked.plot:
        medians = {
            figure: {name: spread(values)["median"] for name, values in by_name.items()}
            for figure, by_name in results.items()
        }
        write_file(asked.plot, comparison_picture(medians))
    return code


def _options() -> Options:
    options = Options("compare", "Quire and its peers in turn, as ratios.")
    options.add_argument(
        "--shape", choices=list(SHAPES), default="qwen3-0.6b", help="a checkpoint of random weights"
    )
    options.add_argument("--formats", default="bfloat16", metavar="A,B", help="of Quire; the first one leads")
    options.add_argument(
        "--peers",
        default="",
        metavar="A,B",
        help=f"of {', '.join(PEERS)}; or none; default: those that are here",
    )
    options.add_argument(
        "--base-url", nargs="+", default=[], help="running servers, without /v1, as further sides"
    )
    options.add_argument("--api-key", default="")
    options.add_argument(
        "--over-http",
        action="store_true",
        help="Quire's sides are servers too, for a comparison with servers on equal terms",
    )
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
    peers = usable_peers(asked.peers)
    if "llama.cpp" in peers and "model" in given:
        if asked.peers:
            raise ConfigError("--peers llama.cpp: its file can be written of a --shape only, not of --model")
        say("llama.cpp is left out: its file can be written of a --shape only, not of --model")
        peers.remove("llama.cpp")
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quire-bench-")))
    ours: dict[str, Any] = {}
    if "model" not in given:
        say(f"writing a checkpoint of {asked.shape}'s shape")
        folder = write_shape(asked.shape, scratch / asked.shape, with_weights=True)
        ours = {name: value for name, value in DEFAULTS.items() if name not in given}
        ours["model"] = str(folder)
    sides = {}
    for name, keywords in formats.items():
        if asked.over_http:
            side = quire_server(asked.engine_words, ours | keywords)
        else:
            side = {"side": "quire", "settings": given | ours | keywords}
        sides[f"quire {name}"] = {**side, "format": name}
    sides |= peer_sides(peers, Path((given | ours)["model"]), list(formats), scratch)
    for url in asked.base_url:
        model = first_model(url, asked.api_key)
        sides[url] = {"side": "url", "base_url": url, "model": model, "api_key": asked.api_key}
    return sides


def _measurements(
    described: dict[str, dict[str, Any]],
    asked: argparse.Namespace,
    stack: ExitStack,
    versions: dict[str, str],
) -> Iterator[tuple[str, str, float]]:
    """(side, figure, value): two starts of each side, then every figure in every round, side after side, when all
    have come to rest. The sides' versions are put into `versions`."""
    for name, description in described.items():  # fills the page cache, and is not counted
        Side(name, description, asked.limit_s).close()
    sides: list[Side] = []
    for name, description in described.items():
        _rest(sides, described)
        side = Side(name, description, asked.limit_s)
        stack.callback(side.close)
        sides.append(side)
        versions[name] = side.version
        if description["side"] != "url":  # that one runs already
            yield name, READY, side.ready_s
    for figure in FIGURES:
        for side in sides:
            side.measure(figure, -1)  # warm
        for seed in range(asked.num_rounds):
            for side in sides:
                _rest(sides, described)
                yield side.name, figure.name, side.measure(figure, seed)


def _rest(sides: Sequence[Side], described: Mapping[str, Mapping[str, Any]]) -> None:
    """Until the processes of all sides are idle; a while for a server that was not started here."""
    if sides:
        is_seen = PROCESSES.exists() and all(described[side.name]["side"] != "url" for side in sides)
        leaders = [side.session for side in sides]
        say(str(wait_for_rest(lambda: processor_seconds(leaders), 0.0 if is_seen else UNSEEN_S)))


def compared(
    results: dict[str, dict[str, list[float]]], formats: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Ratios of a side of Quire's to each other side, round by round; above 1 Quire's is better. It is the one of the
    other side's format, the first where there is none. `formats` holds the sides' formats by name; `results` has
    Quire's sides before all others."""
    for figure, by_name in results.items():
        first, *others = by_name
        for place, other in enumerate(others):
            alike = [name for name in list(by_name)[: place + 1] if formats.get(name) == formats.get(other)]
            ours = alike[0] if alike and other in formats else first
            pairs = zip(by_name[ours], by_name[other], strict=False)
            ratios = [theirs / mine if figure == READY else mine / theirs for mine, theirs in pairs]
            if ratios:
                yield {
                    "figure": figure,
                    "first": ours,
                    "other": other,
                    "first_median": spread(by_name[ours])["median"],
                    "other_median": spread(by_name[other])["median"],
                    "ratio": spread(ratios),
                }


def _line(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    return (
        f"{row['figure']:<26} {row['first']} {row['first_median']:.2f}, {row['other']} {row['other_median']:.2f}: "
        f"ratio {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
    )
