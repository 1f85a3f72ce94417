"""EngineRequest: a request after every limit was applied. The engine accepts nothing else."""

from __future__ import annotations

import msgspec

from quire.base.constraints import Constraint
from quire.base.messages.pooling import PoolingParams
from quire.base.messages.sampling import SamplingParams


class ThinkingBudget(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens of reasoning may come before its end is written for the model: `forced_ids`, the last of which
    is `end_id`.

    Reasoning begins with one of `begin_ids`, or has begun in the prompt already (`starts_inside`).
    """

    max_tokens: int
    end_id: int
    forced_ids: list[int]
    begin_ids: list[int] = []
    starts_inside: bool = False


class PromptEmbeddings(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors in place of a prompt's tokens: `num_tokens` rows as wide as the model's embedding, little-endian."""

    dtype: str  # float32, bfloat16 or float16
    num_tokens: int
    data: bytes


def _unsampled() -> SamplingParams:
    return SamplingParams(max_tokens=1)


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `text/session` sends down.

    `sampling.max_tokens` and `seed` are resolved (never None): prompt + max_tokens fits the context.
    `bad_words_token_ids` are `sampling.bad_words` spelled in tokens, `constraint` is the checked grammar of
    `sampling.structured_outputs` or of the tools that must be called, `thinking` is what
    `sampling.thinking_token_budget` comes to for this model. With `embeddings` the network starts from those vectors,
    and the prompt's ids only hold their places. `cache_salt`, `adapter` and
    `media_keys` enter the prefix-cache key. Lower `priority` runs earlier under the priority policy.
    A request taken up from an engine that died says what each sample has `emitted`, by sample index, and
    which samples have ended.
    With `pooling`, every field of it resolved, the prompt's hidden states are wanted and no token: `sampling` is then
    left at its default, one stream without a token, and the request ends with one event that holds `pooled`.
    """

    request_id: str
    prompt_token_ids: list[int]
    sampling: SamplingParams = msgspec.field(default_factory=_unsampled)
    seed: int = 0
    pooling: PoolingParams | None = None
    eos_token_ids: list[int] = []
    bad_words_token_ids: list[list[int]] = []
    constraint: Constraint | None = None
    thinking: ThinkingBudget | None = None
    embeddings: PromptEmbeddings | None = None
    priority: int = 0
    arrival_s: float = 0.0  # time.monotonic() of the sender; both ends share one machine's clock
    cache_salt: str = ""
    adapter: str = ""
    media_keys: list[str] = []
    emitted: list[list[int]] = []
    ended_samples: list[int] = []
