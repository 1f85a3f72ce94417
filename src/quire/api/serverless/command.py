"""`quire worker`: from the variables to a running worker."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from quire.api.serverless.front_door import FrontDoor
from quire.api.serverless.handler import JobHandler
from quire.api.serverless.local_server import LocalServer
from quire.api.serverless.mapping import ServerPlan, plan_server
from quire.api.serverless.model_files import with_model_files
from quire.api.serverless.platform import check_packages, import_sdk, serve_jobs
from quire.api.serverless.upstream import Upstream
from quire.api.serverless.worker_settings import Compat, Mode, WorkerSettings, read_settings
from quire.base.config import SETTINGS, Asked
from quire.base.errors import ConfigError

USAGE = """\
usage: quire worker [--mode queue|load-balancer] [--test JSON] [--show] [serve options]

Start `quire serve` from the worker's environment variables and work on the platform's jobs.
Needs the package runpod: pip install 'quire[worker]' (the load-balancer mode does not).

  --mode MODE     queue (default): jobs through the platform's SDK; load-balancer: HTTP on PORT, /ping on PORT_HEALTH
  --test JSON     work on one job, such as '{"input": {"prompt": "Hello"}}', print its items and end
  --show          print what the variables come to, start nothing
  --rp_...        options of the SDK, such as --rp_serve_api

Every other option goes to `quire serve` and wins over variables. The variables: docs/serverless.md
"""

_SDK_SWITCHES = ("--rp_serve_api", "--rp_debugger")
_TEST_FILE = Path("test_input.json")


@dataclass(slots=True)
class Words:
    """The command line, sorted by who reads what."""

    mode: str = ""
    test: str = ""
    is_show: bool = False
    sdk: list[str] = field(default_factory=list)
    serve: list[str] = field(default_factory=list)

    def api_ports(self, environ: Mapping[str, str]) -> tuple[int, ...]:
        """Where the SDK's local API will listen, if it is asked for: by default on the server's own default port."""
        if environ.get("RUNPOD_REALTIME_PORT", "").isdigit():
            return (int(environ["RUNPOD_REALTIME_PORT"]),)
        if "--rp_serve_api" not in self.sdk:
            return ()
        spelled = " ".join(self.sdk).replace("=", " ").split()
        port = spelled[spelled.index("--rp_api_port") + 1] if "--rp_api_port" in spelled else "8000"
        return (int(port),) if port.isdigit() else ()


def worker(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run `quire worker …`; returns the exit code. Raises ConfigError and StartFailed."""
    if "-h" in arguments or "--help" in arguments:
        print(USAGE, end="")
        return 0
    words = read_words(arguments)
    environ = with_model_files(os.environ if environ is None else environ)
    settings = read_settings(environ, words.mode, words.api_ports(environ))
    plan = plan_server(environ, words.serve)
    asked = Asked.from_arguments(plan.arguments, plan.environ)
    _refuse_other_doors(asked)
    if words.is_show:
        print("\n".join([shlex.join(["quire", "serve", *plan.arguments]), *plan.notes]))
        return 0
    _tell(plan, settings)
    server = LocalServer(
        plan.arguments,
        plan.environ,
        port=settings.server_port,
        startup_timeout_s=settings.startup_timeout_s,
    )
    signal.signal(signal.SIGTERM, _terminate)  # until the SDK or the door puts its own in place
    try:
        if settings.mode is Mode.LOAD_BALANCER:
            return asyncio.run(FrontDoor(server, settings).run())
        api_keys = asked["api_key"] or [""]
        return _work(server, settings, words, api_keys[0])
    finally:
        server.stop()


def _refuse_other_doors(asked: Asked) -> None:
    """The worker reaches its server over loopback TCP; options and files must not move it elsewhere."""
    for dest in ("uds", "ssl_certfile", "ssl_keyfile"):
        if dest in SETTINGS.by_dest and asked[dest]:
            _, source = asked.origin(dest)
            raise ConfigError(
                f"{source} is refused: the worker talks to its server over loopback, without TLS",
                setting=dest,
            )


