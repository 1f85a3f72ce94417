"""Beam search: the likeliest continuations of a prompt, found by keeping the best few at every length.

It runs above the engine. Each step asks the engine for one token of every beam, with the log-probabilities of the
likeliest `2 * beam_width`; prompt and beams share their keys and values through the prefix cache. Rules as in vLLM:
a score is the sum of log-probabilities / length ** length_penalty, where the length counts prompt and output without
the token that ends it; an ended candidate leaves the search, the best `beam_width` of the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import EngineRequest, FinishReason, PositionLogprobs, SamplingParams, TokenEvent
from quire.text.session.outputs import CompletionOutput
from quire.text.session.sample import SampleText
from quire.text.tokenizer import Tokenizer

MAX_ALLOWED_TOKENS = 1024  # of allowed_token_ids: each step tells the log-probability of every one


class BeamSearchParams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to search for; names and defaults are vLLM's. Raises InvalidValue or Unsupported naming the field.

    `temperature` changes scores only where the server reports processed log-probabilities (--logprobs-mode).
    """

    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    temperature: float = 0.0
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False
    structured_outputs: object = None
    skip_special_tokens: bool = True
    allowed_token_ids: list[int] | None = None

    def __post_init__(self) -> None:
        for name in ("beam_width", "max_tokens"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be at least 1, got {getattr(self, name)}", field=name)
        if not -100.0 <= self.length_penalty <= 100.0:  # NaN fails this, too
            raise InvalidValue(
                f"length_penalty must be between -100 and 100, got {self.length_penalty}",
                field="length_penalty",
            )
        if self.structured_outputs is not None:
            raise Unsupported(
                "structured_outputs is not supported with beam search: grammars change what is likely; draw samples",
                field="structured_outputs",
            )
        if self.allowed_token_ids is not None and len(self.allowed_token_ids) > MAX_ALLOWED_TOKENS:
            raise InvalidValue(
                f"allowed_token_ids must be at most {MAX_ALLOWED_TOKENS} with beam search, "
                f"got {len(self.allowed_token_ids)}",
                field="allowed_token_ids",
            )
        if self.allowed_token_ids is not None and len(set(self.allowed_token_ids)) < self.beam_width:
            raise InvalidValue(
                f"allowed_token_ids must be at least as many as there are beams, {self.beam_width}",
                field="allowed_token_ids",
            )

    @property
    def num_candidates(self) -> int:
        """Continuations of each beam that are looked at: enough if one of every two should end it."""
        return 2 * self.beam_width

    def step_sampling(self, num_logprobs: int, max_logprobs: int) -> SamplingParams:
        """How a step asks for one token of a beam. Raises InvalidValue when the beam is too wide for this server."""
        wanted = max(self.num_candidates, num_logprobs)
        if max_logprobs != -1 and wanted > max_logprobs:
            raise InvalidValue(
                f"beam search needs twice its width in log-probabilities, and {max_logprobs} are allowed: at most "
                f"{max_logprobs // 2} beams, got {self.beam_width}; the server can allow more with --max-logprobs",
                field="n",
            )
        return SamplingParams(
            max_tokens=1,
            temperature=self.temperature,
            logprobs=wanted,
            logprob_token_ids=self.allowed_token_ids,
            detokenize=False,
            seed=0,
        )


@dataclass(slots=True)
class Beam:
    """One continuation: its tokens so far, and of each position what else was likely, its own token first."""

    token_ids: list[int] = field(default_factory=list)
    cumulative_logprob: float = 0.0
    logprobs: list[PositionLogprobs] = field(default_factory=list)
    finish_reason: FinishReason = "length"

    def grown(self, token_id: int, logprob: float, entry: PositionLogprobs) -> Beam:
        own = PositionLogprobs(
            [token_id, *entry.token_ids[1:]],
            [logprob, *entry.logprobs[1:]],
            _rank(entry, token_id),
            entry.num_listed,
        )
        return Beam([*self.token_ids, token_id], self.cumulative_logprob + logprob, [*self.logprobs, own])


class BeamSearch:
    """The search over one prompt, free of any engine: `live` beams are asked about, `advance` takes the answers."""

    def __init__(self, num_prompt_tokens: int, params: BeamSearchParams, eos_token_ids: list[int]) -> None:
        self._num_prompt_tokens = num_prompt_tokens
        self._params = params
        self._ends = frozenset() if params.ignore_eos else frozenset(eos_token_ids)
        self._allowed = None if params.allowed_token_ids is None else frozenset(params.allowed_token_ids)
        self._ended: list[tuple[float, Beam]] = []
        self.live = [Beam()]
        self._num_steps = 0

    @property
    def is_done(self) -> bool:
        """Every beam is as long as it may be, or none that goes on can reach the best that have ended."""
        if not self.live or self._num_steps >= self._params.max_tokens:
            return True
        width = self._params.beam_width
        if len(self._ended) < width:
            return False
        worst = sorted((score for score, _ in self._ended), reverse=True)[width - 1]
        return all(self._most(beam) <= worst for beam in self.live)

    def advance(self, answers: Iterable[PositionLogprobs]) -> None:
        """`answers` hold, for each live beam in order, the log-probabilities of its next position."""
        self._num_steps += 1
        ways: list[tuple[float, Beam, int, float, PositionLogprobs]] = []
        for beam, entry in zip(self.live, answers, strict=True):
            for token_id, logprob in self._candidates(entry):
                if token_id in self._ends:
                    ended = beam.grown(token_id, logprob, entry)
                    ended.finish_reason = "stop"
                    self._ended.append((self._score(ended), ended))
                else:
                    ways.append((beam.cumulative_logprob + logprob, beam, token_id, logprob, entry))
        ways.sort(key=lambda way: way[0], reverse=True)  # all of one length
        self.live = [
            beam.grown(token_id, logprob, entry)
            for _, beam, token_id, logprob, entry in ways[: self._params.beam_width]
        ]

    def best(self) -> list[Beam]:
        """The best `beam_width` of all, best first; fewer only where the vocabulary allows no more."""
        found = [*self._ended, *((self._score(beam), beam) for beam in self.live)]
        found.sort(key=lambda pair: pair[0], reverse=True)
        return [beam for _, beam in found[: self._params.beam_width]]

    def _candidates(self, entry: PositionLogprobs) -> list[tuple[int, float]]:
        most = self._params.num_candidates
        pairs = list(zip(entry.token_ids, entry.logprobs, strict=True))
        if self._allowed is None:
            return pairs[1 : 1 + most]  # entry 0 is the token that was drawn
        listed = pairs[len(pairs) - entry.num_listed :]
        return sorted(listed, key=lambda pair: pair[1], reverse=True)[:most]

    def _score(self, beam: Beam) -> float:
        num_outputs = len(beam.token_ids) - (beam.finish_reason == "stop")
        return self._over_length(beam.cumulative_logprob, num_outputs)

    def _most(self, beam: Beam) -> float:
        """What a live beam's score cannot exceed: nothing more is lost, and the length that favours it most."""
        num_outputs = self._params.max_tokens if self._params.length_penalty > 0 else len(beam.token_ids)
        return self._over_length(beam.cumulative_logprob, num_outputs)

    def _over_length(self, cumulative_logprob: float, num_outputs: int) -> float:
        return cumulative_logprob / float(
            (self._num_prompt_tokens + num_outputs) ** self._params.length_penalty
        )


def _rank(entry: PositionLogprobs, token_id: int) -> int:
    """The token's place among the leading ones; of a listed token that does not lead, one after them."""
    leading = entry.token_ids[1 : len(entry.token_ids) - entry.num_listed]
    return 1 + leading.index(token_id) if token_id in leading else 1 + len(leading)


def step_request(request: EngineRequest, beam: Beam, sampling: SamplingParams, name: str) -> EngineRequest:
    """The engine request for a beam's next token. `request` is the whole search's."""
    return msgspec.structs.replace(
        request,
        request_id=f"{request.request_id}-{name}",
        prompt_token_ids=[*request.prompt_token_ids, *beam.token_ids],
        sampling=sampling,
        seed=0,
    )


def beam_output(
    request: EngineRequest, index: int, beam: Beam, tokenizer: Tokenizer, shown_ids: frozenset[int]
) -> CompletionOutput:
    """A found continuation as one finished sample of the search's request."""
    sample = SampleText(request, index, tokenizer, shown_ids)
    wants_logprobs = request.sampling.logprobs is not None
    sample.apply(
        TokenEvent(
            request_id=request.request_id,
            index=index,
            token_ids=beam.token_ids,
            logprobs=beam.logprobs if wants_logprobs else None,
            finish_reason=beam.finish_reason,
        )
    )
    output = sample.so_far()
    output.cumulative_logprob = beam.cumulative_logprob
    return output
