"""Ops: each a contract (signature, torch reference, inputs, tolerances) that a backend may provide faster."""

from quire.model.ops.activation import activation
from quire.model.ops.add import add
from quire.model.ops.angles import angles
from quire.model.ops.attention_batch import AttentionBatch
from quire.model.ops.choose_experts import choose_experts
from quire.model.ops.combine_experts import combine_experts
from quire.model.ops.contract import Op
from quire.model.ops.draw_tokens import FULL_WEIGHT, Truncation, draw_tokens, kept_weights, logit_scales
from quire.model.ops.embedding import embedding
from quire.model.ops.encoder_attention import encoder_attention
from quire.model.ops.first_largest import first_largest
from quire.model.ops.grouped_linear import grouped_linear
from quire.model.ops.keep_allowed import keep_allowed
from quire.model.ops.kv_write import LayerKV, kv_write
from quire.model.ops.layer_norm import layer_norm
from quire.model.ops.linear import linear
from quire.model.ops.linear_int4 import linear_int4
from quire.model.ops.linear_int8 import linear_int8
from quire.model.ops.paged_attention import paged_attention
from quire.model.ops.penalise import penalise
from quire.model.ops.rms_norm import rms_norm
from quire.model.ops.rope import rope
from quire.model.ops.rope_kv_write import HeadNorms, rope_kv_write
from quire.model.ops.scale import scale
from quire.model.ops.soft_cap import soft_cap
from quire.model.ops.table import OPS, explain
from quire.model.ops.top_logits import top_logits

__all__ = [
    "FULL_WEIGHT",
    "OPS",
    "AttentionBatch",
    "HeadNorms",
    "LayerKV",
    "Op",
    "Truncation",
    "activation",
    "add",
    "angles",
    "choose_experts",
    "combine_experts",
    "draw_tokens",
    "embedding",
    "encoder_attention",
    "explain",
    "first_largest",
    "grouped_linear",
    "keep_allowed",
    "kept_weights",
    "kv_write",
    "layer_norm",
    "linear",
    "linear_int4",
    "linear_int8",
    "logit_scales",
    "paged_attention",
    "penalise",
    "rms_norm",
    "rope",
    "rope_kv_write",
    "scale",
    "soft_cap",
    "top_logits",
]
