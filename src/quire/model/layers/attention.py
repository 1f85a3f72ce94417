"""Attention over the paged cache: turns and stores this step's keys and values, then looks at all of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from quire.model import ops
from quire.model.layers.norm import RMSNorm, head_norms
from quire.model.layers.rotary import Angles
from quire.model.layers.step_input import StepInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The part of an attention layer without weights. `layer` picks the cache; `window` 0 sees the whole past."""

    layer: int
    scale: float
    window: int = 0
    soft_cap: float = 0.0

    def __call__(
        self,
        query_TNH: Tensor,
        key_TKH: Tensor,
        value_TKH: Tensor,
        step: StepInput,
        angles: Angles | None = None,
        norms: tuple[RMSNorm, RMSNorm] | None = None,
    ) -> Tensor:
        """Returns (T, N · H), ready for the output projection. `angles` turn queries and keys, after the `norms` of
        query and key heads where there are any."""
        cache = step.caches[self.layer]
        if angles is None:
            ops.kv_write(key_TKH, value_TKH, step.slots_T, cache)
        else:
            query_TNH = ops.rope_kv_write(
                query_TNH,
                key_TKH,
                value_TKH,
                angles.cos,
                angles.sin,
                step.slots_T,
                cache,
                norms=norms and head_norms(*norms),
            )
        seen_TNH = ops.paged_attention(
            query_TNH,
            cache,
            step.attention,
            scale=self.scale,
            window=self.window,
            soft_cap=self.soft_cap,
        )
        return seen_TNH.flatten(1)
