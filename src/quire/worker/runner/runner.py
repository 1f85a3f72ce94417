"""ModelRunner: carries out one plan on one device: blocks copied, tokens computed, logits sampled."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from quire.base.config import EngineConfig
from quire.base.errors import QuireError
from quire.base.messages import Chunk, PositionLogprobs, SampledRow, StepPlan, StepResult
from quire.model.kernels import Unrecordable
from quire.model.layers import CausalLM, LayerKV, StepInput
from quire.model.recording import record
from quire.worker.grammar import GrammarStore
from quire.worker.runner.caches import copy_blocks
from quire.worker.runner.inputs import build_step_input
from quire.worker.sampling import Processors, Sampler, SampleRequest

PROMPT_LOGPROB_ROWS = 256  # logits of a long prompt are taken this many rows at a time, to bound memory


class ModelRunner:
    """Holds what outlives a step: the model, the caches and the sampler's sequences. `forward_explained` says how a
    step's forward pass runs, and why."""

    def __init__(
        self,
        config: EngineConfig,
        model: CausalLM,
        caches: list[LayerKV],
        grammars: GrammarStore | None = None,
        processors: Processors | None = None,
    ) -> None:
        self._model = model
        self._caches = caches
        self._forward: Callable[[StepInput], Tensor] = model
        try:
            if not config.records_forward:
                raise Unrecordable("--enforce-eager says so")
            recording = record(model, caches, config.scheduler.max_num_batched_tokens)
        except Unrecordable as reason:
            self.forward_explained = f"as written, one call per op: {reason}"
        else:
            self._forward = recording
            self.forward_explained = f"recorded, {len(recording)} native calls in one"
        self._block_size = config.cache.block_size
        self._sampler = Sampler(
            config.card.vocab_size, config.logprobs_mode, config.max_logprobs, grammars, processors
        )

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepResult:
        for sequence_id in plan.ended:
            self._sampler.forget(sequence_id)
        for start in plan.starts:
            self._sampler.start(start)
        copy_blocks(self._caches, plan.copies)
        if not plan.chunks:
            return StepResult(step_id=plan.step_id)
        step = build_step_input(plan.chunks, self._caches, self._block_size)
        started_s = time.monotonic()
        hidden_TH = self._forward(step)
        forward_s = time.monotonic() - started_s
        scored, failed = self._score_prompts(plan.chunks, hidden_TH, step.attention.query_starts)
        rows = self._sample(plan.chunks, hidden_TH, step.attention.query_starts, failed.keys())
        rows += [SampledRow(sequence_id=sequence_id, error=error) for sequence_id, error in failed.items()]
        return StepResult(step_id=plan.step_id, rows=rows, prompt_logprobs=scored, forward_s=forward_s)

    def _sample(
        self, chunks: list[Chunk], hidden_TH: Tensor, query_starts: list[int], failed: Collection[int]
    ) -> list[SampledRow]:
        """Logits only for the rows that sample: the last token of each chunk that reaches its sequence's end."""
        rows, requests = [], []
        for chunk, end in zip(chunks, query_starts[1:], strict=True):
            if chunk.num_samples and chunk.sequence_id not in failed:
                rows.append(end - 1)
                requests.append(SampleRequest(chunk.sequence_id, chunk.num_samples, position=chunk.end))
        if not rows:
            return []
        hidden_RH = hidden_TH if len(rows) == len(hidden_TH) else hidden_TH[torch.tensor(rows)]
        return self._sampler.sample(self._model.logits(hidden_RH), requests)

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
                scored[chunk.sequence_id] = self._score(chunk, hidden_TH[first:])
            except QuireError as error:
                failed[chunk.sequence_id] = str(error)
        return scored, failed

    def _score(self, chunk: Chunk, hidden_TH: Tensor) -> list[PositionLogprobs]:
        entries: list[PositionLogprobs] = []
        for begin in range(0, len(chunk.prompt_targets), PROMPT_LOGPROB_ROWS):
            targets = chunk.prompt_targets[begin : begin + PROMPT_LOGPROB_ROWS]
            logits_RV = self._model.logits(hidden_TH[begin : begin + len(targets)])
            entries += self._sampler.prompt_logprobs(logits_RV, targets, chunk.num_prompt_logprobs)
        return entries
