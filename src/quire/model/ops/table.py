"""The table of all ops, and who runs each of them on this machine."""

from __future__ import annotations

from typing import Any

from quire.model.ops.activation import activation
from quire.model.ops.add import add
from quire.model.ops.angles import angles
from quire.model.ops.choose_experts import choose_experts
from quire.model.ops.combine_experts import combine_experts
from quire.model.ops.contract import Choice, Op
from quire.model.ops.draw_tokens import draw_tokens
from quire.model.ops.embedding import embedding
from quire.model.ops.encoder_attention import encoder_attention
from quire.model.ops.first_largest import first_largest
from quire.model.ops.grouped_linear import grouped_linear
from quire.model.ops.keep_allowed import keep_allowed
from quire.model.ops.kv_write import kv_write
from quire.model.ops.layer_norm import layer_norm
from quire.model.ops.linear import linear
from quire.model.ops.linear_int4 import linear_int4
from quire.model.ops.linear_int8 import linear_int8
from quire.model.ops.paged_attention import paged_attention
from quire.model.ops.penalise import penalise
from quire.model.ops.rms_norm import rms_norm
from quire.model.ops.rope import rope
from quire.model.ops.rope_kv_write import rope_kv_write
from quire.model.ops.scale import scale
from quire.model.ops.soft_cap import soft_cap
from quire.model.ops.top_logits import top_logits

OPS: dict[str, Op[..., Any]] = {
    op.name: op
    for op in (
        embedding,
        scale,
        add,
        linear,
        linear_int8,
        linear_int4,
        grouped_linear,
        choose_experts,
        combine_experts,
        top_logits,
        rms_norm,
        layer_norm,
        angles,
        rope,
        activation,
        soft_cap,
        kv_write,
        rope_kv_write,
        paged_attention,
        encoder_attention,
        first_largest,
        penalise,
        keep_allowed,
        draw_tokens,
    )
}


def explain() -> list[Choice]:
    """For every op: its provider here, and why better placed backends do not run it."""
    return [op.explain() for op in OPS.values()]
