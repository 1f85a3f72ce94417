"""One side of a comparison, in a process of its own: `python -m quire.api.bench.contender` with a JSON description.

It says {"version": "1.2"} when it is ready, then answers each line {"prompts": [[ids]], "output_tokens": n} with
{"seconds": s}, from the asking to the last token. Prompts of one line run together where the side can; every reply
has its full length.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from quire.api.bench.llama_side import llama_side
from quire.api.bench.server_side import server_side, server_version, url_side

Run = Callable[[list[list[int]], int], float]


def quire_side(described: dict[str, Any]) -> Run:
    """The engine in this process. `settings` are `LLM` keywords."""
    from quire.api.bench.engine import Engine

    engine = Engine(described["settings"])

    def run(prompts: list[list[int]], output_tokens: int) -> float:
        engine.forget_prefixes()
        started_s = time.perf_counter()
        for prompt in prompts:
            engine.submit(prompt, output_tokens)
        engine.run()
        return time.perf_counter() - started_s

    return run


def transformers_side(described: dict[str, Any]) -> Run:
    """A plain eager loop with a cache, all prompts as one batch (they are of one length)."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(described["folder"], dtype=torch.bfloat16)

    @torch.inference_mode()
    def run(prompts: list[list[int]], output_tokens: int) -> float:
        started_s = time.perf_counter()
        ids = torch.tensor(prompts)
        output = model(ids, use_cache=True, logits_to_keep=1)
        next_ids = output.logits[:, -1].argmax(-1, keepdim=True)
        for _ in range(output_tokens - 1):
            output = model(next_ids, past_key_values=output.past_key_values, use_cache=True)
            next_ids = output.logits[:, -1].argmax(-1, keepdim=True)
        return time.perf_counter() - started_s

    return run


MODULES = {"quire": "quire", "transformers": "transformers", "llama.cpp": "llama_cpp"}
SIDES: dict[str, Callable[[dict[str, Any]], Run]] = {
    "quire": quire_side,
    "transformers": transformers_side,
    "llama.cpp": llama_side,
    "server": server_side,
    "url": url_side,
}


def version_of(described: dict[str, Any]) -> str:
    """Of the engine behind a side; empty where it does not tell."""
    if "base_url" in described:
        return server_version(described["base_url"])
    return str(importlib.import_module(MODULES[described["side"]]).__version__)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # with what it started
    # libraries may print: only our lines go to the asker
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    described = json.loads(sys.argv[1])
    try:
        run = SIDES[described["side"]](described)
        print(json.dumps({"version": version_of(described)}), file=answers)
        for line in sys.stdin:
            asked = json.loads(line)
            seconds = run(asked["prompts"], asked["output_tokens"])
            print(json.dumps({"seconds": seconds}), file=answers)
    except RuntimeError as problem:  # the side's own; what it said before is worth more than our stack
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
