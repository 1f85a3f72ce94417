"""A `quire serve` of its own for each measurement, on loopback, and what the kernel knows of its processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PLUGINS = Path(__file__).parent / "plugins"
START_LIMIT_S = 120.0


class Server:
    """Use as a context; started and ready inside. `plugin` is one of this folder's, with its own variables."""

    def __init__(self, *arguments: str, plugin: str = "", **variables: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reliability-"))
        self.port = free_port()
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder), **variables}
        if plugin:
            environment["VLLM_PLUGINS"] = plugin
            environment["PYTHONPATH"] = ":".join([str(PLUGINS), *filter(None, sys.path)])
        command = [sys.executable, "-m", "quire", "serve", *arguments, "--disable-uvicorn-access-log"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def __enter__(self) -> Server:
        deadline_s = time.monotonic() + START_LIMIT_S
        while self.status("/ready") != 200:
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                log = self.log()
                self.close()
                raise SystemExit(f"the server did not become ready:\n{log}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server and whatever it started, and remove its folder."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def engine(self) -> int:
        """Process id of the engine; waits for one that is being started."""
        while True:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            living = [int(pid) for pid in children if state(int(pid)) not in ("", "Z")]
            if living:
                return living[-1]
            time.sleep(0.005)

    def status(self, path: str) -> int:
        """0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def metrics(self) -> dict[str, float]:
        """Values by name, summed over labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        values: dict[str, float] = {}
        for line in lines:
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                key = name.partition("{")[0]
                values[key] = values.get(key, 0.0) + float(value)
        return values


@contextlib.contextmanager
def model_of_shape(name: str) -> Iterator[tuple[str, str]]:
    """A model of that shape with weights at random, and a folder for caches. Both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        make = [sys.executable, "-m", "quire", "bench", "shape", name, f"{folder}/model", "--weights"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        yield f"{folder}/model", folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """Processes that a process started, in whatever thread, and those that they started."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            found += [int(child) for child in children.read_text().split()]
    return found + [below for child in found for below in descendants(child)]


def state(pid: int) -> str:
    """The kernel's letter for what a process does; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def resident_bytes(pid: int, *kinds: str) -> int:
    """What a process holds, by the kernel's names of it. Unless said otherwise its own: pages of files are left out,
    since its share of them changes with the other processes that map the same libraries."""
    wanted = {f"{kind}:" for kind in kinds or ("Pss_Anon", "Pss_Shmem")}
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.split()[0] in wanted)


def processor_s(pid: int) -> float:
    """Processor time that a process used so far, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def num_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def num_threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))
