"""llama.cpp as a side of a comparison: its C interface through `llama_cpp`, all prompts as sequences of one batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy

MAX_SEQUENCES = 32
CONTEXT_TOKENS = 8192  # of all sequences together
BATCH_TOKENS = 2048


def llama_side(described: dict[str, Any]) -> Callable[[list[list[int]], int], tuple[float, float]]:
    """`file` is a GGUF, `num_threads` what the machine grants."""
    import llama_cpp as llama

    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(described["file"].encode(), llama.llama_model_default_params())
    if not model:
        raise RuntimeError(f"llama.cpp cannot load {described['file']}")
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max = CONTEXT_TOKENS, BATCH_TOKENS, MAX_SEQUENCES
    params.n_threads = params.n_threads_batch = described["num_threads"]
    params.kv_unified = True  # one sequence may take more than its even share
    context = llama.llama_init_from_model(model, params)
    batch = llama.llama_batch_init(BATCH_TOKENS, 0, 1)
    vocab_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))

    def decode(entries: list[tuple[int, int, int, bool]]) -> list[int]:
        """(token, position, sequence, samples) each; returns the best next token of those that sample."""
        best: list[int] = []
        for start in range(0, len(entries), BATCH_TOKENS):
            part = entries[start : start + BATCH_TOKENS]
            batch.n_tokens = len(part)
            for place, (token, position, sequence, samples) in enumerate(part):
                batch.token[place], batch.pos[place] = token, position
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
                batch.logits[place] = samples
            if llama.llama_decode(context, batch):
                raise RuntimeError("llama_decode failed")
            for place, entry in enumerate(part):
                if entry[3]:
                    row = numpy.ctypeslib.as_array(llama.llama_get_logits_ith(context, place), (vocab_size,))
                    best.append(int(row.argmax()))
        return best

    def run(prompts: list[list[int]], output_tokens: int) -> tuple[float, float]:
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        started_s = time.perf_counter()
        last = [len(prompt) - 1 for prompt in prompts]
        tokens = decode(
            [
                (token, place, sequence, place == last[sequence])
                for sequence, prompt in enumerate(prompts)
                for place, token in enumerate(prompt)
            ]
        )
        first_s = time.perf_counter() - started_s
        for step in range(1, output_tokens):
            tokens = decode(
                [(token, last[sequence] + step, sequence, True) for sequence, token in enumerate(tokens)]
            )
        return first_s, time.perf_counter() - started_s

    return run
