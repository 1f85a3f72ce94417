"""One side of a comparison, in a process of its own: `python -m quire.api.bench.contender` with a JSON description.

It says {"ready": true}, then answers each line {"prompts": [[ids]], "output_tokens": n} with the seconds to the first
token and to the last. Prompts of one line run together where the side can; every reply has its full length.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from quire.api.bench.llama_side import llama_side

Run = Callable[[list[list[int]], int], tuple[float, float]]


def quire_side(described: dict[str, Any]) -> Run:
    """The engine in this process. `settings` are `LLM` keywords."""
    from quire.api.bench.engine import Engine

    engine = Engine(described["settings"])

    def run(prompts: list[list[int]], output_tokens: int) -> tuple[float, float]:
        engine.forget_prefixes()
        started_s = time.perf_counter()
        for prompt in prompts:
            engine.submit(prompt, output_tokens)
        while not engine.step():
            pass
        first_s = time.perf_counter() - started_s
        engine.run()
        return first_s, time.perf_counter() - started_s

    return run


def transformers_side(described: dict[str, Any]) -> Run:
    """A plain eager loop with a cache, all prompts as one batch (they are of one length)."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(described["folder"], dtype=torch.bfloat16)

    @torch.inference_mode()
    def run(prompts: list[list[int]], output_tokens: int) -> tuple[float, float]:
        started_s = time.perf_counter()
        ids = torch.tensor(prompts)
        output = model(ids, use_cache=True, logits_to_keep=1)
        next_ids = output.logits[:, -1].argmax(-1, keepdim=True)
        first_s = time.perf_counter() - started_s
        for _ in range(output_tokens - 1):
            output = model(next_ids, past_key_values=output.past_key_values, use_cache=True)
            next_ids = output.logits[:, -1].argmax(-1, keepdim=True)
        return first_s, time.perf_counter() - started_s

    return run


def url_side(described: dict[str, Any]) -> Run:
    """A running server, streamed. `fields` go into every request."""
    from quire.api.bench.client import Client, Reply

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

    def run(prompts: list[list[int]], output_tokens: int) -> tuple[float, float]:
        started_s = time.perf_counter()
        replies = asyncio.run(ask_all(prompts, output_tokens))
        for reply in replies:
            if reply.error:
                raise RuntimeError(reply.error)
            if reply.completion_tokens not in (None, output_tokens):
                raise RuntimeError(f"asked for {output_tokens} tokens, got {reply.completion_tokens}")
        firsts = [reply.event_times_s[0] if reply.event_times_s else reply.ended_s for reply in replies]
        return min(firsts) - started_s, max(reply.ended_s for reply in replies) - started_s

    return run


SIDES: dict[str, Callable[[dict[str, Any]], Run]] = {
    "quire": quire_side,
    "transformers": transformers_side,
    "llama.cpp": llama_side,
    "url": url_side,
}


def main() -> None:
    # libraries may print: only our lines go to the asker
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    described = json.loads(sys.argv[1])
    run = SIDES[described["side"]](described)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        first_s, total_s = run(asked["prompts"], asked["output_tokens"])
        print(json.dumps({"first_s": first_s, "total_s": total_s}), file=answers)


if __name__ == "__main__":
    main()
