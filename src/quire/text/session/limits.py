"""Every limit a request must keep, checked before any expensive work. Fields are named as the request names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from quire.base.config import EngineConfig
from quire.base.errors import InvalidValue
from quire.base.messages import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Bounds on what one request may ask for, whatever the model.

    `max_stop_strings` and the bad-word bounds are vLLM's; its bound on `n` (16384) is far above what one
    engine serves well, so ours is lower. Lengths of texts are in characters.
    """

    max_n: int = 1024
    max_stop_strings: int = 4
    max_stop_string_chars: int = 1024
    max_stop_token_ids: int = 128
    max_bad_words: int = 128
    max_bad_word_chars: int = 1024
    max_bad_words_tokens: int = 1024
    max_logit_bias: int = 1024
    max_listed_tokens: int = 1024  # of logprob_token_ids, for each position
    max_cache_salt_chars: int = 128
    max_request_id_chars: int = 128
    max_priority: int = 2**31

    def verify_names(self, request_id: str, priority: int, cache_salt: str) -> None:
        """Raise InvalidValue for an empty or too long `request_id`, a too long `cache_salt`, a vast `priority`."""
        if not request_id:
            raise InvalidValue("request_id must not be empty", field="request_id")
        _check_text("request_id", request_id, self.max_request_id_chars)
        _check_text("cache_salt", cache_salt, self.max_cache_salt_chars)
        if type(priority) is not int or abs(priority) > self.max_priority:
            raise InvalidValue(
                f"priority must be an integer between -{self.max_priority} and {self.max_priority}, "
                f"got {_short(priority)}",
                field="priority",
            )

    def verify_sampling(self, sampling: SamplingParams, config: EngineConfig) -> None:
        """Raise InvalidValue naming the field when `sampling` exceeds these limits or the model's."""
        sampling.verify()
        _check_count("n", sampling.n, self.max_n, "samples")
        self._verify_texts(sampling)
        self._verify_ids(sampling, config.card.vocab_size)
        for field, asked in (("logprobs", sampling.logprobs), ("prompt_logprobs", sampling.prompt_logprobs)):
            _check_logprobs(field, asked, config)

    def _verify_texts(self, sampling: SamplingParams) -> None:
        stops, bad_words = sampling.stop_strings, sampling.bad_words or []
        _check_count("stop", len(stops), self.max_stop_strings, "strings")
        for text in stops:
            _check_text("stop", text, self.max_stop_string_chars)
        _check_count("bad_words", len(bad_words), self.max_bad_words, "words")
        for text in bad_words:
            _check_text("bad_words", text, self.max_bad_word_chars)

    def _verify_ids(self, sampling: SamplingParams, vocab_size: int) -> None:
        for field, ids, max_count in (
            ("stop_token_ids", sampling.stop_token_ids, self.max_stop_token_ids),
            ("allowed_token_ids", sampling.allowed_token_ids, vocab_size),
            ("logit_bias", sampling.logit_bias, self.max_logit_bias),
            ("logprob_token_ids", sampling.logprob_token_ids, self.max_listed_tokens),
            ("prompt_logprob_token_ids", sampling.prompt_logprob_token_ids, self.max_listed_tokens),
        ):
            if ids is not None:
                _check_count(field, len(ids), max_count, "token ids")
                check_token_ids(field, ids, vocab_size)


def check_token_ids(field: str, token_ids: Iterable[int], vocab_size: int) -> None:
    """Raise InvalidValue naming `field` at the first id that is no integer in [0, vocab_size)."""
    for token_id in token_ids:
        if type(token_id) is not int or not 0 <= token_id < vocab_size:
            raise InvalidValue(
                f"{field} must hold token ids from 0 to {vocab_size - 1}, got {_short(token_id)}", field=field
            )


def check_extra_args(extra_args: dict[str, Any] | None, known: frozenset[str]) -> None:
    """Raise InvalidValue naming the first argument that no logits processor of this engine reads."""
    for name in extra_args or ():
        if name not in known:
            there = (
                f"there is {', '.join(sorted(known))}" if known else "no extension is loaded that reads any"
            )
            raise InvalidValue(
                f"extra_args: {_short(name)} is not an argument here; {there}", field="extra_args"
            )


def _check_logprobs(field: str, asked: int | None, config: EngineConfig) -> None:
    """-1 asks for the whole vocabulary; so does `--max-logprobs -1` allow it."""
    if asked is None:
        return
    vocab_size = config.card.vocab_size
    allowed = vocab_size if config.max_logprobs == -1 else config.max_logprobs
    if (vocab_size if asked == -1 else asked) > allowed:
        raise InvalidValue(
            f"{field} must be at most {allowed}, got {asked}; the server can allow more with --max-logprobs",
            field=field,
        )


def _check_count(field: str, count: int, allowed: int, things: str) -> None:
    if count > allowed:
        raise InvalidValue(f"{field} must be at most {allowed} {things}, got {_short(count)}", field=field)


def _check_text(field: str, text: str, max_chars: int) -> None:
    if not isinstance(text, str):
        raise InvalidValue(f"{field} must be text, got {_short(text)}", field=field)
    if len(text) > max_chars:
        raise InvalidValue(
            f"{field} must be at most {max_chars} characters long, got {len(text)}", field=field
        )
    try:
        text.encode()
    except UnicodeError as error:
        raise InvalidValue(f"{field} is not valid Unicode: {error}", field=field) from None


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # Python spells out no integer of more than 4300 digits
        return "a vast number"
    return shown if len(shown) <= 40 else shown[:40] + "…"
