"""Running servers as sides of a comparison: one that runs already, or one started here."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from quire.api.bench.client import Client, Reply

Run = Callable[[list[list[int]], int], float]
POLL_S = 0.02
STOP_LIMIT_S = 15.0


def server_side(described: dict[str, Any]) -> Run:
    """Starts `command` with `environment` beside this process's, waits until GET /health says 200, then asks it as
    `url_side` does. It ends with this process. Raises RuntimeError when it ends before."""
    server = subprocess.Popen(described["command"], env={**os.environ, **described["environment"]})
    atexit.register(_stop, server)
    while not _is_healthy(described["base_url"]):
        if server.poll() is not None:
            raise RuntimeError(f"{described['command'][0]} ended with code {server.returncode}")
        time.sleep(POLL_S)
    return url_side(described)


def free_port() -> int:
    """Of this machine, for a server that is to be started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        server.kill()


def _is_healthy(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:  # nobody listens yet, or not ready
        return False


def server_version(base_url: str) -> str:
    """What GET /version says; empty where there is no such route."""
    try:
        with urllib.request.urlopen(f"{base_url}/version", timeout=5) as response:
            return str(json.load(response)["version"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def url_side(described: dict[str, Any]) -> Run:
    """The server at `base_url`, streamed; `model` and `api_key` go with every request."""

    async def ask_all(prompts: list[list[int]], output_tokens: int) -> list[Reply]:
        client = Client(described["base_url"], api_key=described.get("api_key", ""))
        fields = {"model": described["model"], "temperature": 0, "ignore_eos": True, "stream": True}
        usage = {"include_usage": True}
        bodies = [
            {**fields, "prompt": prompt, "max_tokens": output_tokens, "stream_options": usage}
            for prompt in prompts
        ]
        replies = await asyncio.gather(*(client.stream("/v1/completions", body) for body in bodies))
        client.close()
        return list(replies)

    def run(prompts: list[list[int]], output_tokens: int) -> float:
        started_s = time.perf_counter()
        replies = asyncio.run(ask_all(prompts, output_tokens))
        for reply in replies:
            if reply.error:
                raise RuntimeError(reply.error)
            if reply.completion_tokens not in (None, output_tokens):
                raise RuntimeError(f"asked for {output_tokens} tokens, got {reply.completion_tokens}")
        return max(reply.ended_s for reply in replies) - started_s

    return run
