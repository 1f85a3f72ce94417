"""Ops: each a contract (signature, torch reference, inputs, tolerances) that a backend may provide faster."""

from quire.model.ops.activation import activation
from quire.model.ops.attention_batch import AttentionBatch
from quire.model.ops.keep_allowed import keep_allowed
from quire.model.ops.kv_write import kv_write
from quire.model.ops.layer_norm import layer_norm
from quire.model.ops.linear import linear
from quire.model.ops.linear_int8 import linear_int8
from quire.model.ops.paged_attention import paged_attention
from quire.model.ops.rms_norm import rms_norm
from quire.model.ops.rope import rope
from quire.model.ops.soft_cap import soft_cap
from quire.model.ops.table import OPS, explain

__all__ = [
    "OPS",
    "AttentionBatch",
    "activation",
    "explain",
    "keep_allowed",
    "kv_write",
    "layer_norm",
    "linear",
    "linear_int8",
    "paged_attention",
    "rms_norm",
    "rope",
    "soft_cap",
]
