"""Measures `quire serve`: time to the first line of output and to readiness, with its split. Prints JSON.

    python tools/bench_startup.py [--runs 5] [--model builtin|qwen3-0.6b|all|FOLDER] [--output FILE]

`qwen3-0.6b` is a checkpoint of that shape with random bfloat16 weights (1.2 GB), written to a temporary folder and
read once before the runs, so that it lies in the page cache.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy

from quire.base.hardware import probe_machine
from quire.model.checkpoint import BUILTIN_MODEL, builtin_folder

READY = re.compile(r"^Ready after ([\d.]+) s \((.*?)(?:; beside it the engine: (.*))?\)$")
LIMIT_S = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the start of `quire serve`.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", default="all")
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as temporary:
        results = []
        for name in ("builtin", "qwen3-0.6b") if asked.model == "all" else (asked.model,):
            results.append(measure(name, model_for(name, Path(temporary)), asked.runs))
    machine = msgspec.to_builtins(probe_machine())
    report = {
        "machine": {name: machine[name] for name in ("cpu_name", "num_cores", "memory_total_bytes")},
        "results": results,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n", "utf-8")
    return 0


def model_for(name: str, temporary: Path) -> str:
    if name == "builtin":
        return BUILTIN_MODEL
    if name == "qwen3-0.6b":
        return str(write_qwen3(temporary / name))
    return name


def measure(name: str, model: str, num_runs: int) -> dict[str, object]:
    """One run that is not counted (it fills the page cache), then `num_runs` that are."""
    start(model)
    runs = [start(model) for _ in range(num_runs)]
    return {
        "model": name,
        "median_first_line_s": statistics.median(run["first_line_s"] for run in runs),
        "median_ready_s": statistics.median(run["ready_s"] for run in runs),
        "runs": runs,
    }


def start(model: str) -> dict[str, object]:
    """Start a server, time its lines, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "quire", "serve", model, "--host", "127.0.0.1", "--port", str(port)]
    began_s = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        first_line_s = time.monotonic() - began_s
        for line in server.stdout:
            found = READY.match(line)
            if found:
                ready_s = time.monotonic() - began_s
                break
            if time.monotonic() - began_s > LIMIT_S:
                raise SystemExit(f"{model}: not ready after {LIMIT_S} s")
        else:
            raise SystemExit(f"{model}: the server ended: {server.stderr.read()}")
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)
    return {
        "first_line_s": round(first_line_s, 3),
        "ready_s": round(ready_s, 3),
        "server_split_s": split(found.group(2)),
        "engine_split_s": split(found.group(3) or ""),
    }


def split(text: str) -> dict[str, float]:
    """'python 0.03, settings 0.01' → numbers by name."""
    parts = (part.rpartition(" ") for part in text.split(", ") if part)
    return {name: float(seconds) for name, _, seconds in parts}


def write_qwen3(folder: Path) -> Path:
    """A folder of Qwen3-0.6B's shape: random weights, the built-in model's tokenizer."""
    hidden, mlp, heads, kv_heads, head_dim, num_layers, vocab = 1024, 3072, 16, 8, 128, 28, 151_936
    shapes = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for layer in range(num_layers):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": (hidden,),
            prefix + "post_attention_layernorm.weight": (hidden,),
            prefix + "self_attn.q_proj.weight": (heads * head_dim, hidden),
            prefix + "self_attn.k_proj.weight": (kv_heads * head_dim, hidden),
            prefix + "self_attn.v_proj.weight": (kv_heads * head_dim, hidden),
            prefix + "self_attn.o_proj.weight": (hidden, heads * head_dim),
            prefix + "self_attn.q_norm.weight": (head_dim,),
            prefix + "self_attn.k_norm.weight": (head_dim,),
            prefix + "mlp.gate_proj.weight": (mlp, hidden),
            prefix + "mlp.up_proj.weight": (mlp, hidden),
            prefix + "mlp.down_proj.weight": (hidden, mlp),
        }
    folder.mkdir()
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "dtype": "bfloat16",
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": num_layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "vocab_size": vocab,
        "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "attention_bias": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    for file in builtin_folder().glob("token*"):
        shutil.copy(file, folder)
    write_safetensors(folder / "model.safetensors", shapes)
    return folder


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """bfloat16 tensors of small random values; the format is an 8-byte length, a JSON header, the data."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    random = numpy.random.default_rng(0)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for shape in shapes.values():
            # sign and mantissa at random over an exponent that makes values of about 0.01
            bits = random.integers(0, 1 << 16, int(numpy.prod(shape)), dtype=numpy.uint16)
            file.write(((bits & 0x807F) | 0x3C00).tobytes())


if __name__ == "__main__":
    sys.exit(main())
