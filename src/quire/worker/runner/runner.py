"""ModelRunner: carries out one plan on one device: blocks copied, tokens computed, logits sampled or pooled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from quire.base.config import EngineConfig
from quire.base.errors import QuireError
from quire.base.messages import (
    Chunk,
    PositionLogprobs,
    PromptEmbeddings,
    SampledRow,
    StepPlan,
    StepResult,
)
from quire.model.kernels import Unrecordable
from quire.model.layers import CausalLM, Embedding, LayerKV, Network, PooledNetwork, StepInput
from quire.model.recording import Head, record
from quire.worker.grammar import GrammarStore
from quire.worker.pooling import Pooler
from quire.worker.runner.caches import copy_blocks
from quire.worker.runner.inputs import build_step_input
from quire.worker.sampling import Processors, Sampler, SampleRequest

PROMPT_LOGPROB_ROWS = 256  # logits of a long prompt are taken this many rows at a time, to bound memory


class ModelRunner:
    """Holds what outlives a step: the `model`, the caches and the sequences of its sampler or pooler.
    `forward_explained` says how a step's forward pass runs, and why."""

    def __init__(
        self,
        config: EngineConfig,
        model: Network,
        caches: list[LayerKV],
        grammars: GrammarStore | None = None,
        processors: Processors | None = None,
    ) -> None:
        self._caches = caches
        self._pooler_config = config.pooler
        self._capacity_tokens = config.scheduler.max_num_batched_tokens
        self._capacity_rows = max(config.scheduler.max_num_seqs, PROMPT_LOGPROB_ROWS)
        self._records = config.records_forward
        self.take(model)
        self._vectors: dict[int, PromptEmbeddings] = {}  # prompts that are none of tokens, by sequence
        self._block_size = config.cache.block_size
        self._sampler = Sampler(
            config.card.vocab_size, config.logprobs_mode, config.max_logprobs, grammars, processors
        )

    def take(self, model: Network) -> None:
        """The network to run from now on."""
        self.model = model
        self._forward: Callable[[StepInput], Tensor] = model
        self._head: Head | None = None  # the model's own
        try:
            if not self._records:
                raise Unrecordable("--enforce-eager says so")
            recording = record(model, self._caches, self._capacity_tokens)
        except Unrecordable as reason:
            self.forward_explained = f"as written, one call per op: {reason}"
        else:
            self._forward = recording
            if isinstance(model, CausalLM):
                self._head = recording.head(model, self._capacity_rows)
            self.forward_explained = f"recorded, {len(recording)} native calls in one"
        self._pooler: Pooler | None = None
        if self._pooler_config is not None:
            assert isinstance(model, PooledNetwork)
            self._pooler = Pooler(model, self._pooler_config)

    def let_go(self) -> None:
        """Keep nothing of the network: until `take` nothing can run."""
        for name in ("model", "_forward", "_head", "_pooler"):
            self.__dict__.pop(name, None)

    @contextmanager
    def as_written(self) -> Iterator[None]:
        """Within the block steps run op by op, with the same results: a profiler sees each."""
        recorded = self._forward, self._head
        self._forward, self._head = self.model, None
        try:
            yield
        finally:
            self._forward, self._head = recorded

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepResult:
        outcomes = self._pooler or self._sampler
        for sequence_id in plan.ended:
            outcomes.forget(sequence_id)
            self._vectors.pop(sequence_id, None)
        for start in plan.starts:
            outcomes.start(start)
            if start.embeddings is not None:
                self._vectors[start.sequence_id] = start.embeddings
        copy_blocks(self._caches, plan.copies)
        if not plan.chunks:
            return StepResult(step_id=plan.step_id)
        segment_starts = self._pooler.segment_starts(plan.chunks) if self._pooler is not None else None
        step = build_step_input(plan.chunks, self._caches, self._block_size, segment_starts)
        rows, requests = _sampling(plan.chunks, step.attention.query_starts)
        if rows and self._head is not None and self._wants_logits_alone(plan.chunks):
            return self._generate(plan.step_id, self._head, step, rows, requests)
        started_s = time.monotonic()
        hidden_TH = self._hidden(step, plan.chunks)
        forward_s = time.monotonic() - started_s
        if self._pooler is not None:
            pooled = self._pooler.pool(plan.chunks, hidden_TH, step.attention.query_starts)
            return StepResult(step_id=plan.step_id, rows=pooled, forward_s=forward_s)
        scored, failed = self._score_prompts(plan.chunks, hidden_TH, step.attention.query_starts)
        sampled = [SampledRow(sequence_id=sequence_id, error=error) for sequence_id, error in failed.items()]
        if failed:
            sound = [pair for pair in zip(rows, requests, strict=True) if pair[1].sequence_id not in failed]
            rows, requests = [row for row, _ in sound], [request for _, request in sound]
        if rows:
            sampled = self._sampler.sample(self._logits(hidden_TH, rows), requests) + sampled
        return StepResult(step_id=plan.step_id, rows=sampled, prompt_logprobs=scored, forward_s=forward_s)

    def _generate(
        self, step_id: int, head: Head, step: StepInput, rows: list[int], requests: list[SampleRequest]
    ) -> StepResult:
        """Forward pass, head and choice."""
        started_s = time.monotonic()
        if self._sampler.are_plain(requests):
            peaks = head.peaks_after(step, rows)
            forward_s = time.monotonic() - started_s
            sampled = self._sampler.take(peaks, requests)
        else:
            logits_RV, peaks = head.after(step, rows)
            forward_s = time.monotonic() - started_s
            sampled = self._sampler.sample(logits_RV, requests, peaks)
        return StepResult(step_id=step_id, rows=sampled, forward_s=forward_s)

    def _wants_logits_alone(self, chunks: list[Chunk]) -> bool:
        """Whether the logits of rows that sample are all that is wanted of the step, and none of it is vectors."""
        wants_more = self._pooler is not None or any(chunk.prompt_targets for chunk in chunks)
        return not wants_more and not self._vectors

    def _hidden(self, step: StepInput, chunks: list[Chunk]) -> Tensor:
        """The forward pass; op by op where some of the step's tokens are vectors, which no recording knows of."""
        if not self._vectors:
            return self._forward(step)
        places: list[int] = []
        vectors: list[Tensor] = []
        for chunk, first in zip(chunks, step.attention.query_starts, strict=False):
            prompt = self._vectors.get(chunk.sequence_id)
            if prompt is not None and chunk.start < prompt.num_tokens:
                vectors.append(_rows(prompt, chunk.start, min(chunk.end, prompt.num_tokens)))
                places += range(first, first + len(vectors[-1]))
        if not places:
            return self._forward(step)
        embedding = self.model.embedding
        assert isinstance(embedding, Embedding)
        with self.as_written(), embedding.given(torch.tensor(places), torch.cat(vectors)):
            return self._forward(step)

    def _logits(self, hidden_TH: Tensor, rows: Sequence[int]) -> Tensor:
        if self._head is not None:
            return self._head(hidden_TH, rows)
        assert isinstance(self.model, CausalLM)
        return self.model.logits(hidden_TH[torch.tensor(rows)])

    def _score_prompts(
        self, chunks: list[Chunk], hidden_TH: Tensor, query_starts: list[int]
    ) -> tuple[dict[int, list[PositionLogprobs]], dict[int, str]]:
        """Prompt log-probabilities by sequence, and the sequences whose logits could not be scored, with why."""
        scored: dict[int, list[PositionLogprobs]] = {}
        failed: dict[int, str] = {}
        for chunk, first in zip(chunks, query_starts, strict=False):
            if not chunk.prompt_targets:
                continue
            try:
                scored[chunk.sequence_id] = self._score(chunk, hidden_TH, first + chunk.first_target)
            except QuireError as error:
                failed[chunk.sequence_id] = str(error)
        return scored, failed

    def _score(self, chunk: Chunk, hidden_TH: Tensor, first: int) -> list[PositionLogprobs]:
        """Those of the chunk's targets, the first of which comes after row `first`."""
        entries: list[PositionLogprobs] = []
        for begin in range(0, len(chunk.prompt_targets), PROMPT_LOGPROB_ROWS):
            targets = chunk.prompt_targets[begin : begin + PROMPT_LOGPROB_ROWS]
            logits_RV = self._logits(hidden_TH, range(first + begin, first + begin + len(targets)))
            entries += self._sampler.prompt_logprobs(
                logits_RV, targets, chunk.num_prompt_logprobs, chunk.prompt_listed
            )
        return entries


def _sampling(chunks: list[Chunk], query_starts: list[int]) -> tuple[list[int], list[SampleRequest]]:
    """The rows that sample: the last token of each chunk that reaches its sequence's end; and what each is for."""
    rows, requests = [], []
    for chunk, end in zip(chunks, query_starts[1:], strict=True):
        if chunk.num_samples:
            rows.append(end - 1)
            requests.append(SampleRequest(chunk.sequence_id, chunk.num_samples, position=chunk.end))
    return rows, requests


def _rows(embeddings: PromptEmbeddings, start: int, end: int) -> Tensor:
    """Those of places `start` … `end` - 1, in the type that they were sent in."""
    row_bytes = len(embeddings.data) // embeddings.num_tokens
    part = bytearray(memoryview(embeddings.data)[start * row_bytes : end * row_bytes])
    return torch.frombuffer(part, dtype=getattr(torch, embeddings.dtype)).view(end - start, -1)
