"""Layers: the parts families are built from, and what a step gives to them."""

from quire.model.layers.attention import Attention
from quire.model.layers.causal_lm import CausalLM
from quire.model.layers.encoder import Encoder, EncoderAttention, TokenTypes
from quire.model.layers.experts import Experts
from quire.model.layers.layer import Layer
from quire.model.layers.linear import SCHEMES, Embedding, GroupedLinear, Linear, Weighted, hold_prepared
from quire.model.layers.network import Network
from quire.model.layers.norm import LayerNorm, RMSNorm
from quire.model.layers.pooled import PooledNetwork
from quire.model.layers.rotary import Angles, Rotary
from quire.model.layers.step_input import LayerCache, StepInput
from quire.model.ops import AttentionBatch, LayerKV

__all__ = [
    "SCHEMES",
    "Angles",
    "Attention",
    "AttentionBatch",
    "CausalLM",
    "Embedding",
    "Encoder",
    "EncoderAttention",
    "Experts",
    "GroupedLinear",
    "Layer",
    "LayerCache",
    "LayerKV",
    "LayerNorm",
    "Linear",
    "Network",
    "PooledNetwork",
    "RMSNorm",
    "Rotary",
    "StepInput",
    "TokenTypes",
    "Weighted",
    "hold_prepared",
]
