"""The engine as the offline measurements use it: `LLM`'s keywords, a shape where no model is given."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quire.api.bench.options import Options
from quire.api.bench.shapes import SHAPES, write_shape
from quire.api.bench.workload import LAST_TOKEN_ID, token_ids
from quire.base.commands import ResetPrefixes
from quire.base.config import EngineConfig
from quire.base.constraints import Constraint
from quire.base.errors import ConfigError
from quire.base.messages import EngineRequest, SamplingParams
from quire.engine.client import InProcessClient


def add_shape_option(options: Options) -> None:
    options.add_argument(
        "--shape",
        choices=list(SHAPES),
        help="measure a model of this shape with dummy weights, without a download",
    )
    options.epilog = (
        "All engine options of `quire serve` are understood too: --model, --dtype, --quantization …"
    )


@contextlib.contextmanager
def settings_of(asked: argparse.Namespace, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """`LLM` keywords: what was given, with `--shape`'s folder as the model. Raises ConfigError for both at once."""
    if asked.shape is None:
        yield given
        return
    if "model" in given:
        raise ConfigError("--shape stands in for a model: give one of them", setting="model")
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as temporary:
        folder = write_shape(asked.shape, Path(temporary) / asked.shape, with_weights=False)
        yield {"load_format": "dummy", **given, "model": str(folder)}


class Engine:
    """An engine core in this process, stepped by the caller."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from quire.api.startup import prepare_startup
        from quire.base.config import Asked
        from quire.base.observe import Progress

        startup = prepare_startup(Asked.from_keywords(settings))
        self.config: EngineConfig = startup.resolution.engine
        weight_bytes = self.config.card.weight_bytes  # 0 without files: dummy weights are there at once
        weights = Progress("weights", weight_bytes, quiet_s=1.5)
        report = (lambda done_bytes, _: weights.update(done_bytes)) if weight_bytes else None
        self._client = InProcessClient(self.config, report)
        if weight_bytes:
            weights.finish()
        self._num_requests = 0

    def submit(
        self,
        prompt: list[int],
        output_tokens: int,
        temperature: float = 0.0,
        constraint: Constraint | None = None,
    ) -> None:
        """A request that ends after exactly `output_tokens`. Raises ConfigError when it does not fit."""
        limit = self.config.max_model_len
        if len(prompt) + output_tokens > limit:
            raise ConfigError(
                f"{len(prompt)} + {output_tokens} tokens are more than --max-model-len {limit}",
                setting="max_model_len",
            )
        self._num_requests += 1
        sampling = SamplingParams(
            temperature=temperature, max_tokens=output_tokens, ignore_eos=True, detokenize=False
        )
        self._client.submit(
            EngineRequest(
                request_id=str(self._num_requests),
                prompt_token_ids=prompt,
                sampling=sampling,
                constraint=constraint,
                seed=self._num_requests,
                arrival_s=time.monotonic(),
            )
        )

    def step(self) -> int:
        """One step; returns how many tokens came out."""
        return sum(len(event.token_ids) for event in self._client.step())

    def run(self) -> int:
        """Steps until nothing is left; returns the tokens that came out."""
        tokens = 0
        while self._client.has_work:
            tokens += self.step()
        return tokens

    def abandon(self) -> None:
        """Ends every request, so that the next measurement begins clean."""
        for number in range(1, self._num_requests + 1):
            self._client.abort(str(number))
        self.run()

    def forget_prefixes(self) -> None:
        self._client.ask(ResetPrefixes())


def prompts(count: int, length: int, vocab_size: int, seed: int) -> list[list[int]]:
    """Random token ids. Raises ConfigError for a vocabulary too small for them."""
    if vocab_size <= LAST_TOKEN_ID:
        raise ConfigError(f"a vocabulary of {vocab_size} tokens is too small to draw random prompts from")
    chance = random.Random(seed)
    return [token_ids(length, chance) for _ in range(count)]


def say(line: str) -> None:
    """A line for whoever waits."""
    print(line, file=sys.stderr, flush=True)
