"""`quire bench COMMAND`: picks the measurement. Each is imported when it is asked for."""

from __future__ import annotations

import importlib

from quire.base.errors import ConfigError

USAGE = """\
usage: quire bench COMMAND [options]

  quire bench serve         load a running server (any with OpenAI's API) and time its streams
  quire bench latency       one batch after another through the engine, offline
  quire bench throughput    many requests at once through the engine, offline
  quire bench step          decode steps, and what part of them is spent outside native kernels
  quire bench grammar       what holding replies to a JSON schema adds to a decode step
  quire bench startup       time to the first line and to ready, with its split
  quire bench kernels       each kernel's share of this machine's bandwidth and arithmetic, all measured here
  quire bench compare       Quire and installed peers in turn, as ratios
  quire bench accuracy      each weight and KV format: task scores and logit error beside its speed
  quire bench shape         write a model folder of a known shape, for measuring without a download

Help on one: quire bench COMMAND --help
"""

# command → module of this room, which has a function of the command's name
COMMANDS = {
    "serve": "serve",
    "latency": "offline",
    "throughput": "offline",
    "step": "step",
    "grammar": "grammar",
    "startup": "startup",
    "kernels": "kernels",
    "compare": "compare",
    "accuracy": "accuracy",
    "shape": "shapes",
}


def bench(words: list[str]) -> int:
    """Run one measurement; returns the exit code. Raises ConfigError for an unknown one."""
    name = words[0] if words else "--help"
    if name in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if name not in COMMANDS:
        raise ConfigError(
            f"quire bench {name}: there is no such measurement; give one of {', '.join(COMMANDS)}"
        )
    module = importlib.import_module(f"quire.api.bench.{COMMANDS[name]}")
    code: int = getattr(module, name)(words[1:])
    return code
