"""SamplingParams: how the next token is chosen and when a stream ends. Field names and defaults are vLLM's.

Checks here need only the value itself; limits that depend on the model (vocabulary size, context length,
`--max-logprobs`) are applied once, in `text/session`, before a request reaches the engine.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, Literal

import msgspec

from quire.base.constraints import StructuredOutputsParams
from quire.base.errors import InvalidValue, Unsupported

MAX_SEED = 2**63 - 1
MAX_LOGIT_BIAS = 100  # OpenAI's bound; far larger ones would overflow the logits
MAX_PATTERN_TOKENS = 1024  # of repetition_detection: each token is compared with as many earlier ones
GREEDY_TEMPERATURE = 1e-5  # at or below this, sampling is arg max; dividing by less overflows float32

NOTHING_TO_CHOOSE = (
    "after the request's own sampling parameters the logits"  # so begins the error of such a sequence
)
REFUSED_ARGUMENTS = "extra_args is refused: "  # how the error of a sequence begins whose processors refuse it

# what generation_config.json may set: its names → SamplingParams' fields
GENERATION_CONFIG_FIELDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "max_new_tokens": "max_tokens",
}


class OutputKind(Enum):
    """What each output of a stream carries: everything so far, only what is new, or only the end."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


class RepetitionDetection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ends a reply whose last tokens are one pattern, of `min_pattern_size` to `max_pattern_size` tokens, `min_count`
    times over. `max_pattern_size` 0 looks for none; `min_pattern_size` 0 means 1. Raises InvalidValue."""

    max_pattern_size: int = 0
    min_pattern_size: int = 0
    min_count: int = 0

    def __post_init__(self) -> None:
        low, high = max(self.min_pattern_size, 1), self.max_pattern_size
        if self.min_pattern_size < 0 or not 0 <= high <= MAX_PATTERN_TOKENS or (high and low > high):
            raise InvalidValue(
                "repetition_detection must have 0 <= min_pattern_size <= max_pattern_size <= "
                f"{MAX_PATTERN_TOKENS}, got {self.min_pattern_size} and {high}",
                field="repetition_detection",
            )
        if high and self.min_count < 2:
            raise InvalidValue(
                f"repetition_detection.min_count must be at least 2, got {self.min_count}",
                field="repetition_detection",
            )

    def ends(self, token_ids: list[int], first: int) -> bool:
        """Whether the tokens from place `first` on end in such a repetition."""
        num_tokens = len(token_ids) - first
        for size in range(max(self.min_pattern_size, 1), self.max_pattern_size + 1):
            span = size * self.min_count
            if span > num_tokens:
                return False
            # equal to itself moved by one pattern: the same pattern throughout
            if token_ids[-1] == token_ids[-1 - size] and token_ids[-span:-size] == token_ids[size - span :]:
                return True
        return False


class SamplingParams(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request's sampling wishes. Raises InvalidValue naming the field when a value is out of range.

    `top_k` 0 or -1 means all tokens; `logprobs` -1 means the whole vocabulary; `max_tokens` None means
    until the context is full. `stop` strings end a stream in the text layer, `stop_token_ids` in the engine.
    `extra_args` are for logits processors of the user's own.
    The last fields are vLLM's as well; they are taken with values that ask for what happens anyway.
    """

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: list[str] | str | None = None
    stop_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    output_kind: OutputKind = OutputKind.CUMULATIVE
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    truncate_prompt_tokens: int | None = None
    truncation_side: Literal["left", "right"] | None = None  # which end truncate_prompt_tokens cuts off
    structured_outputs: StructuredOutputsParams | None = None
    logprob_token_ids: list[int] | None = None
    prompt_logprob_token_ids: list[int] | None = None
    prompt_logprob_start: int | None = None
    flat_logprobs: bool = False
    stream_interval: int | None = None
    skip_reading_prefix_cache: bool | None = None
    thinking_token_budget: int | None = None
    repetition_detection: RepetitionDetection | None = None
    extra_args: dict[str, Any] | None = None
    watermarking: Any = None
    routed_experts_prompt_start: int = 0
    trace_decode_token_ids: list[int] | None = None
    skip_clone: bool = False  # nothing here changes the caller's object, cloned or not

    def __post_init__(self) -> None:
        self.verify()

    @property
    def is_greedy(self) -> bool:
        return self.temperature <= GREEDY_TEMPERATURE

    @property
    def stop_strings(self) -> list[str]:
        """`stop` as a list, empty when unset."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @staticmethod
    def ranges() -> dict[str, dict[str, float]]:
        """The ends of each number's range by field, as JSON Schema has them."""
        found: dict[str, dict[str, float]] = {}
        for name, lowest, highest in (*_FLOAT_RANGES, *_INT_RANGES):
            least = "exclusiveMinimum" if name == "top_p" else "minimum"
            found[name] = {least: lowest} if highest is None else {least: lowest, "maximum": highest}
        return found

    def verify(self) -> None:
        """Check every field alone and the contradicting pairs; raise InvalidValue naming the field."""
        for name, low, high in _FLOAT_RANGES:
            _check_number(name, getattr(self, name), low, high)
        for name, least, most in _INT_RANGES:
            value = getattr(self, name)
            if value is not None:
                _check_integer(name, value, least, most)
        if self.top_p == 0.0:
            raise InvalidValue("top_p must be in (0, 1], got 0.0", field="top_p")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidValue(
                f"min_tokens must be at most max_tokens ({self.max_tokens}), got {self.min_tokens}",
                field="min_tokens",
            )
        if self.truncation_side is not None and self.truncate_prompt_tokens is None:
            raise InvalidValue("truncation_side needs truncate_prompt_tokens", field="truncation_side")
        for name in ("prompt_logprob_token_ids", "prompt_logprob_start"):
            if getattr(self, name) is not None and self.prompt_logprobs is None:
                raise InvalidValue(f"{name} needs prompt_logprobs", field=name)
        self._verify_lists()
        for name, (default, reason) in _REFUSED.items():
            if getattr(self, name) not in (None, default):
                raise Unsupported(f"{name} is not supported: {reason}", field=name)

    def _verify_lists(self) -> None:
        if any(not text for text in self.stop_strings):
            raise InvalidValue("stop must not contain an empty string", field="stop")
        if self.stop_strings and not self.detokenize:
            raise InvalidValue("stop strings need detokenize=true; use stop_token_ids instead", field="stop")
        if any(not word for word in self.bad_words or []):
            raise InvalidValue("bad_words must not contain an empty string", field="bad_words")
        if self.allowed_token_ids is not None and not self.allowed_token_ids:
            raise InvalidValue(
                "allowed_token_ids must not be empty; omit it to allow all", field="allowed_token_ids"
            )
        for token_id, bias in (self.logit_bias or {}).items():
            if not -MAX_LOGIT_BIAS <= bias <= MAX_LOGIT_BIAS:  # NaN fails this, too
                raise InvalidValue(
                    f"logit_bias of token {token_id} must be between -{MAX_LOGIT_BIAS} and {MAX_LOGIT_BIAS}, "
                    f"got {bias}",
                    field="logit_bias",
                )


