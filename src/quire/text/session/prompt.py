"""The prompt's part of validation: text to token ids, truncation, and whether it fits the model and the KV pool."""

from __future__ import annotations

import hashlib

from quire.base.config import EngineConfig
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import PromptEmbeddings, SamplingParams
from quire.text.session.limits import check_token_ids
from quire.text.tokenizer import Tokenizer

# Below this many characters per token of context the longest token of the vocabulary need not be known.
_CHARS_PER_TOKEN = 16


def truncated_length(sampling: SamplingParams, config: EngineConfig) -> int | None:
    """How many prompt tokens `truncate_prompt_tokens` keeps; None when it is unset.

    -1 keeps what fits beside the tokens to be generated (at least one).
    """
    asked = sampling.truncate_prompt_tokens
    if asked is None:
        return None
    if asked == 0 or asked > config.max_model_len:
        raise InvalidValue(
            f"truncate_prompt_tokens must be -1 or between 1 and {config.max_model_len}, the context length; "
            f"got {asked}",
            field="truncate_prompt_tokens",
        )
    return asked if asked > 0 else max(1, context_tokens(config) - (sampling.max_tokens or 1))


def context_tokens(config: EngineConfig) -> int:
    """The longest sequence, prompt and output, that the model and the KV pool can hold."""
    return min(config.max_model_len, config.cache.num_blocks * config.cache.block_size)


def check_goes_with_vectors(sampling: SamplingParams) -> None:
    """Raises Unsupported naming a field that speaks of the prompt's tokens."""
    for field, is_asked in (
        ("prompt_logprobs", sampling.prompt_logprobs is not None),
        ("truncate_prompt_tokens", sampling.truncate_prompt_tokens is not None),
    ):
        if is_asked:
            raise Unsupported(
                f"{field} is not supported with prompt_embeds: vectors are no tokens", field=field
            )


def vectors_key(vectors: PromptEmbeddings) -> str:
    """What sets these vectors apart from all others where prefixes are looked up."""
    return hashlib.sha256(vectors.dtype.encode() + vectors.data).hexdigest()


def check_prompt(prompt: str | list[int], config: EngineConfig) -> None:
    """The checks that come before tokenising: emptiness, and the range of given ids."""
    if not isinstance(prompt, (str, list)):
        raise InvalidValue("prompt must be text or a list of token ids", field="prompt")
    if not prompt:
        raise InvalidValue("prompt must not be empty", field="prompt")
    if isinstance(prompt, list):
        check_token_ids("prompt", prompt, config.card.vocab_size)


def encode_prompt(
    text: str,
    tokenizer: Tokenizer,
    config: EngineConfig,
    *,
    keep_tokens: int | None,
    keeps_start: bool,
    add_special_tokens: bool,
) -> list[int]:
    """Token ids of `text`, at most the last (or first) `keep_tokens` of them. The expensive part of validation.

    Text that cannot fit, because even the longest token of the vocabulary would be needed too often, is
    refused (or cut, when truncation is asked for) before it is tokenised.
    """
    if len(text) > config.max_model_len * _CHARS_PER_TOKEN:
        max_chars = config.max_model_len * max(_CHARS_PER_TOKEN, tokenizer.longest_token_chars)
        if len(text) > max_chars:
            if keep_tokens is None:
                raise InvalidValue(
                    f"prompt has {len(text)} characters, more than {config.max_model_len} tokens can hold; "
                    "shorten it or set truncate_prompt_tokens",
                    field="prompt",
                )
            text = text[:max_chars] if keeps_start else text[-max_chars:]
    try:
        if keeps_start and keep_tokens is not None:
            return tokenizer.encode(text, add_special_tokens=add_special_tokens)[:keep_tokens]
        return tokenizer.encode(text, add_special_tokens=add_special_tokens, keep_last_tokens=keep_tokens)
    except UnicodeError as error:
        raise InvalidValue(f"prompt is not valid Unicode: {error}", field="prompt") from None


def check_known_ids(token_ids: list[int], config: EngineConfig) -> None:
    """Raise InvalidValue when there are no ids, or ones foreign to the model."""
    if not token_ids:
        raise InvalidValue("prompt must not be empty: its text makes no tokens", field="prompt")
    if max(token_ids) >= config.card.vocab_size:
        raise InvalidValue(
            f"prompt holds token id {max(token_ids)}, but the model knows only {config.card.vocab_size} tokens",
            field="prompt",
        )


def check_length(token_ids: list[int], sampling: SamplingParams, config: EngineConfig) -> None:
    """Raise InvalidValue when the ids are empty, foreign to the model, or too many for context and KV pool."""
    num_tokens, max_model_len = len(token_ids), config.max_model_len
    check_known_ids(token_ids, config)
    if num_tokens >= max_model_len:
        raise InvalidValue(
            f"prompt has {num_tokens} tokens, but this model's maximum context length is {max_model_len} tokens, "
            "which must hold it and at least one token of output; shorten it or set truncate_prompt_tokens",
            field="prompt",
        )
    room = context_tokens(config) - num_tokens
    if room <= 0:
        raise InvalidValue(
            f"prompt has {num_tokens} tokens, but the KV cache holds only {context_tokens(config)}; shorten it, or "
            "start the server with more KV memory (--kv-cache-memory-bytes)",
            field="prompt",
        )
    if sampling.max_tokens is not None and sampling.max_tokens > room:
        limit = "maximum context length" if context_tokens(config) == max_model_len else "KV cache"
        raise InvalidValue(
            f"max_tokens must be at most {room} here: the prompt has {num_tokens} tokens of this model's {limit} of "
            f"{context_tokens(config)} tokens; got {sampling.max_tokens}",
            field="max_tokens",
        )
