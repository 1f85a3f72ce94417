"""Requests, configurations and an engine played from a script, for the tests of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quire.base.config import CacheConfig, EngineConfig, ModelCard, SchedulerConfig
from quire.base.errors import QuireError
from quire.base.messages import EngineRequest, PositionLogprobs, SamplingParams, TokenEvent
from quire.text.session import Session
from quire.text.tokenizer import Tokenizer


def engine_config(
    tokenizer: Tokenizer, *, max_model_len: int = 64, num_blocks: int = 64, **changes: Any
) -> EngineConfig:
    card = ModelCard(
        folder="",
        name="small",
        model_type="llama",
        architecture="LlamaForCausalLM",
        dtype="float32",
        vocab_size=tokenizer.vocab_size,
        hidden_size=8,
        max_model_len=max_model_len,
        num_layers=1,
        kv_heads=[1],
        head_dim=8,
        eos_token_ids=[tokenizer.eos_token_id or 0],
        weight_bytes=0,
        hf_config={},
    )
    return EngineConfig(
        card=card,
        dtype="float32",
        max_model_len=max_model_len,
        cache=CacheConfig(block_size=4, num_blocks=num_blocks, dtype="float32"),
        scheduler=SchedulerConfig(max_num_batched_tokens=64, max_num_seqs=8),
        **changes,
    )


def engine_request(sampling: SamplingParams, **fields: Any) -> EngineRequest:
    return EngineRequest(
        request_id="r",
        prompt_token_ids=[1, 2],
        sampling=sampling,
        seed=0,
        eos_token_ids=[],
        arrival_s=1.0,
        **fields,
    )


def tokens(*ids: int, **fields: Any) -> TokenEvent:
    return TokenEvent(request_id="r", token_ids=list(ids), **fields)


def position(*pairs: tuple[int, float], rank: int = 1) -> PositionLogprobs:
    return PositionLogprobs([i for i, _ in pairs], [logprob for _, logprob in pairs], rank)


class ScriptedClient:
    """An engine that answers every request with the same batches of events, and remembers what it was told."""

    def __init__(self, *batches: list[TokenEvent], failure: QuireError | None = None) -> None:
        self._batches = batches
        self._failure = failure
        self.submitted: list[EngineRequest] = []
        self.aborted: list[str] = []

    def submit(self, request: EngineRequest) -> AsyncIterator[list[TokenEvent]]:
        if self._failure is not None and not self._batches:
            raise self._failure
        self.submitted.append(request)
        return self._play()

    def abort(self, request_id: str, index: int | None = None) -> None:
        self.aborted.append(request_id)

    async def _play(self) -> AsyncIterator[list[TokenEvent]]:
        for batch in self._batches:
            yield batch
        if self._failure is not None:
            raise self._failure


def session(tokenizer: Tokenizer, client: ScriptedClient | None = None, **config: Any) -> Session:
    return Session(client, engine_config(tokenizer, **config), tokenizer, None)