def read_words(arguments: Sequence[str]) -> Words:
    """Raises ConfigError for one of ours without its value."""
    found = Words()
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--mode", "--test", "--test_input", "--test-input"):
            text = value if equals else next(rest, "")
            if not text:
                raise ConfigError(f"{name} needs a value")
            if name == "--mode":
                found.mode = text
            else:
                found.test = text
        elif word == "--show":
            found.is_show = True
        elif name.startswith("--rp_"):
            found.sdk.append(word)
            if not equals and name not in _SDK_SWITCHES:
                found.sdk.append(next(rest, ""))
        else:
            found.serve.append(word)
    if found.mode and found.mode not in [mode.value for mode in Mode]:
        raise ConfigError(
            f"--mode: {found.mode!r} is not allowed; give {' or '.join(mode.value for mode in Mode)}"
        )
    return found


def _work(server: LocalServer, settings: WorkerSettings, words: Words, api_key: str) -> int:
    """The queue mode, or one job of a test."""
    job = _test_job(words)
    check_packages("aiohttp", *(["runpod"] if job is None else []))
    started_s = time.monotonic()
    asyncio.run(_start(server, with_sdk=job is None))
    print(f"quire worker: ready after {time.monotonic() - started_s:.2f} s", flush=True)
    upstream = Upstream(
        settings.server_port,
        api_key=api_key,
        timeout_s=settings.request_timeout_s,
        quotes_status=settings.compat is Compat.V3,
    )
    handler = JobHandler(settings, upstream, server)
    if job is not None:
        return asyncio.run(_try(handler, job))
    return serve_jobs(handler, server, settings, words.sdk)


async def _start(server: LocalServer, *, with_sdk: bool) -> None:
    """Import the SDK, which takes a while, beside the server's own start."""
    if with_sdk:
        await asyncio.gather(server.start(), asyncio.to_thread(import_sdk))
    else:
        await server.start()


def _test_job(words: Words) -> dict[str, object] | None:
    """A job to try: given, or in ./test_input.json when there is no platform to ask. None to serve the platform."""
    serves = (
        any(word.startswith("--rp_serve_api") for word in words.sdk) or "RUNPOD_REALTIME_PORT" in os.environ
    )
    text = words.test
    if not text:
        if serves or "RUNPOD_WEBHOOK_GET_JOB" in os.environ:
            return None
        if not _TEST_FILE.is_file():
            raise ConfigError(
                "there is no platform to take jobs from (RUNPOD_WEBHOOK_GET_JOB is not set); "
                "try one with --test, or serve the SDK's local API with --rp_serve_api"
            )
        text = _TEST_FILE.read_text("utf-8")
    try:
        job = json.loads(text)
    except ValueError as problem:
        raise ConfigError(f"--test is not JSON: {problem}") from None
    if not isinstance(job, dict) or "input" not in job:
        raise ConfigError(
            """--test needs an object with an input, such as '{"input": {"prompt": "Hello"}}'"""
        )
    return {"id": "test", **job}


async def _try(handler: JobHandler, job: dict[str, object]) -> int:
    """Print each item as a line of JSON; 1 when the job failed. (The SDK's own test mode never runs a generator.)"""
    has_failed = False
    async for item in handler.handle(job):
        has_failed = has_failed or (isinstance(item, dict) and bool(item.get("error")))
        print(json.dumps(item, ensure_ascii=False), flush=True)
    return 1 if has_failed else 0


def _tell(plan: ServerPlan, settings: WorkerSettings) -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="quire worker: %(message)s")
    for note in plan.notes:
        print(f"quire worker: {note}", file=sys.stderr)
    shapes = f"outputs as {settings.compat.value}, {settings.max_concurrency} jobs at once"
    where = f"port {settings.port}, /ping on {settings.health_port}"
    print(f"quire worker: {where if settings.mode is Mode.LOAD_BALANCER else shapes}", flush=True)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
