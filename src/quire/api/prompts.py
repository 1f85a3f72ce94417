"""What callers of `LLM` and `AsyncLLM` write as a prompt, and matrices that stand in place of a prompt's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from quire.base.config import EngineConfig
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import PromptEmbeddings

VECTORS = "prompt_embeds"
Prompt = str | list[int] | dict[str, Any]

_BODIES = ("prompt", "prompt_token_ids", VECTORS)
_OTHERS = ("cache_salt", "add_special_tokens")
# of each type: numpy's for its bits, and the bits that are all set in NaN and in infinities
_EXPONENTS = {"float32": ("<u4", 0x7F80_0000), "bfloat16": ("<u2", 0x7F80), "float16": ("<u2", 0x7C00)}


class PromptParts(NamedTuple):
    body: str | list[int] | PromptEmbeddings
    cache_salt: str
    add_special_tokens: bool


def read_prompt(prompt: Prompt, config: EngineConfig, *, takes_vectors: bool) -> PromptParts:
    """Text, token ids, or a dict of either or of vectors. Raises InvalidValue and Unsupported."""
    fields: dict[str, Any] = prompt if isinstance(prompt, dict) else {"prompt": prompt}
    for name, value in fields.items():
        if name not in (*_BODIES, *_OTHERS) and value is not None:
            raise Unsupported(
                f"{name} of a prompt dict is not supported; it takes {', '.join((*_BODIES, *_OTHERS))}",
                field=name,
            )
    body: Any = fields.get("prompt") if fields.get("prompt_token_ids") is None else fields["prompt_token_ids"]
    vectors = fields.get(VECTORS)
    if vectors is not None:
        if not takes_vectors:
            raise Unsupported(
                f"{VECTORS} is taken by generate alone, and only with enable_prompt_embeds=True",
                field=VECTORS,
            )
        if body:
            raise InvalidValue(
                f"{VECTORS} and a prompt of another kind exclude each other; give one", field=VECTORS
            )
        body = _of_tensor(vectors, config)
    if body is None:
        raise InvalidValue(f"a prompt dict needs {' or '.join(_BODIES)}", field="prompt")
    return PromptParts(body, fields.get("cache_salt") or "", fields.get("add_special_tokens", True))


def _of_tensor(given: Any, config: EngineConfig) -> PromptEmbeddings:
    """A torch tensor, or an array of NumPy."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = (given.float() if str(given.dtype) == "torch.bfloat16" else given).numpy()  # exact in float32
    if not isinstance(given, np.ndarray) or given.dtype not in (np.float32, np.float16):
        kind = getattr(given, "dtype", type(given).__name__)
        raise wrong_vectors(f"is {kind}")
    return checked_vectors(given.dtype.name, given.shape, given.tobytes(), config)


def checked_vectors(
    dtype: str, shape: Sequence[int], numbers: bytes, config: EngineConfig
) -> PromptEmbeddings:
    """Raises InvalidValue naming `prompt_embeds` for what is no finite matrix as wide as the model's embedding, or
    not as many numbers."""
    width = embedding_width(config)
    if len(shape) == 3 and shape[0] == 1:  # a batch of one
        shape = shape[1:]
    if len(shape) != 2 or shape[0] < 1 or shape[1] != width:
        raise wrong_vectors(f"has the shape {tuple(shape)[:8]}, and this model takes (tokens, {width})")
    bits, exponent = _EXPONENTS[dtype]
    if len(numbers) != shape[0] * width * np.dtype(bits).itemsize:
        raise wrong_vectors(f"holds {len(numbers)} bytes for the shape {tuple(shape)} of {dtype}")
    if (np.frombuffer(numbers, bits) & exponent == exponent).any():
        raise wrong_vectors("holds numbers that are not finite")
    return PromptEmbeddings(dtype=dtype, num_tokens=shape[0], data=numbers)


def embedding_width(config: EngineConfig) -> int:
    """Numbers in a token's vector, as the network begins with it."""
    width: int = config.card.hf_config.get("word_embed_proj_dim") or config.card.hidden_size
    return width


def wrong_vectors(what: str, how: str = "") -> InvalidValue:
    return InvalidValue(
        f"{VECTORS} {what}; send a finite matrix of float32, bfloat16 or float16{how}", field=VECTORS
    )
