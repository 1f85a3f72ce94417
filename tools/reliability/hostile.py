"""Figures about what comes from outside: bodies of requests, and checkpoints that are damaged."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.bodies import BODIES
from tests.fuzz.mutate import mutated_json
from tools.reliability.figure import Figure, spread
from tools.reliability.server import Server, free_port

import quire

BUILT_IN = Path(quire.__file__).parent / "assets" / "folio"
NUM_CALLERS = 16
SLOW_S = 1.0
ANSWER_LIMIT_S = 60.0
REFUSAL_LIMIT_S = 2.0


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, data: bytes) -> int:
    """Of one POST on a connection that stays open; the body is read and dropped. Raises OSError, EOFError."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    status = int((await reader.readuntil(b"\r\n")).split()[1])
    length = None
    while line := (await reader.readuntil(b"\r\n")).strip().lower():
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    if length is not None:
        await reader.readexactly(length)
        return status
    while size := int(await reader.readuntil(b"\r\n"), 16):  # chunks
        await reader.readexactly(size + 2)
    await reader.readexactly(2)
    return status


def fuzz(n: int, chooser: random.Random) -> Figure:
    """n mutated bodies over HTTP to every route that has seeds, with the built-in model behind them."""
    seeds = [(body.path, seed) for body in BODIES if body.pooler is None for seed in body.seeds()]
    statuses: dict[int, int] = {}
    slowest: tuple[float, bytes] = (0.0, b"")
    num_slow = num_lost = 0

    async def call(port: int, count: int) -> None:
        nonlocal slowest, num_slow, num_lost
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            path, seed = chooser.choice(seeds)
            data = mutated_json(seed, chooser)
            sent_s = time.monotonic()
            try:
                status = await asyncio.wait_for(_status(reader, writer, path, data), ANSWER_LIMIT_S)
            except (OSError, EOFError, TimeoutError):
                num_lost += 1
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            took_s = time.monotonic() - sent_s
            statuses[status] = statuses.get(status, 0) + 1
            if status >= 500:
                sys.stderr.write(f"{status} from {path}: {data[:2000]!r}\n")
            if took_s > SLOW_S:
                num_slow += 1
            slowest = max(slowest, (took_s, data))
        writer.close()

    async def all_callers(port: int) -> None:
        await asyncio.gather(*(call(port, n // NUM_CALLERS) for _ in range(NUM_CALLERS)))

    with Server("--max-model-len", "128") as server:  # so that no valid request may speak for long
        engine = server.engine()
        asyncio.run(all_callers(server.port))
        is_same_engine = server.engine() == engine and server.status("/ready") == 200
    num_faults = sum(count for status, count in statuses.items() if status >= 500)
    shown = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    text = (
        f"{shown}; {num_lost} without an answer, {num_slow} slower than 1 s (slowest {slowest[0]:.2f} s); "
        f"engine {'unharmed' if is_same_engine else 'DEAD'}"
    )
    if num_slow:
        sys.stderr.write(f"slowest: {slowest[1][:500]!r}\n")
    met = not (num_faults or num_lost or num_slow) and is_same_engine
    return Figure("mutated bodies over HTTP", "0 × 5xx, 0 deaths, 0 slower than 1 s", n, text, met)


def damaged_checkpoints(n: int, chooser: random.Random) -> Figure:
    """n copies of the built-in model, each damaged in its own way: a named error, a code, in time."""
    seconds: list[float] = []
    wrong: list[str] = []
    for number in range(n):
        with tempfile.TemporaryDirectory(prefix="reliability-") as name:
            folder = Path(name) / "model"
            shutil.copytree(BUILT_IN, folder)
            what = DAMAGES[number % len(DAMAGES)](folder, chooser)
            code, said, took_s = _serve(folder)
        seconds.append(took_s)
        if code in (0, None) or "Traceback" in said or not said.strip() or took_s >= REFUSAL_LIMIT_S:
            wrong.append(f"{what}: code {code} after {took_s:.2f} s: {said.strip()[-200:]}")
    for line in wrong[:10]:
        sys.stderr.write(line + "\n")
    text = f"{len(wrong)} of {n} not refused with one sentence and a code; took {spread(seconds)}"
    bar = "100 % named error, exit ≠ 0, < 2 s"
    return Figure("damaged checkpoints", bar, n, text, not wrong)


def _serve(folder: Path) -> tuple[int | None, str, float]:
    """Exit code (None of a server that went on), what it said on standard error, and how long that took."""
    started_s = time.monotonic()
    command = [sys.executable, "-m", "quire", "serve", str(folder), "--host", "127.0.0.1"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "VLLM_CACHE_ROOT": str(folder)}
    with subprocess.Popen(
        [*command, "--port", str(free_port())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            said = process.communicate(timeout=2 * REFUSAL_LIMIT_S)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            return None, "", time.monotonic() - started_s
    return process.returncode, said.decode(errors="replace"), time.monotonic() - started_s


def _weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def _header(folder: Path) -> tuple[dict, bytes]:
    """The header as JSON, and what follows it."""
    data = _weights(folder).read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def _write_header(folder: Path, header: dict, rest: bytes) -> None:
    text = json.dumps(header).encode()
    _weights(folder).write_bytes(len(text).to_bytes(8, "little") + text + rest)


def _truncate(folder: Path, chooser: random.Random) -> str:
    size = chooser.randrange(_weights(folder).stat().st_size)
    os.truncate(_weights(folder), size)
    return f"cut after {size} bytes"


def _flip_length(folder: Path, chooser: random.Random) -> str:
    """A bit of the header's length: any change of it moves every tensor."""
    bit = chooser.randrange(64)
    data = bytearray(_weights(folder).read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    _weights(folder).write_bytes(data)
    return f"bit {bit} of the header's length flipped"


def _reshape(folder: Path, chooser: random.Random) -> str:
    header, rest = _header(folder)
    name = chooser.choice([name for name in header if name != "__metadata__"])
    header[name]["shape"] = [chooser.choice([0, 1, 3, 2**31, 2**63, -1, "x"]), *header[name]["shape"][1:]]
    _write_header(folder, header, rest)
    return f"{name} reshaped to {header[name]['shape']}"


def _retype(folder: Path, chooser: random.Random) -> str:
    header, rest = _header(folder)
    name = chooser.choice([name for name in header if name != "__metadata__"])
    header[name]["dtype"] = chooser.choice(["F32", "I64", "BOOL", "F8_E5M2", "nonsense"])
    _write_header(folder, header, rest)
    return f"{name} said to be {header[name]['dtype']}"


def _lose(folder: Path, chooser: random.Random) -> str:
    header, rest = _header(folder)
    name = chooser.choice([name for name in header if name != "__metadata__"])
    del header[name]
    _write_header(folder, header, rest)
    return f"{name} missing"


def _add(folder: Path, chooser: random.Random) -> str:
    header, rest = _header(folder)
    name = f"unheard.of.{chooser.randrange(100)}"
    header[name] = {"dtype": "BF16", "shape": [2], "data_offsets": [len(rest), len(rest) + 4]}
    _write_header(folder, header, rest + b"\0\0\0\0")
    return f"{name} added"


def _remove(folder: Path, chooser: random.Random) -> str:
    name = chooser.choice(["model.safetensors", "config.json", "tokenizer.json"])
    (folder / name).unlink()
    return f"no {name}"


def _empty(folder: Path, chooser: random.Random) -> str:
    name = chooser.choice(["model.safetensors", "config.json", "tokenizer.json"])
    (folder / name).write_bytes(b"")
    return f"{name} empty"


def _index(folder: Path, chooser: random.Random) -> str:
    """Two shards by the index, of which one is not there."""
    header, _ = _header(folder)
    names = [name for name in header if name != "__metadata__"]
    here, lost = (f"model-{number:05}-of-00002.safetensors" for number in (1, 2))
    _weights(folder).rename(folder / here)
    weight_map = dict.fromkeys(names, here) | {chooser.choice(names): lost}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return f"{lost} missing"


def _misconfigure(folder: Path, chooser: random.Random) -> str:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    key = chooser.choice(
        ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "model_type"]
    )
    config[key] = chooser.choice([0, -1, 10**9, "many", [1], 2.5])
    path.write_text(json.dumps(config))
    return f"{key} is {config[key]!r}"


DAMAGES = (
    *(_truncate, _flip_length, _reshape, _retype, _lose, _add, _remove, _empty, _index, _misconfigure),
)
