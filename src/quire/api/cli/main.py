"""`quire`: finds the command, turns errors into one sentence and an exit code. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from quire import __version__
from quire.base.errors import QuireError

USAGE = """\
usage: quire COMMAND [options]

  quire serve [MODEL]       serve a model over HTTP with the OpenAI API
  quire run-batch           answer a file of requests, offline, to a file of results
  quire worker              serve as a serverless worker, set up by environment variables
  quire chat                talk to a running server
  quire complete            let a running server continue a text
  quire doctor              what Quire finds on this machine, and whether a model answers
  quire completion SHELL    what completes this command line in bash, zsh or fish
  quire bench COMMAND       measure servers, the engine, its kernels and its peers
  quire config show         what the settings come to on this machine, and why
  quire config explain X    one setting: its value, where it came from, what overrides it
  quire config coverage     how many of the documented settings act here
  quire --version

Help on a command: quire COMMAND --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name); returns the exit code.

    0 success, 1 the model or the server fails, 2 a wrong option or setting, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except QuireError as error:
        if _wants_stack(words):
            raise
        print(f"quire: {_sentence(error)}", file=sys.stderr)
        return int(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of our output went away (`quire … | head`): end quietly, also at interpreter exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str]) -> int:
    name = words[0] if words else "--help"
    if name in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if name in ("-v", "-V", "--version", "version"):
        print(__version__)
        return 0
    command = _commands().get(name)
    if command is None:
        from difflib import get_close_matches

        close = get_close_matches(name, _commands(), n=1, cutoff=0.0)[0]
        print(f"quire: {name!r} is not a command; did you mean {close}? See quire --help", file=sys.stderr)
        return 2
    return command(words[1:])


def _commands() -> dict[str, Callable[[list[str]], int]]:
    return {
        "serve": _serve,
        "run-batch": _run_batch,
        "worker": _worker,
        "chat": _chat,
        "complete": _complete,
        "config": _config,
        "doctor": _doctor,
        "bench": _bench,
        "completion": _completion,
    }


def _serve(words: list[str]) -> int:
    from quire.api.cli.serve import serve

    return serve(words)


def _run_batch(words: list[str]) -> int:
    from quire.api.batch import run_batch

    return run_batch(words)


def _worker(words: list[str]) -> int:
    from quire.api.serverless import worker

    return worker(words)


def _chat(words: list[str]) -> int:
    from quire.api.cli.chat import chat

    return chat(words)


def _complete(words: list[str]) -> int:
    from quire.api.cli.complete import complete

    return complete(words)


def _bench(words: list[str]) -> int:
    from quire.api.bench import bench

    return bench(words)


def _config(words: list[str]) -> int:
    from quire.api.cli.config import config

    return config(words)


def _doctor(words: list[str]) -> int:
    from quire.api.cli.doctor import doctor

    return doctor(words)


def _completion(words: list[str]) -> int:
    from quire.api.cli.completion import completion

    return completion(words, _commands())


def _wants_stack(words: list[str]) -> bool:
    """Whether --log-error-stack is on. Reading the settings may be what failed: then only its own words count."""
    from quire.base.config import Asked

    try:
        return bool(Asked.from_arguments(words[1:])["log_error_stack"])
    except QuireError:
        given = os.environ.get("QUIRE_LOG_ERROR_STACK", "").strip().lower()
        return "--log-error-stack" in words or given in ("1", "true", "yes", "on")


def _sentence(error: QuireError) -> str:
    return " ".join(str(error).split())
