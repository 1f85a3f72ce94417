"""The figure about memory in use: what a server of Qwen3-0.6B's shape holds beyond its weights and its KV blocks."""

from __future__ import annotations

import asyncio
import random

from tools.reliability.figure import Figure, spread
from tools.reliability.server import Server, model_of_shape, resident_bytes
from tools.reliability.streams import ask

from quire.api.bench.shapes import SHAPES, step_bytes

SHAPE = "qwen3-0.6b"
NUM_STREAMS, PROMPT_TOKENS, NUM_TOKENS = 32, 128, 64
NUM_BLOCKS, BLOCK_TOKENS = 4096, 16
BAR_BYTES = 400e6
MIB = 2**20


def resident(n: int, chooser: random.Random) -> Figure:
    """n starts, of which the first packs the weights, each under 32 streams of 128 + 64 tokens."""
    beyond_mib = []
    options = ("--dtype", "bfloat16", "--max-model-len", "4096", "--block-size", str(BLOCK_TOKENS))
    with model_of_shape(SHAPE) as (model, folder):
        for _ in range(n):
            pool = ("--num-gpu-blocks-override", str(NUM_BLOCKS))
            with Server(model, *options, *pool, VLLM_CACHE_ROOT=folder) as server:
                beyond_mib.append(asyncio.run(_beyond(server, chooser)) / MIB)
    text = f"{spread(beyond_mib, 'MiB')} beyond, first start {beyond_mib[0]:.0f}"
    met = max(beyond_mib) * MIB <= BAR_BYTES
    return Figure("memory of both processes at Qwen3-0.6B's shape", "≤ weights + KV + 381 MiB", n, text, met)


async def _beyond(server: Server, chooser: random.Random) -> float:
    """Bytes held after the last token beyond weights and written KV blocks; what a step needed is kept for
    the next one. Pages of libraries count with this server's share: other processes that map them make it smaller."""
    body = {"max_tokens": NUM_TOKENS, "ignore_eos": True, "stream": True, "return_token_ids": True}
    prompts = [[chooser.randrange(1000, 150_000) for _ in range(PROMPT_TOKENS)] for _ in range(NUM_STREAMS)]
    replies = await asyncio.gather(
        *(ask(server.port, "/v1/completions", {**body, "prompt": prompt}) for prompt in prompts)
    )
    assert all(reply.is_whole for reply in replies), [reply.error for reply in replies if not reply.is_whole]
    held = sum(resident_bytes(pid, "Pss") for pid in (server.process.pid, server.engine()))
    blocks = -(-(PROMPT_TOKENS + NUM_TOKENS - 1) // BLOCK_TOKENS) * NUM_STREAMS  # the last token is in none
    return held - step_bytes(SHAPES[SHAPE], 2, "") - blocks * BLOCK_TOKENS * _token_bytes()


def _token_bytes() -> int:
    """Of one token's keys and values, in bfloat16."""
    shape = SHAPES[SHAPE]
    return 2 * 2 * int(shape["num_hidden_layers"] * shape["num_key_value_heads"] * shape["head_dim"])
