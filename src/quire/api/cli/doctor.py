"""`quire doctor`: what Quire finds on this machine, as a page to paste into a report, and whether a model answers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from quire import __version__
from quire.base.config import Asked
from quire.base.errors import QuireError
from quire.base.hardware import probe_machine

USAGE = """\
usage: quire doctor [MODEL] [serve options]

Tells what Quire finds here: machine, libraries, kernels and why each was chosen, memory, port, folders, settings from
the environment; then lets the model (the built-in one by default) answer one question with greedy decoding.
Exit code 0 when all is well, 1 otherwise. Keys and tokens in the environment are not shown.
"""
QUESTION, ANSWER = "What is 17 + 25?", "42"
LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "msgspec",
    "pyzmq",
    "starlette",
    "uvicorn",
    "uvloop",
)
OWN_VARIABLES = re.compile(r"(QUIRE|VLLM|HF|HUGGING_FACE|OMP|MKL|CUDA|TORCH)_")
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
LOW_SPACE_BYTES = 1 << 30
_WIDTH = 14


class Finding(Exception):
    """Something that will keep Quire from working, in one sentence."""


def doctor(arguments: Sequence[str]) -> int:
    """Print the page; returns the exit code. Raises ConfigError for options that are wrong."""
    if any(word in ("-h", "--help") for word in arguments):
        print(USAGE, end="")
        return 0
    asked = Asked.from_arguments(list(arguments))
    sections: tuple[tuple[str, Callable[[Asked], Iterator[str]]], ...] = (
        ("quire", _versions),
        ("machine", _machine),
        ("environment", _environment),
        ("port", _port),
        ("folders", _folders),
        ("settings", _settings),
        ("probe", _probe),
    )
    num_findings = sum(_print_section(name, section, asked) for name, section in sections)
    print(f"\n{num_findings} problem{'s' * (num_findings != 1)} found" if num_findings else "\nAll is well")
    return 1 if num_findings else 0


def _print_section(name: str, section: Callable[[Asked], Iterator[str]], asked: Asked) -> int:
    """Prints what a section says as it says it; returns the number of problems, which end it."""
    label = name
    try:
        for line in section(asked):
            print(f"{label:<{_WIDTH}}{line}", flush=True)
            label = ""
    except (Finding, QuireError, OSError) as problem:
        print(f"{label:<{_WIDTH}}PROBLEM: {' '.join(str(problem).split())}", flush=True)
        return 1
    return 0


def _versions(_asked: Asked) -> Iterator[str]:
    yield f"{__version__} on Python {platform.python_version()}, {platform.platform()}"
    found = []
    for library in LIBRARIES:
        try:
            found.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    yield ", ".join(found)


def _machine(_asked: Asked) -> Iterator[str]:
    machine = probe_machine()
    limit = f" (limited by {machine.cores_limited_by})" if machine.cores_limited_by else ""
    yield f"{machine.cpu_name}, {machine.num_cores} of {os.cpu_count()} hardware threads{limit}"
    yield f"{machine.num_physical_cores} physical cores, load {' '.join(f'{load:.1f}' for load in os.getloadavg())}"

    yield f"{_gib(machine.memory_available_bytes)} available of {_gib(machine.memory_total_bytes)} of memory"


def _environment(_asked: Asked) -> Iterator[str]:
    names = sorted(name for name in os.environ if OWN_VARIABLES.match(name))
    for name in names:
        yield f"{name}={'(set, not shown)' if SECRET.search(name) else os.environ[name]}"
    if not names:
        yield "no variable of Quire's, vLLM's or the libraries' is set"


def _port(asked: Asked) -> Iterator[str]:
    host, port = asked["host"] or "", asked["port"]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            place = f"{host or '*'}:{port}"
            raise Finding(
                f"{place} cannot be listened on ({problem.strerror}); choose another --port"
            ) from None
    yield f"{host or '*'}:{port} is free"


def _folders(asked: Asked) -> Iterator[str]:
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    for what, folder in (
        ("models", Path(asked["download_dir"] or hub)),
        (
            "sockets",
            Path(asked["rpc_base_path"] or os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()),
        ),
    ):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free_bytes = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            raise Finding(f"{what}: {there} cannot be written to")
        yield f"{what}: {folder}, {_gib(free_bytes)} free"
        if what == "models" and free_bytes < LOW_SPACE_BYTES:
            raise Finding(f"{folder} has no room for a model")


def _settings(asked: Asked) -> Iterator[str]:
    from quire.api.cli.report import resolution_lines
    from quire.api.startup import prepare_startup

    for line in resolution_lines(prepare_startup(asked).resolution):
        yield line.strip()


def _probe(asked: Asked) -> Iterator[str]:
    from quire.api.cli.report import has_chat_template
    from quire.api.llm import LLM
    from quire.api.startup import prepare_startup
    from quire.base.messages import SamplingParams
    from quire.model.ops import explain

    startup = prepare_startup(asked)
    started_s = time.monotonic()
    llm = LLM.started(startup)
    loaded_s = time.monotonic()
    greedy = SamplingParams(temperature=0, max_tokens=16)
    if has_chat_template(startup.folder):
        (reply,) = llm.chat([{"role": "user", "content": QUESTION}], greedy, use_tqdm=False)
    else:
        (reply,) = llm.generate(QUESTION, greedy, use_tqdm=False)
    answered_s = time.monotonic()
    answer = reply.outputs[0]
    for choice in explain():
        refusals = f" ({'; '.join(choice.refusals)})" if choice.refusals else ""
        yield f"{choice.op}: {choice.provider} {choice.variant}".rstrip() + refusals
    yield f"loaded in {loaded_s - started_s:.2f} s, {len(answer.token_ids)} tokens in {answered_s - loaded_s:.2f} s"
    yield f"{QUESTION} {answer.text.strip()!r}"
    if not asked["model"] and ANSWER not in answer.text:
        raise Finding(
            f"the built-in model does not say {ANSWER}: its kernels compute wrongly; try --native-isa off"
        )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
