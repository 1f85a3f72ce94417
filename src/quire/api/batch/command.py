"""The command: its options, the engine's start, signals, and what is said at the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from quire.api.batch.lines import read_lines
from quire.api.batch.output import BatchOutput
from quire.base.config import Asked, EngineConfig, ServerConfig
from quire.base.errors import ConfigError

if TYPE_CHECKING:
    from quire.engine.client import ProcessClient

USAGE = """\
usage: quire run-batch -i INPUT -o OUTPUT [MODEL] [options]

  -i, --input-file PATH     requests, one JSON object a line, in OpenAI's batch format
  -o, --output-file PATH    results, in the order of the requests; an interrupted run goes on from what is there
  --output-tmp-dir PATH     where results gather until all are there (default: beside the output)
  --max-inflight N          requests under way at a time (default: twice --max-num-seqs)
  --enable-metrics          serve /metrics and the probes at --host and --port meanwhile

and the options of `quire serve` that concern model and engine: quire serve --help
"""
INTERRUPTED = 130
_VALUES = {
    "-i": "input_file",
    "--input-file": "input_file",
    "-o": "output_file",
    "--output-file": "output_file",
    "--output-tmp-dir": "output_tmp_dir",
    "--max-inflight": "max_inflight",
    "--url": "url",
}


@dataclass(slots=True)
class BatchOptions:
    """`words` are what is left for the engine."""

    input_file: str = ""
    output_file: str = ""
    output_tmp_dir: str = ""
    max_inflight: str = ""
    url: str = ""
    enable_metrics: bool = False
    words: tuple[str, ...] = ()

    @property
    def seats(self) -> int | None:
        return int(self.max_inflight) if self.max_inflight else None


def read_options(arguments: Sequence[str]) -> BatchOptions:
    """Raises ConfigError for what is missing or cannot be."""
    options, words = BatchOptions(), []
    rest = iter(arguments)
    for word in rest:
        name, has_value, value = word.partition("=")
        if word == "--enable-metrics":
            options.enable_metrics = True
        elif name in _VALUES:
            if not has_value:
                value = next(rest, "")
            if not value:
                raise ConfigError(f"{name} needs a value; see quire run-batch --help")
            setattr(options, _VALUES[name], value)
        else:
            words.append(word)
    options.words = tuple(words)
    _check(options)
    return options


def _check(options: BatchOptions) -> None:
    for flag, value in (("--input-file", options.input_file), ("--output-file", options.output_file)):
        if not value:
            raise ConfigError(f"{flag} is needed; see quire run-batch --help")
        if "://" in value:
            raise ConfigError(
                f"{flag} {value}: files are read and written on this machine alone; give a path"
            )
    if options.url:
        raise ConfigError("--url is not taken any more: metrics are served at --host and --port")
    if options.max_inflight and not (options.max_inflight.isdecimal() and int(options.max_inflight)):
        raise ConfigError(f"--max-inflight must be a number from 1 on, got {options.max_inflight!r}")
    if not Path(options.input_file).is_file():
        raise ConfigError(f"--input-file {options.input_file}: there is no such file")
    if Path(options.input_file).resolve() == Path(options.output_file).resolve():
        raise ConfigError("--output-file must not be the input file")


def run_batch(arguments: Sequence[str]) -> int:
    """Work a file off; returns the exit code. Raises ConfigError and CheckpointError."""
    if any(word in ("-h", "--help") for word in arguments):
        print(USAGE, end="")
        return 0
    options = read_options(arguments)
    asked = Asked.from_arguments(options.words)
    for warning in asked.warnings:
        print(f"quire: {warning}", file=sys.stderr)
    folder = Path(options.output_tmp_dir) if options.output_tmp_dir else None
    output = BatchOutput(Path(options.output_file), folder)
    with open(options.input_file, "rb") as file:
        output.continue_with(read_lines(file))
    try:
        return _run(options, asked, output)
    finally:
        output.close()


def _run(options: BatchOptions, asked: Asked, output: BatchOutput) -> int:
    from quire.api.startup import prepare_startup
    from quire.engine.client import ProcessClient

    resolution = prepare_startup(asked).resolution
    server = for_batch(resolution.server)
    client = ProcessClient(
        resolution.engine,
        socket_folder=server.socket_folder,
        step_timeout_s=server.step_timeout_s,
        answer_timeout_s=server.answer_timeout_s,
    )
    try:
        client.spawn()
        return asyncio.run(_work(options, resolution.engine, server, client, output))
    finally:
        client.reap()


def for_batch(server: ServerConfig) -> ServerConfig:
    """Whoever asks is this process: no key, no queue to be turned away from."""
    return msgspec.structs.replace(
        server, api_keys=[], max_num_queued_reqs=0, max_num_queued_tokens=0, middleware=[]
    )


async def _work(
    options: BatchOptions,
    engine: EngineConfig,
    server: ServerConfig,
    client: ProcessClient,
    output: BatchOutput,
) -> int:
    from quire.api.batch.work import BatchWork
    from quire.api.server import Phase, Service, create_app, load_service, serve_probes

    service = Service(client, engine, server)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(options.input_file, "rb"))
        total = sum(1 for _ in read_lines(file))
        file.seek(0)
        lines = read_lines(file)
        for _ in range(output.num_done):
            next(lines)
        if output.num_done:
            print(f"quire: {output.num_done} of {total} results are there already", file=sys.stderr)
        work = BatchWork(
            create_app(service),
            output,
            total,
            max_inflight=options.seats or 2 * engine.scheduler.max_num_seqs,
            is_over=lambda: service.phase is Phase.DEAD,
        )

        async def whole() -> bool:
            await load_service(service)
            return await work.run(lines)

        metrics = asyncio.create_task(serve_probes(service)) if options.enable_metrics else None
        task = asyncio.create_task(whole())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            is_whole = await task
        except asyncio.CancelledError:
            print(f"\nquire: stopped; the same command goes on from {output.partial}", file=sys.stderr)
            return INTERRUPTED
        finally:
            if metrics is not None:
                metrics.cancel()
                await asyncio.gather(metrics, return_exceptions=True)
            await client.shutdown()
    if not is_whole:
        print(
            f"quire: the engine ended ({client.failure}); {output.partial} holds what is done",
            file=sys.stderr,
        )
        return 1
    output.finish()
    print(f"quire: {total} results in {output.path}, {work.num_failed} failed in this run", file=sys.stderr)
    return 0
