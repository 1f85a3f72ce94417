"""What a valid request left open, decided: how many tokens, which seed, how bad words are spelled in tokens."""

from __future__ import annotations

import secrets

import msgspec

from quire.base.config import EngineConfig
from quire.base.errors import InvalidValue
from quire.base.messages import SamplingParams
from quire.text.session.limits import RequestLimits
from quire.text.session.prompt import context_tokens
from quire.text.tokenizer import Tokenizer


def resolve_sampling(
    sampling: SamplingParams,
    config: EngineConfig,
    *,
    num_prompt_tokens: int,
    default_max_tokens: int | None,
) -> SamplingParams:
    """A copy with nothing left open: max_tokens, seed, and counts that the vocabulary can meet.

    `max_tokens` None means the rest of the context, or `default_max_tokens` where that is less.
    """
    max_tokens = sampling.max_tokens
    if max_tokens is None:
        room = context_tokens(config) - num_prompt_tokens
        max_tokens = min(room, default_max_tokens or room)
        if sampling.min_tokens > max_tokens:
            raise InvalidValue(
                f"min_tokens must be at most {max_tokens}, all that may be generated after this prompt; "
                f"got {sampling.min_tokens}",
                field="min_tokens",
            )
    return msgspec.structs.replace(
        sampling,
        max_tokens=max_tokens,
        top_k=min(sampling.top_k, config.card.vocab_size),
        seed=secrets.randbits(63) if sampling.seed is None else sampling.seed,
        logprobs=_bounded(sampling.logprobs, config.card.vocab_size),
        prompt_logprobs=_bounded(sampling.prompt_logprobs, config.card.vocab_size),
    )


def spell_bad_words(words: list[str], tokenizer: Tokenizer, limits: RequestLimits) -> list[list[int]]:
    """Each word as tokens, both as the start of a text and after a space: they are different tokens.

    Raises InvalidValue when they make more tokens than `limits` allow.
    """
    spellings: list[list[int]] = []
    for word in words:
        bare = word.lstrip()
        for text in (bare, " " + bare) if bare else (word,):
            token_ids = tokenizer.encode(text, add_special_tokens=False)
            if token_ids and token_ids not in spellings:
                spellings.append(token_ids)
    num_tokens = sum(map(len, spellings))
    if num_tokens > limits.max_bad_words_tokens:
        raise InvalidValue(
            f"bad_words must make at most {limits.max_bad_words_tokens} tokens, got {num_tokens}",
            field="bad_words",
        )
    return spellings


def _bounded(num_logprobs: int | None, vocab_size: int) -> int | None:
    if num_logprobs is None:
        return None
    return vocab_size if num_logprobs == -1 else min(num_logprobs, vocab_size)
