"""ModelRunner: carries out one plan on one device: blocks copied, tokens computed, logits sampled."""

from __future__ import annotations

import torch
from torch import Tensor

from quire.base.config import EngineConfig
from quire.base.messages import Chunk, PositionLogprobs, SampledRow, StepPlan, StepResult
from quire.model.layers import LayerKV
from quire.model.loading import CausalLM
from quire.worker.runner.caches import copy_blocks
from quire.worker.runner.inputs import build_step_input
from quire.worker.sampling import Sampler, SampleRequest

PROMPT_LOGPROB_ROWS = 256  # logits of a long prompt are taken this many rows at a time, to bound memory


class ModelRunner:
    """Holds what outlives a step: the model, the caches and the sampler's sequences."""

    def __init__(self, config: EngineConfig, model: CausalLM, caches: list[LayerKV]) -> None:
        self._model = model
        self._caches = caches
        self._block_size = config.cache.block_size
        self._sampler = Sampler(config.card.vocab_size, config.logprobs_mode, config.max_logprobs)

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
        hidden_TH = self._model.forward(step)
        return StepResult(
            step_id=plan.step_id,
            rows=self._sample(plan.chunks, hidden_TH, step.attention.query_starts),
            prompt_logprobs=self._prompt_logprobs(plan.chunks, hidden_TH, step.attention.query_starts),
        )

    def _sample(self, chunks: list[Chunk], hidden_TH: Tensor, query_starts: list[int]) -> list[SampledRow]:
        """Logits only for the rows that sample: the last token of each chunk that reaches its sequence's end."""
        rows, requests = [], []
        for chunk, end in zip(chunks, query_starts[1:], strict=True):
            if chunk.num_samples:
                rows.append(end - 1)
                requests.append(SampleRequest(chunk.sequence_id, chunk.num_samples, position=chunk.end))
        if not rows:
            return []
        return self._sampler.sample(self._model.logits(hidden_TH[torch.tensor(rows)]), requests)

    def _prompt_logprobs(
        self, chunks: list[Chunk], hidden_TH: Tensor, query_starts: list[int]
    ) -> dict[int, list[PositionLogprobs]]:
        found: dict[int, list[PositionLogprobs]] = {}
        for chunk, first in zip(chunks, query_starts, strict=False):
            targets = chunk.prompt_targets
            if not targets:
                continue
            entries = found.setdefault(chunk.sequence_id, [])
            for begin in range(0, len(targets), PROMPT_LOGPROB_ROWS):
                part = targets[begin : begin + PROMPT_LOGPROB_ROWS]
                logits_RV = self._model.logits(hidden_TH[first + begin : first + begin + len(part)])
                entries += self._sampler.prompt_logprobs(logits_RV, part, chunk.num_prompt_logprobs)
        return found
