"""`quire serve`: from the command line to a listening server, the engine's start overlapped with ours."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from quire.api.cli import report
from quire.api.cli.clock import StartClock
from quire.base.config import SETTINGS, Asked, Resolution
from quire.base.logs import set_up_logging


def serve(arguments: Sequence[str]) -> int:
    """Serve until a signal; returns the exit code. Raises ConfigError and CheckpointError."""
    clock = StartClock()
    topic = help_topic(arguments)
    if topic is not None:
        print(SETTINGS.help(topic), end="")
        return 0
    asked = Asked.from_arguments(arguments)
    # before anything heavy is imported: whoever waits sees that it has begun
    print(report.greeting(asked["model"]), flush=True)
    for warning in asked.warnings:
        print(f"quire: {warning}", file=sys.stderr)
    clock.lap("settings")

    from quire.api.startup import prepare_startup

    resolution = prepare_startup(asked, lap=clock.lap).resolution
    if resolution.engine.log.path:
        set_up_logging(resolution.engine.log)  # a file that cannot be used is refused before anything starts
    print("\n".join(report.resolution_lines(resolution)), flush=True)
    return _run(resolution, clock)


def _run(resolution: Resolution, clock: StartClock) -> int:
    """Start the engine process first, so that its imports run beside ours, then the HTTP server."""
    from quire.api.cli.loading import show_loading
    from quire.engine.client import ProcessClient

    signal.signal(signal.SIGTERM, _terminate)  # the server puts its own handler in place
    server = resolution.server
    client = ProcessClient(
        resolution.engine,
        socket_folder=server.socket_folder,
        step_timeout_s=server.step_timeout_s,
        answer_timeout_s=server.answer_timeout_s,
    )
    try:
        client.spawn()
        clock.lap("engine spawn")
        show_loading(client)
        from quire.api.server import serve_http

        clock.lap("server import")
    except BaseException:
        client.reap()
        raise

    def announce(_: float) -> None:
        clock.lap("engine wait")
        split_s = client.ready.split_s if client.ready else {}
        print(report.ready_line(clock.total_s, clock.laps, split_s))
        print(f"  {report.base_url(resolution.server)}  ({resolution.server.uds or 'Ctrl-C stops'})")
        for line in report.page_lines(resolution.server):
            print(line)
        print(f"  {report.curl_line(resolution.engine, resolution.server)}", flush=True)

    return serve_http(client, resolution.engine, resolution.server, announce)


def help_topic(arguments: Sequence[str]) -> str | None:
    """What help is asked for: "" for the overview, None when none is."""
    for word in arguments:
        if word in ("-h", "--help"):
            return ""
        if word.startswith("--help="):
            return word.removeprefix("--help=")
    return None


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
