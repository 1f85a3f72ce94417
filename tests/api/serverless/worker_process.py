"""A real `quire worker` in its own process, its connections written down."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import quire
from quire.api.bench.server_side import free_port

# runs in every Python process of the worker: notes each address that something connects or sends to
WATCHER = """\
import os, sys

def note(event, details):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        where = details[0] if event.startswith("socket.get") else details[1]
        with open(os.environ["WATCHED_CONNECTIONS"], "a") as log:
            log.write(f"{event} {where!r}\\n")

sys.addaudithook(note)
"""
LOOPBACK = ("'127.0.0.1'", "('127.0.0.1',", "'localhost'", "'::1'")
LOCAL_FAMILIES = ("b'", "'/")  # unix sockets


class WorkerProcess:
    """`quire worker` with the given variables and options; its log and connections are files in `folder`."""

    def __init__(self, folder: Path, environ: dict[str, str], *words: str) -> None:
        self.folder = folder
        self.log = folder / "log.txt"
        self.connections = folder / "connections.txt"
        self.connections.touch()
        (folder / "sitecustomize.py").write_text(WATCHER)
        self.server_port = free_port()
        source = str(Path(quire.__file__).parents[1])
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quire", "worker", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder),
                    "PYTHONPATH": f"{folder}{os.pathsep}{source}",
                    "OMP_NUM_THREADS": "1",
                    "WATCHED_CONNECTIONS": str(self.connections),
                    "VLLM_PORT": str(self.server_port),
                    **environ,
                },
            )

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def wait_log(self, words: str, limit_s: float = 60.0) -> None:
        deadline_s = time.monotonic() + limit_s
        while words not in self.text():
            assert self.process.poll() is None, f"the worker ended:\n{self.text()}"
            assert time.monotonic() < deadline_s, f"no {words!r} in:\n{self.text()}"
            time.sleep(0.02)

    def strangers(self) -> list[str]:
        """Connections to anywhere but this machine."""
        found = []
        for line in self.connections.read_text().splitlines():
            where = line.partition(" ")[2]
            if not where.startswith((*LOOPBACK, *LOCAL_FAMILIES)):
                found.append(line)
        return found

    def server_pids(self) -> list[int]:
        """Processes that serve on our port (command line with `serve` and the port)."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"serve" in words and str(self.server_port).encode() in words:
                    found.append(int(path.parent.name))
        return found

    def stop(self, how: int = signal.SIGTERM, limit_s: float = 30.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            for pid in self.server_pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
