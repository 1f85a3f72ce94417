"""PoolingParams: what a request wants of a prompt's hidden states; PooledRows: what it gets. Names are vLLM's."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from quire.base.errors import InvalidValue

PoolingTask = Literal["embed", "classify", "token_embed", "token_classify"]
POOLING_TASKS: tuple[str, ...] = get_args(PoolingTask)
MAX_RETURNED_TOKEN_IDS = 1024


class PoolingParams(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request's wishes. None means what the server's pooler config says; `text/session` resolves it.

    `task`: one vector of the whole prompt ("embed"), one of each token ("token_embed"), or a classifier's scores of
    either. `use_activation` normalises vectors, and turns scores into probabilities. `dimensions` cuts vectors
    before they are normalised. `step_tag_id` picks the tokens whose scores are wanted, `returned_token_ids` the
    columns. `skip_reading_prefix_cache` computes the whole prompt anew. `segment_start` is where the second of two
    texts begins, for models that tell them apart; 0 for a single text.
    """

    task: PoolingTask | None = None
    use_activation: bool | None = None
    dimensions: int | None = None
    step_tag_id: int | None = None
    returned_token_ids: list[int] | None = None
    truncate_prompt_tokens: int | None = None
    skip_reading_prefix_cache: bool | None = None
    segment_start: int = 0

    def __post_init__(self) -> None:
        self.verify()

    def verify(self) -> None:
        """Check every field alone; raise InvalidValue naming it."""
        if self.task is not None and self.task not in POOLING_TASKS:
            raise InvalidValue(f"task must be {', '.join(POOLING_TASKS)}, got {self.task!r}", field="task")
        for name, low in (("dimensions", 1), ("step_tag_id", 0), ("truncate_prompt_tokens", -1)):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**63:
                raise InvalidValue(f"{name} must be an integer of at least {low}, got {value!r}", field=name)
        columns = self.returned_token_ids
        if columns is not None and not 0 < len(columns) <= MAX_RETURNED_TOKEN_IDS:
            raise InvalidValue(
                f"returned_token_ids must hold 1 to {MAX_RETURNED_TOKEN_IDS} token ids, got {len(columns)}",
                field="returned_token_ids",
            )


class PooledRows(msgspec.Struct, frozen=True, array_like=True):
    """Numbers as float32 in this machine's byte order. `shape` is [width] of one vector, or [rows, width]."""

    shape: list[int]
    data: bytes