# name, lowest, highest allowed value (None: unbounded, yet always finite)
_FLOAT_RANGES: tuple[tuple[str, float, float], ...] = (
    ("presence_penalty", -2.0, 2.0),
    ("frequency_penalty", -2.0, 2.0),
    ("repetition_penalty", 0.001, 1000.0),
    ("temperature", 0.0, 1000.0),
    ("top_p", 0.0, 1.0),
    ("min_p", 0.0, 1.0),
)
_INT_RANGES: tuple[tuple[str, int, int | None], ...] = (
    ("n", 1, None),
    ("top_k", -1, None),
    ("seed", -MAX_SEED, MAX_SEED),
    ("max_tokens", 1, None),
    ("min_tokens", 0, None),
    ("logprobs", -1, None),
    ("prompt_logprobs", -1, None),
    ("truncate_prompt_tokens", -1, None),
    ("prompt_logprob_start", 0, None),
    ("stream_interval", 1, None),
    ("thinking_token_budget", 0, None),
)
# name → the value that asks for nothing, and why no other is taken
_REFUSED: dict[str, tuple[Any, str]] = {
    "watermarking": (None, "outputs carry no watermark"),
    "routed_experts_prompt_start": (0, "expert routing is not reported"),
    "trace_decode_token_ids": (None, "tokens are the model's own; nothing is replayed from a trace"),
}


def _check_number(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidValue(f"{name} must be a finite number, got {value!r}", field=name)
    if not low <= value <= high:
        raise InvalidValue(f"{name} must be between {low} and {high}, got {value}", field=name)


def _check_integer(name: str, value: int, low: int, high: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"{name} must be an integer, got {value!r}", field=name)
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InvalidValue(f"{name} must be {allowed}, got {value}", field=name)
