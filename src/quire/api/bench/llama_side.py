"""llama.cpp as a side of a comparison: its C interface through `llama_cpp`, all prompts as sequences of one batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy

MAX_SEQUENCES = 32
SEQUENCE_TOKENS = 768  # room of each, a multiple of 256
BATCH_TOKENS = 2048
Entry = tuple[int, int, int, bool]  # token, position, sequence, whether its logits are wanted


class Llama:
    """A loaded model with its cache. Raises RuntimeError when llama.cpp cannot load the file."""

    def __init__(self, file: str, num_threads: int) -> None:
        import llama_cpp

        logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)  # else it tells of every graph
        self._llama: Any = llama_cpp
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_load_from_file(file.encode(), llama_cpp.llama_model_default_params())
        if not model:
            raise RuntimeError(f"llama.cpp cannot load {file}")
        params = llama_cpp.llama_context_default_params()
        params.n_seq_max, params.n_batch = MAX_SEQUENCES, BATCH_TOKENS
        params.n_ctx = MAX_SEQUENCES * SEQUENCE_TOKENS
        params.kv_unified = False  # else every sequence's attention goes through all sequences' cache
        params.n_threads = params.n_threads_batch = num_threads
        self._context = llama_cpp.llama_init_from_model(model, params)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

    def forget(self) -> None:
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)

    def logits(self, entries: list[Entry]) -> Iterator[Any]:
        """The logits wanted, in order; a row is valid until the next one is asked for. Raises RuntimeError."""
        for start in range(0, len(entries), BATCH_TOKENS):
            part = entries[start : start + BATCH_TOKENS]
            self._run(part)
            for place, entry in enumerate(part):
                if entry[3]:
                    row = self._llama.llama_get_logits_ith(self._context, place)
                    yield numpy.ctypeslib.as_array(row, (self._vocab_size,))

    def _run(self, part: list[Entry]) -> None:
        batch = self._batch
        batch.n_tokens = len(part)
        for place, (token, position, sequence, is_wanted) in enumerate(part):
            batch.token[place], batch.pos[place] = token, position
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
            batch.logits[place] = is_wanted
        if self._llama.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")


def llama_side(described: dict[str, Any]) -> Callable[[list[list[int]], int], float]:
    """`file` is a GGUF, `num_threads` what the machine grants."""
    llama = Llama(described["file"], described["num_threads"])

    def best(entries: list[Entry]) -> list[int]:
        return [int(row.argmax()) for row in llama.logits(entries)]

    def run(prompts: list[list[int]], output_tokens: int) -> float:
        llama.forget()
        started_s = time.perf_counter()
        last = [len(prompt) - 1 for prompt in prompts]
        tokens = best(
            [
                (token, place, sequence, place == last[sequence])
                for sequence, prompt in enumerate(prompts)
                for place, token in enumerate(prompt)
            ]
        )
        for step in range(1, output_tokens):
            tokens = best(
                [(token, last[sequence] + step, sequence, True) for sequence, token in enumerate(tokens)]
            )
        return time.perf_counter() - started_s

    return run
