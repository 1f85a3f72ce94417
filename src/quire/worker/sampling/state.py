"""What the sampler remembers of one sequence: its outputs and its compiled parameters."""

from __future__ import annotations

from quire.base.messages import SequenceStart
from quire.worker.grammar import GrammarProgress, GrammarStore
from quire.worker.sampling.own_steps import Processors
from quire.worker.sampling.penalties import Penalties
from quire.worker.sampling.steps import GrammarMask, LogitBias, MinTokens, Step, compile_steps
from quire.worker.sampling.thinking import Thinking

MAX_JUMP_TOKENS = 32  # in one step


class SequenceState:
    """One sequence: compiled once at its start, then grown by each token it samples."""

    def __init__(
        self,
        start: SequenceStart,
        vocab_size: int,
        grammars: GrammarStore | None = None,
        processors: Processors | None = None,
    ) -> None:
        sampling = start.sampling
        self.seed = start.seed
        self.sample_index = start.sample_index
        self.is_greedy = sampling.is_greedy
        self.temperature = sampling.temperature
        self.min_p = sampling.min_p
        self.top_k = sampling.top_k if 0 < sampling.top_k < vocab_size else 0  # 0: off
        self.top_p = float(sampling.top_p)
        self.listed_ids = sampling.logprob_token_ids or []
        self.num_logprobs = sampling.logprobs  # None: not asked, -1: the whole vocabulary
        if self.listed_ids and self.num_logprobs is None:
            self.num_logprobs = 0
        self._output_ids = start.token_ids[start.num_prompt_tokens :]
        self._steps = compile_steps(start, vocab_size)
        if processors is not None:
            self._steps += processors.steps(start)
        self._grammar: GrammarProgress | None = None
        if start.constraint is not None and grammars is not None:
            self._grammar = grammars.progress(start.constraint, self._output_ids)
            self._steps.append(GrammarMask(self._grammar))
        self._thinking: Thinking | None = None
        if start.thinking is not None:
            self._thinking = Thinking(start.thinking, self._output_ids)
            self._steps.append(self._thinking)
        # what bans tokens, or tells of logits, needs the logits of each position
        others = (step for step in self._steps if not isinstance(step, (GrammarMask, Penalties, LogitBias)))
        self._may_jump = self._grammar is not None and self.num_logprobs is None and not any(others)
        self.is_plain = self.is_greedy and self.num_logprobs is None and not self._steps
        self._penalties = [step for step in self._steps if isinstance(step, Penalties)]

    @property
    def truncates(self) -> bool:
        """Whether min_p, top_k or top_p excludes tokens."""
        return not self.is_greedy and (self.top_k > 0 or self.top_p < 1.0 or self.min_p > 0.0)

    def due_steps(self) -> list[Step]:
        """The steps that change this sequence's logits now."""
        if self._thinking is not None and self._thinking.forces_end:
            return [self._thinking]
        if not self._steps:
            return []
        due = [step for step in self._steps if step.is_due(self._output_ids)]
        if self._grammar is None or len(due) < 2:
            return due
        if any(isinstance(step, MinTokens) for step in due) and self._grammar.must_end:
            return [step for step in due if not isinstance(step, MinTokens)]  # no reply can be both
        return due

    @property
    def output_ids(self) -> list[int]:
        return self._output_ids

    def jump(self) -> list[int]:
        """Tokens that must come next, one after another; the sequence has grown by them."""
        forced: list[int] = []
        if not self._may_jump or self._grammar is None:
            return forced
        while len(forced) < MAX_JUMP_TOKENS:
            token_id = self._grammar.only_token()
            if token_id is None:
                break
            self.append(token_id)
            forced.append(token_id)
            if self._grammar.is_end(token_id):
                break
        return forced

    def append(self, token_id: int) -> None:
        self._output_ids.append(token_id)
        for penalties in self._penalties:
            penalties.count(token_id)
        if self._thinking is not None:
            self._thinking.accept(token_id)
        if self._grammar is not None:
            self._grammar.accept(token_id)
