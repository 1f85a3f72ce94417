"""SamplingParams: how the next token is chosen and when a stream ends. Field names and defaults are vLLM's.

Checks here need only the value itself; limits that depend on the model (vocabulary size, context length,
`--max-logprobs`) are applied once, in `text/session`, before a request reaches the engine.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import msgspec

from quire.base.constraints import StructuredOutputsParams
from quire.base.errors import InvalidValue

MAX_SEED = 2**63 - 1
MAX_LOGIT_BIAS = 100  # OpenAI's bound; far larger ones would overflow the logits
GREEDY_TEMPERATURE = 1e-5  # at or below this, sampling is arg max; dividing by less overflows float32

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


class SamplingParams(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request's sampling wishes. Raises InvalidValue naming the field when a value is out of range.

    `top_k` 0 or -1 means all tokens; `logprobs` -1 means the whole vocabulary; `max_tokens` None means
    until the context is full. `stop` strings end a stream in the text layer, `stop_token_ids` in the engine.
    `extra_args` are for logits processors of the user's own.
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
    structured_outputs: StructuredOutputsParams | None = None
    extra_args: dict[str, Any] | None = None

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

    def verify(self) -> None:
        """Check every field alone and the contradicting pairs; raise InvalidValue naming the field."""
        for name, low, high in _FLOAT_RANGES:
            _check_number(name, getattr(self, name), low, high)
        for name, low, high in _INT_RANGES:
            value = getattr(self, name)
            if value is not None:
                _check_integer(name, value, low, high)
        if self.top_p == 0.0:
            raise InvalidValue("top_p must be in (0, 1], got 0.0", field="top_p")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidValue(
                f"min_tokens must be at most max_tokens ({self.max_tokens}), got {self.min_tokens}",
                field="min_tokens",
            )
        self._verify_lists()

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
_FLOAT_RANGES: tuple[tuple[str, float | None, float | None], ...] = (
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
)


def _check_number(name: str, value: float, low: float | None, high: float | None) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidValue(f"{name} must be a finite number, got {value!r}", field=name)
    if (low is not None and value < low) or (high is not None and value > high):
        raise InvalidValue(f"{name} must be between {low} and {high}, got {value}", field=name)


def _check_integer(name: str, value: int, low: int, high: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(f"{name} must be an integer, got {value!r}", field=name)
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InvalidValue(f"{name} must be {allowed}, got {value}", field=name)
